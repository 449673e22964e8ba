"""Each participant's audio and video in one file while the room goes on: which file what goes into.

A participant's camera and microphone share a file, and so do a screen share and its sound. A fragment holds the samples
of one part of one track, so the tracks alternate at least once a second. A file goes on until the video has another
configuration, another track takes a place in it, or it is long or large enough; then the next one begins. Lives in the
recording's writer thread.
"""

import hashlib
import re
from dataclasses import dataclass, field

import structlog

from media.errors import DataLost
from media.frames import Codec, EncodedFrame, MediaKind
from media.record.codec_config import codec_config
from media.record.entries import MuxedFileEntry, TrackOpened
from media.record.muxed_file import MuxedFile, MuxedNote
from media.record.recording_context import RecordingContext
from media.record.sample import CodecConfig, Sample
from media.record.storage import make_directory

_log = structlog.get_logger(__name__)

MUXED_DIRECTORY = "participants"

_SCREEN_SHARE = "screen_share"
_SCREEN_SOURCES = frozenset({_SCREEN_SHARE, "screen_share_audio"})

_ENDS_LIKE_OURS = re.compile(rf"-(?:{_SCREEN_SHARE}|[0-9a-f]{{8}})$")
"""An identity that ends like this could name the folder of another one."""

_WAIT_FOR_VIDEO_S = 2.0
"""So long sound waits for the first picture of a camera that is published, to begin in one file with it."""

_LATE_S = 2.0
"""Past a new file's beginning, nothing that belongs to the one before still comes: parts last a second at most."""

LONGEST_FILE_S = 1_800.0
"""So long a file goes on: a process that died costs the next start a look at half an hour, and a damaged disk no more
than that."""

LARGEST_FILE_BYTES = 1 << 30
"""So large a file grows: half an hour at 4.8 Mb/s. Whatever takes only whole files stays handy: uploads, FAT disks."""

_OVERDUE = 2
"""Where no sync sample comes until so many times these bounds (a camera off for an hour), a file ends without one."""

_OPUS = codec_config(EncodedFrame(Codec.OPUS, b"", 0, 0.0, sync_sample=True), None)
"""Opus has one configuration, so a file has the microphone's track before a packet came."""


def muxed_directory(identity: str, source: str) -> str:
    """The folder of a participant's files: readable, safe, and another one for another identity."""
    readable = re.sub(r"[^A-Za-z0-9._-]+", "_", identity).strip("._-")[:64]
    if readable != identity or _ENDS_LIKE_OURS.search(identity):
        readable = f"{readable or 'participant'}-{hashlib.sha256(identity.encode()).hexdigest()[:8]}"
    return f"{MUXED_DIRECTORY}/{readable}" + ("" if source != _SCREEN_SHARE else f"-{_SCREEN_SHARE}")


@dataclass(frozen=True, slots=True)
class _Part:
    """Samples of one part of a track that lie in media time from `media_time_s` on; none: a segment begins there."""

    track: int
    config: CodecConfig
    samples: tuple[Sample, ...]
    media_time_s: float


@dataclass(frozen=True, slots=True)
class _TrackEnded:
    """A track ended."""

    track: int


@dataclass(slots=True)
class _Program:
    """What shares a file: at most one open track of each kind, the newest.

    `begins_s` is the media time from which on the next file is due, as far as that is known.
    """

    identity: str
    source: str
    places: dict[MediaKind, TrackOpened] = field(default_factory=dict)
    configs: dict[int, CodecConfig] = field(default_factory=dict)
    file: MuxedFile | None = None
    previous: MuxedFile | None = None
    begins_s: float | None = None
    waiting: list[_Part] = field(default_factory=list)
    next_sequence: int = 1

    def config_of(self, opened: TrackOpened) -> CodecConfig | None:
        return _OPUS if opened.descriptor.codec is Codec.OPUS else self.configs.get(opened.track)


class MuxedWriter:
    """Writes the files of one recording. `take`, `open_track` and `close_track` only note; `write` does the work."""

    def __init__(self, context: RecordingContext, next_sequences: dict[str, int]) -> None:
        """`next_sequences`: for folders that an earlier writer left, the number to go on with."""
        self._context = context
        self._next_sequences = next_sequences
        self._programs: dict[tuple[str, str], _Program] = {}
        self._by_track: dict[int, _Program] = {}
        self._noted: list[TrackOpened | _Part | _TrackEnded] = []
        self._unfinished: list[MuxedFile] = []

    def open_track(self, opened: TrackOpened) -> None:
        """A track begins, or begins again."""
        self._noted.append(opened)

    def close_track(self, track: int) -> None:
        """A track ends."""
        self._noted.append(_TrackEnded(track))

    def take(self, track: int, config: CodecConfig, samples: tuple[Sample, ...], media_time_s: float) -> None:
        """A part of a track was written; or, without samples, a segment of that configuration begins."""
        self._noted.append(_Part(track, config, samples, media_time_s))

    def write(self, now: float) -> None:
        """Do what was noted. Raises StorageError; the samples that it met are then in the segments only."""
        while self._noted:
            noted = self._noted.pop(0)
            if isinstance(noted, _Part):
                self._take(noted, now)
            elif isinstance(noted, TrackOpened):
                self._open(noted, now)
            else:
                self._end_track(noted.track, now)

    def suspend(self) -> None:
        """The disk refuses: keep what is whole."""
        self._noted = [noted for noted in self._noted if not isinstance(noted, _Part)]
        for program in self._programs.values():
            program.waiting.clear()
            self._unfinished += [file for file in (program.previous, program.file) if file is not None]
            program.previous = program.file = program.begins_s = None

    def finish_unfinished(self, now: float) -> None:
        """Finish the files that a refusing disk cut short. Raises StorageError; may be called again."""
        ledger = self._context.ledger
        while self._unfinished:
            entry = self._finished(self._unfinished[0], now)
            if entry is not None:
                ledger.record(entry, now)
            # From here on the ledger answers for it, also where the commit fails.
            self._unfinished.pop(0)
            if entry is not None:
                ledger.commit(now, self._context.on_segment)

    def close(self, now: float) -> None:
        """Write what waits and finish all files. Raises StorageError."""
        self.write(now)
        for program in self._programs.values():
            self._end_waiting(program, now)
            self._end_file(program, now)

    def abandon(self) -> None:
        """Let go of files that could not be finished; a later repair or resume does it."""
        self.suspend()
        for file in self._unfinished:
            file.abandon()
        self._unfinished.clear()

    def _open(self, opened: TrackOpened, now: float) -> None:
        descriptor = opened.descriptor
        source = _SCREEN_SHARE if descriptor.source in _SCREEN_SOURCES else "camera"
        key = (descriptor.participant_identity, source)
        program = self._programs.get(key)
        if program is None:
            program = self._programs[key] = _Program(*key)
            program.next_sequence = self._next_sequences.get(muxed_directory(*key), 1)
        self._by_track[opened.track] = program
        before = program.places.get(descriptor.kind)
        program.places[descriptor.kind] = opened
        changes = before is None or before.track != opened.track
        if changes and program.file is not None and opened.track not in program.file.configs:
            self._turn(program, now)
            # Whatever video goes on can only do so in the next file from a sync sample on.
            video = program.places.get(MediaKind.VIDEO)
            if video is not None:
                self._context.on_keyframe_request(video.track)

    def _end_track(self, track: int, now: float) -> None:
        program = self._by_track.get(track)
        if program is None:
            return
        self._end_waiting(program, now)
        program.places = {kind: opened for kind, opened in program.places.items() if opened.track != track}
        program.configs.pop(track, None)
        if not program.places:
            self._end_file(program, now)

    def _take(self, part: _Part, now: float) -> None:
        program = self._by_track[part.track]
        if all(opened.track != part.track for opened in program.places.values()):
            return
        program.configs[part.track] = part.config
        if program.file is not None and not program.file.fits(part.track, part.config):
            self._turn(program, now)
        if program.file is not None and part.samples:
            self._turn_full(program, program.file, part, now)
        if program.file is not None:
            if part.samples:
                self._append(program, program.file, part, now)
            return
        if not part.samples:
            known = [] if program.begins_s is None else [program.begins_s]
            program.begins_s = min([part.media_time_s, *known])
            return
        program.waiting.append(part)
        newest = max(item.media_time_s for item in program.waiting)
        oldest = min(item.media_time_s for item in program.waiting)
        if self._is_complete(program) or newest - oldest >= _WAIT_FOR_VIDEO_S:
            self._end_waiting(program, now)

    def _is_complete(self, program: _Program) -> bool:
        return all(program.config_of(opened) is not None for opened in program.places.values())

    def _end_waiting(self, program: _Program, now: float) -> None:
        """Begin a file with what waits, in the order of media time."""
        parts, program.waiting = sorted(program.waiting, key=lambda item: item.media_time_s), []
        if not parts:
            return
        begins_s, program.begins_s = program.begins_s, None
        first_s = parts[0].media_time_s
        if begins_s is not None:
            # Where another file ends, this one begins there; what is earlier belongs to that one.
            first_s = begins_s if program.previous is not None else min(first_s, begins_s)
        program.file = self._begin_file(program, first_s)
        _log.debug("muxed_file_begun", identity=program.identity, sequence=program.file.note.sequence)
        for part in parts:
            if program.file.fits(part.track, part.config):
                self._append(program, program.file, part, now)

    def _append(self, program: _Program, file: MuxedFile, part: _Part, now: float) -> None:
        """Write a part; what lies before the file's zero still belongs to the file before it."""
        early = file.append(part.track, part.samples, part.media_time_s)
        previous = program.previous
        if previous is None:
            return
        if early and previous.fits(part.track, part.config):
            previous.append(part.track, early, part.media_time_s)
        if part.media_time_s > file.note.start_media_time_s + _LATE_S:
            program.previous = None
            self._finish(previous, now)

    def _begin_file(self, program: _Program, zero_s: float) -> MuxedFile:
        tracks = [(opened, program.config_of(opened)) for _, opened in sorted(program.places.items(), reverse=True)]
        known = [(opened, config) for opened, config in tracks if config is not None]
        directory = muxed_directory(program.identity, program.source)
        make_directory(self._context.path / directory)
        note = MuxedNote(
            recording_id=self._context.started.recording_id,
            participant_identity=program.identity,
            source=program.source,
            sequence=program.next_sequence,
            start_media_time_s=zero_s,
            tracks=tuple(opened.track for opened, _ in known),
            timescales=tuple(opened.timescale for opened, _ in known),
        )
        configs = [config for _, config in known]
        file = MuxedFile(self._context.path, directory, note, configs, fsync_parts=self._context.fsync_parts)
        program.next_sequence += 1
        return file

    def _turn(self, program: _Program, now: float) -> None:
        """Another file is next; parts of other tracks may still come for the one that ends."""
        before, program.previous, program.file = program.previous, program.file, None
        if before is not None:
            self._finish(before, now)

    def _turn_full(self, program: _Program, file: MuxedFile, part: _Part, now: float) -> None:
        """End a file that is long or large enough where the next one can begin: at a sync sample of the video."""
        age_s = part.media_time_s - file.note.start_media_time_s
        bounds_reached = max(age_s / LONGEST_FILE_S, file.size_bytes / LARGEST_FILE_BYTES)
        if bounds_reached < 1:
            return
        video = program.places.get(MediaKind.VIDEO)
        if video is None or video.track not in file.configs:
            begins_s: float | None = part.media_time_s
        elif video.track == part.track:
            begins_s = _first_sync_s(part, video.timescale)
        else:
            begins_s = None
        if begins_s is None and bounds_reached >= _OVERDUE:
            begins_s = part.media_time_s
            if video is not None:
                self._context.on_keyframe_request(video.track)
        if begins_s is not None:
            self._turn(program, now)
            program.begins_s = begins_s

    def _end_file(self, program: _Program, now: float) -> None:
        self._turn(program, now)
        self._turn(program, now)

    def _finish(self, file: MuxedFile, now: float) -> None:
        self._unfinished.append(file)
        self.finish_unfinished(now)

    def _finished(self, file: MuxedFile, now: float) -> MuxedFileEntry | None:
        """The file's entry; None where nothing is in it, or the disk lost what is: that stays for a repair to look at.

        Its samples are in the segments too. Raises StorageError.
        """
        try:
            return file.finish(now)
        except DataLost as error:
            file.abandon()
            _log.error("muxed_file_lost", identity=file.note.participant_identity, code=error.code, error=str(error))
            return None


def _first_sync_s(part: _Part, timescale: int) -> float | None:
    """Where the first sync sample of a part lies in media time, if it has one."""
    first = next((sample for sample in part.samples if sample.sync_sample), None)
    return None if first is None else part.media_time_s + (first.decode_time - part.samples[0].decode_time) / timescale
