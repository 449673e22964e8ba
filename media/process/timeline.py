"""Which recorded tracks make one output, and when each of their samples is shown in it (pure)."""

import hashlib
import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from media.errors import ExportError
from media.frames import MediaKind
from media.record.entries import JsonValue
from media.record.journal_line import from_json
from media.record.reader import RecordingView, TrackView

CAMERA = "camera"
SCREEN_SHARE = "screen_share"

_SCREEN_SOURCES = frozenset({"screen_share", "screen_share_audio"})

# Two publications that overlap by less are one after the other: clocks of two tracks differ by such amounts.
_OVERLAP_TOLERANCE_S = 0.25

# How much faster or slower than recorded a track may run while its clock mapping is corrected. Nobody hears 3%.
_SLEW = 0.03

# A correction so large is no drift: the sender started anew. Following it slowly would keep audio and video apart.
_STEP_S = 0.5


@dataclass(frozen=True, slots=True)
class TrackPart:
    """A recorded track, as far as it had come when the output was planned: its first `segments` segments."""

    number: int
    segments: int


@dataclass(frozen=True, slots=True)
class Program:
    """What makes one output: tracks of one participant that belong together. Each kind's tracks follow one another.

    `source` is CAMERA (with the microphone) or SCREEN_SHARE (with its audio). `stem` names the files.
    """

    participant_identity: str
    source: str
    stem: str
    video: tuple[TrackPart, ...]
    audio: tuple[TrackPart, ...]


def program_from_json(values: Mapping[str, JsonValue]) -> Program:
    """The program that `to_json` wrote. Raises ValueError when it is not one."""
    return from_json(Program, dict(values))


def plan_programs(view: RecordingView, participant_identity: str | None) -> tuple[Program, ...]:
    """The outputs for one participant, or for everybody when None.

    A participant who published the camera twice over at the same time gets an output for each. Stems differ from each
    other on any file system, and are the same for one participant and for everybody.
    Raises ExportError when there is nothing to export.
    """
    tracks = [track for track in view.tracks if track.segments]
    everybody = sorted({track.descriptor.participant_identity for track in tracks})
    if participant_identity is not None and participant_identity not in everybody:
        names = ", ".join(map(repr, everybody)) or "nobody"
        raise ExportError(f"{participant_identity!r} is not in this recording; it holds {names}")
    if not everybody:
        raise ExportError("the recording holds no media yet")
    programs: list[Program] = []
    for identity in everybody:
        for source in (CAMERA, SCREEN_SHARE):
            mine = [t for t in tracks if t.descriptor.participant_identity == identity and _source(t) == source]
            programs += _programs(view.recording_id, identity, source, mine)
    return tuple(
        program
        for program in _with_distinct_stems(programs)
        if participant_identity in {None, program.participant_identity}
    )


def _with_distinct_stems(programs: Sequence[Program]) -> Iterator[Program]:
    """The second output of `alice` and the first of `alice-2` would have one name, and `Bob` that of `bob`."""
    taken: set[str] = set()
    for program in programs:
        names = itertools.chain([program.stem], (f"{program.stem}-{number}" for number in itertools.count(2)))
        stem = next(name for name in names if name.casefold() not in taken)
        taken.add(stem.casefold())
        yield replace(program, stem=stem)


def _programs(recording_id: str, identity: str, source: str, tracks: Sequence[TrackView]) -> list[Program]:
    video = _lanes([track for track in tracks if track.descriptor.kind is MediaKind.VIDEO])
    audio = _lanes([track for track in tracks if track.descriptor.kind is MediaKind.AUDIO])
    stem = file_stem(recording_id, identity) + ("" if source == CAMERA else f"-{source}")
    return [
        Program(identity, source, stem if index == 0 else f"{stem}-{index + 1}", *map(_parts, lanes))
        for index, lanes in enumerate(itertools.zip_longest(video, audio, fillvalue=()))
    ]


def _parts(lane: Sequence[TrackView]) -> tuple[TrackPart, ...]:
    return tuple(TrackPart(track.number, len(track.segments)) for track in lane)


def _source(track: TrackView) -> str:
    return SCREEN_SHARE if track.descriptor.source in _SCREEN_SOURCES else CAMERA


def _lanes(tracks: Sequence[TrackView]) -> list[list[TrackView]]:
    """Tracks in as few sequences without overlap as a first fit by start time gives."""
    lanes: list[list[TrackView]] = []
    for track in sorted(tracks, key=lambda item: (track_start_s(item), item.number)):
        start_s = track_start_s(track) + _OVERLAP_TOLERANCE_S
        lane = next((lane for lane in lanes if track_end_s(lane[-1]) <= start_s), None)
        if lane is None:
            lanes.append([track])
        else:
            lane.append(track)
    return lanes


def track_start_s(track: TrackView) -> float:
    """Media time of the first sample."""
    return track.media_time_s(track.segments[0].decode_time)


def track_end_s(track: TrackView) -> float:
    """Media time of the end of the last sample."""
    return track.media_time_s(track.segments[-1].end_decode_time)


def file_stem(recording_id: str, identity: str) -> str:
    """A file name for a participant's output: readable, safe on any file system, different for different identities."""
    readable = re.sub(r"[^A-Za-z0-9._-]+", "_", identity).strip("._-")[:64]
    if readable != identity:
        readable = f"{readable or 'participant'}-{hashlib.sha256(identity.encode()).hexdigest()[:8]}"
    return f"{re.sub(r'[^A-Za-z0-9._-]+', '_', recording_id)}-{readable}"


class Retimer:
    """Gives the samples of one output track their output times: whole ticks from the output's zero, always rising.

    It follows each recorded track's clock mappings. Where a mapping is corrected between two samples that
    follow each other, it slews; after a hole it is right at once. `timescale` is the output's, in Hz.
    """

    def __init__(self, timescale: int, origin_s: float) -> None:
        self._timescale = timescale
        self._origin_s = origin_s
        self._last: int | None = None
        self._expected: tuple[TrackView, int] | None = None
        self._end = 0
        self._lag = 0

    def place(self, track: TrackView, decode_time: int, duration: int, *, tolerance: int = 0) -> int:
        """The output time of the sample that starts at `decode_time` and lasts `duration` (ticks of `track`).

        `tolerance` is how far (ticks of `track`) a sample may be from the end of the one before and still follow it.
        """
        target = round((track.media_time_s(decode_time) - self._origin_s) * self._timescale)
        placed = target
        if self._expected is not None and self._expected[0] is track:
            hole = decode_time - self._expected[1]
            if abs(hole) <= tolerance:
                placed = self._slewed(target)
        if self._last is not None:
            placed = max(placed, self._last + 1)
        self._last = placed
        self._lag = abs(placed - target)
        self._expected = (track, decode_time + duration)
        self._end = placed + max(1, round(duration * self._timescale / track.timescale))
        return placed

    @property
    def lag(self) -> int:
        """How far the last sample is from where its clock mapping puts it, in output ticks."""
        return self._lag

    def _slewed(self, target: int) -> int:
        assert self._last is not None
        deviation = target - self._end
        if deviation > _STEP_S * self._timescale:
            return target
        limit = max(1, int((self._end - self._last) * _SLEW))
        return self._end + max(-limit, min(limit, deviation))
