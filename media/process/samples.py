"""Reading recorded samples back, one at a time, with their exact decode times. Nothing is decoded."""

import io
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import av
from av.error import FFmpegError

from media.errors import RecordingDamaged
from media.record.entries import Container, InitEntry, SegmentEntry
from media.record.reader import RecordingView, TrackView

# WebM stores milliseconds: a sample is at most half of one from where it belongs, so two are at most one apart.
WEBM_TOLERANCE_S = 0.001


@dataclass(frozen=True, slots=True)
class RecordedSample:
    """One access unit or Opus packet as recorded. Times are ticks of the track's timescale."""

    data: bytes
    decode_time: int
    duration: int
    sync: bool
    init: InitEntry


def read_samples(view: RecordingView, track: TrackView, segments: int) -> Iterator[RecordedSample]:
    """The samples of the track's first `segments` segments, in order; memory for a few of them at a time.

    Raises RecordingDamaged when the files hold other samples than the journal says.
    """
    for init_path, group in itertools.groupby(track.segments[:segments], key=lambda item: item.init_path):
        entries = list(group)
        init = track.init_of(entries[0])
        paths = [view.file_of(init), *(view.file_of(entry) for entry in entries)]
        try:
            with ConcatenatedFiles(paths) as files, av.open(files, "r", format=_DEMUXERS[init.container]) as container:
                yield from _segments(container, track, init, entries)
        except FFmpegError as error:
            raise RecordingDamaged(f"{view.path / init_path} and its segments cannot be read: {error}") from error


_DEMUXERS = {Container.FMP4: "mp4", Container.WEBM: "matroska"}


def _segments(
    container: av.container.InputContainer, track: TrackView, init: InitEntry, entries: Sequence[SegmentEntry]
) -> Iterator[RecordedSample]:
    packets = (packet for packet in container.demux(container.streams[0]) if packet.size)
    for entry in entries:
        found = list(itertools.islice(packets, entry.samples))
        if len(found) != entry.samples:
            raise RecordingDamaged(f"{entry.path} holds {len(found)} samples where its journal says {entry.samples}")
        times = [_ticks(packet, track.timescale) for packet in found]
        if times:
            # The container may round; the journal does not.
            times[0] = entry.decode_time
        ends = [*times[1:], entry.end_decode_time]
        for packet, time, end in zip(found, times, ends, strict=True):
            yield RecordedSample(bytes(packet), time, end - time, packet.is_keyframe, init)
    if next(packets, None) is not None:
        raise RecordingDamaged(f"{entries[-1].path} holds more samples than its journal says")


def _ticks(packet: "av.Packet[av.stream.Stream]", timescale: int) -> int:
    if packet.dts is None or packet.time_base is None:
        raise RecordingDamaged("a recorded sample has no time")
    return round(packet.dts * packet.time_base * timescale)


class ConcatenatedFiles(io.RawIOBase):
    """Several files read as one, from start to end, with one of them open at a time."""

    def __init__(self, paths: Sequence[Path]) -> None:
        super().__init__()
        self._remaining = list(reversed(paths))
        self._current: IO[bytes] | None = None

    def readable(self) -> bool:
        """True, as `io` asks."""
        return True

    def read(self, size: int = -1) -> bytes:
        """Up to `size` bytes; fewer at the end of each file, none at the end of the last."""
        while True:
            if self._current is None:
                if not self._remaining:
                    return b""
                self._current = self._remaining.pop().open("rb")
            data = self._current.read(size)
            if data:
                return data
            self._current.close()
            self._current = None

    def close(self) -> None:
        """Close the open file; idempotent."""
        if self._current is not None:
            self._current.close()
            self._current = None
        super().close()
