"""One participant's audio and video in one growing file: what is in it, and its writer."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from media.json_text import parse_json
from media.record.entries import MuxedFileEntry
from media.record.growing_file import GrowingFile
from media.record.journal_line import from_json
from media.record.movie import Movie, movie_container
from media.record.muxed_timeline import MuxedTrackTimeline
from media.record.sample import CodecConfig, MovieTrack, Sample


@dataclass(frozen=True, slots=True)
class MuxedNote:
    """What the file says about itself, for repairs. `timescales` are those of `tracks`, whose ids in the file count
    from 1.
    """

    recording_id: str
    participant_identity: str
    source: str
    sequence: int
    start_media_time_s: float
    tracks: tuple[int, ...]
    timescales: tuple[int, ...]


def decode_muxed_note(note: bytes) -> MuxedNote | None:
    """The note of a muxed file; None when it is not one."""
    try:
        return from_json(MuxedNote, parse_json(note))
    except (ValueError, TypeError):
        return None


class MuxedFile:
    """An open file. `tracks` are the recorded tracks' numbers with their configurations, video first."""

    def __init__(
        self, root: Path, directory: str, note: MuxedNote, configs: Sequence[CodecConfig], *, fsync_parts: bool
    ) -> None:
        """Create `<directory>/NNNN.mp4` or `.webm` with `.part` added. Raises StorageError."""
        self.note = note
        self.configs = dict(zip(note.tracks, configs, strict=True))
        self.samples = 0
        self.parts = 0
        container = movie_container(configs)
        tracks = tuple(
            MovieTrack(index, config, timescale)
            for index, (config, timescale) in enumerate(zip(configs, note.timescales, strict=True), start=1)
        )
        self._movie = Movie(container, tracks)
        self._tracks = dict(zip(note.tracks, tracks, strict=True))
        self._timelines = {
            number: MuxedTrackTimeline(track.timescale, note.start_media_time_s)
            for number, track in self._tracks.items()
        }
        self._path = f"{directory}/{note.sequence:04d}{container.init_suffix}"
        text = json.dumps(asdict(note), separators=(",", ":"), ensure_ascii=False).encode()
        self._file = GrowingFile(root / self._path, self._movie.head(text), fsync_pieces=fsync_parts)

    @property
    def size_bytes(self) -> int:
        """What is written so far."""
        return self._file.size_bytes

    def fits(self, track: int, config: CodecConfig) -> bool:
        """Whether samples of that track and configuration can go into this file."""
        return self.configs.get(track) == config

    def append(self, track: int, samples: Sequence[Sample], media_time_s: float) -> Sequence[Sample]:
        """Write one fragment; returns what of `samples` (the first lies at `media_time_s`) is not in it.

        That is what comes before a track can begin: before the file's zero, and video before a sync sample.
        Raises StorageError.
        """
        timeline = self._timelines[track]
        skipped = 0 if timeline.started else self._too_early(track, samples, media_time_s)
        if skipped < len(samples):
            late_s = (samples[skipped].decode_time - samples[0].decode_time) / self._tracks[track].timescale
            placed = timeline.place(samples[skipped:], media_time_s + late_s)
            self._file.append(self._movie.fragment(self.parts + 1, self._tracks[track], placed))
            self.parts += 1
            self.samples += len(placed)
        return samples[:skipped]

    def _too_early(self, track: int, samples: Sequence[Sample], media_time_s: float) -> int:
        ticks = (self.note.start_media_time_s - media_time_s) * self._tracks[track].timescale
        zero = samples[0].decode_time + round(ticks)
        needs_sync = self.configs[track].width > 0
        return next(
            (
                index
                for index, sample in enumerate(samples)
                if sample.decode_time >= zero and (sample.sync_sample or not needs_sync)
            ),
            len(samples),
        )

    def finish(self, now: float) -> MuxedFileEntry | None:
        """Make it durable under its name; its entry, or None when nothing was in it.

        Raises StorageError; may then be called again, unless it is DataLost.
        """
        if not self.parts:
            self._file.discard()
            return None
        self._file.finish()
        note = self.note
        return MuxedFileEntry(
            path=self._path,
            sequence=note.sequence,
            participant_identity=note.participant_identity,
            source=note.source,
            container=self._movie.container,
            tracks=note.tracks,
            sha256=self._file.sha256,
            size_bytes=self._file.size_bytes,
            start_media_time_s=note.start_media_time_s,
            duration_s=max(timeline.end_s for timeline in self._timelines.values()),
            samples=self.samples,
            parts=self.parts,
            recovered=False,
            closed_at=now,
        )

    def abandon(self) -> None:
        """Leave the file as it is: a resume or repair of the recording finishes it."""
        self._file.close()
