"""Verification: what was produced is opened and measured, and compared with what the recording holds."""

import hashlib
import io
import itertools
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, cast

import av
from av.container import InputContainer
from av.error import FFmpegError

from media.delivery.local import file_sha256
from media.errors import ExportVerificationFailed
from media.frames import Codec, MediaKind
from media.process.audio_pacing import SILENCE_PACKETS
from media.process.output import (
    Check,
    ExportOutput,
    Handling,
    JsonObject,
    OutputFile,
    OutputTrack,
    output_from_json,
    to_json,
)
from media.process.transcode import TIMESCALE
from media.record.entries import JsonValue
from media.record.storage import fsync_path, translated

# One frame at 25 fps, two Opus packets: less is rounding.
_TOLERANCE_S = 0.040

_PLAYLIST_SUFFIX = ".m3u8"

_TICK_S = 1.5 / TIMESCALE


@dataclass(slots=True)
class Measured:
    """What a track of an output holds, by reading every packet of it."""

    codec: str = ""
    packets: int = 0
    start_s: float = 0.0
    end_s: float = 0.0
    longest_s: float = 0.0
    last_dts_s: float | None = None
    backward_dts: int = 0
    first_is_sync: bool = False
    repeated_pictures: int = 0
    last_sync: bytes = b""
    digest: "hashlib._Hash" = field(default_factory=hashlib.sha256)

    def take(self, packet: "av.Packet[av.stream.Stream]") -> None:
        """Count one packet."""
        assert packet.pts is not None
        assert packet.dts is not None
        assert packet.time_base is not None
        start_s, dts_s = float(packet.pts * packet.time_base), float(packet.dts * packet.time_base)
        duration_s = float((packet.duration or 0) * packet.time_base)
        if not self.packets:
            self.start_s, self.first_is_sync = start_s, packet.is_keyframe
        self.packets += 1
        self.backward_dts += self.last_dts_s is not None and dts_s <= self.last_dts_s
        self.last_dts_s = dts_s
        self.end_s = max(self.end_s, start_s + duration_s)
        self.longest_s = max(self.longest_s, duration_s)
        self._hash(bytes(packet), duration_s, sync=packet.is_keyframe)

    def _hash(self, data: bytes, duration_s: float, *, sync: bool) -> None:
        """All but what exports put in: silence, and a sync sample once more for a tick."""
        if self.codec == Codec.OPUS.value:
            if data not in SILENCE_PACKETS:
                self.digest.update(data)
        elif data == self.last_sync and duration_s <= _TICK_S:
            self.repeated_pictures += 1
        else:
            self.digest.update(data)
            self.last_sync = data if sync else self.last_sync


def verify_output(output: ExportOutput, directory: Path, on_progress: Callable[[float], None]) -> ExportOutput:
    """`output` with its checks, and each file's size and sha256; its files are in `directory`, and durable then.

    Raises ExportVerificationFailed, naming the checks that failed, and StorageError.
    """
    checks = list(_checks(output, directory / output.entry, on_progress))
    if failed := [check for check in checks if not check.ok]:
        listed = "; ".join(f"{check.name}: expected {check.expected}, found {check.actual}" for check in failed)
        raise ExportVerificationFailed(f"{directory / output.entry} is not what was recorded: {listed}")
    files = tuple(_durable(directory, file.path) for file in output.files)
    with translated(f"sync {directory}"):
        for folder in sorted({directory, *((directory / file.path).parent for file in files)}):
            fsync_path(folder)
    return replace(output, files=files, checks=tuple(checks))


def _durable(directory: Path, name: str) -> OutputFile:
    """Delivery compares with this, perhaps after a power cut."""
    path = directory / name
    with translated(f"sync {path}"):
        fsync_path(path)
        return OutputFile(name, path.stat().st_size, file_sha256(path))


def _checks(output: ExportOutput, entry: Path, on_progress: Callable[[float], None]) -> Iterator[Check]:
    try:
        measured = measure(entry, sum(_packets(track) for track in output.tracks), on_progress)
    except (FFmpegError, FileNotFoundError) as error:
        yield Check("opens", "a readable file", str(error), ok=False)
        return
    yield Check("opens", "a readable file", "opened", ok=True)
    kinds = sorted(track.kind.value for track in output.tracks)
    yield _equal("tracks", ",".join(kinds), ",".join(sorted(kind.value for kind in measured)))
    for track in output.tracks:
        if track.kind in measured:
            yield from _track_checks(track, measured[track.kind])
    if output.format == "hls":
        yield from _playlist_checks(output, entry.parent)
    starts = {track.kind: track.start_s for track in output.tracks}
    if len(starts) == len(measured) == 2:
        expected_s = starts[MediaKind.VIDEO] - starts[MediaKind.AUDIO]
        actual_s = measured[MediaKind.VIDEO].start_s - measured[MediaKind.AUDIO].start_s
        yield _near("audio_video_offset_s", expected_s, actual_s, _TOLERANCE_S)
    if output.format == "hls" and len(output.tracks) == len(measured) == 2:
        ends_s = measured[MediaKind.VIDEO].end_s - measured[MediaKind.AUDIO].end_s
        tolerance_s = _TOLERANCE_S + sum(track.clock_lag_s for track in output.tracks)
        yield _near("audio_video_end_offset_s", _ends_apart_s(output), ends_s, tolerance_s)


def _ends_apart_s(output: ExportOutput) -> float:
    """How much later the video is to end than the audio."""
    ends = {track.kind: track.start_s + track.duration_s for track in output.tracks}
    return ends[MediaKind.VIDEO] - ends[MediaKind.AUDIO]


def _playlist_checks(output: ExportOutput, folder: Path) -> Iterator[Check]:
    """The durations that the media playlists announce; those measured come from the segments themselves."""
    for track in output.tracks:
        text = (folder / f"{track.kind.value}.m3u8").read_text()
        announced_s = sum(float(line[8:].rstrip(",")) for line in text.splitlines() if line.startswith("#EXTINF:"))
        tolerance_s = _tolerance_s(track)
        yield _near(f"{track.kind.value}_playlist_duration_s", track.duration_s, announced_s, tolerance_s)


def _packets(track: OutputTrack) -> int:
    return track.samples + track.silence_packets + track.repeated_pictures


def _tolerance_s(track: OutputTrack) -> float:
    return max(_TOLERANCE_S, track.duration_s / max(_packets(track), 1)) + track.clock_lag_s


def _track_checks(track: OutputTrack, found: Measured) -> Iterator[Check]:
    kind = track.kind.value
    yield _equal(f"{kind}_codec", track.codec.value, found.codec)
    yield _equal(f"{kind}_samples", str(_packets(track)), str(found.packets))
    yield _equal(f"{kind}_repeated_pictures", str(track.repeated_pictures), str(found.repeated_pictures))
    if track.handling is Handling.COPIED:
        yield _equal(f"{kind}_payload_sha256", track.payload_sha256, found.digest.hexdigest())
    yield _equal(f"{kind}_decode_times_that_do_not_rise", "0", str(found.backward_dts))
    yield _equal(f"{kind}_starts_with_sync_sample", "True", str(found.first_is_sync))
    tolerance_s = _tolerance_s(track)
    yield _near(f"{kind}_start_s", track.start_s, found.start_s, tolerance_s)
    yield _near(f"{kind}_duration_s", track.duration_s, found.end_s - found.start_s, tolerance_s)


def measure(entry: Path, packets: int, on_progress: Callable[[float], None]) -> dict[MediaKind, Measured]:
    """Read all packets of a file or HLS presentation. `packets` is how many are expected, for progress.

    Raises FFmpegError when it cannot be opened or read, FileNotFoundError when a file of it is not there.
    """
    measured: dict[MediaKind, Measured] = {}
    with _opened(entry) as container:
        kinds = {
            stream.index: MediaKind(stream.type) for stream in container.streams if stream.type in {"audio", "video"}
        }
        for stream in container.streams:
            if stream.index in kinds:
                measured[kinds[stream.index]] = Measured(_codec_name(stream))
        count = itertools.count(1)
        for packet in container.demux():
            if packet.size and packet.dts is not None and packet.stream_index in kinds:
                measured[kinds[packet.stream_index]].take(packet)
                on_progress(next(count) / max(packets, 1))
    return measured


@contextmanager
def _opened(entry: Path) -> Iterator[InputContainer]:
    """The file or HLS presentation.

    Playlists say where other files are as URLs, in which `#` and `?` of the folder's own name would mean something:
    FFmpeg gets to see what comes after the folder only.
    """
    if entry.suffix != _PLAYLIST_SUFFIX:
        with av.open(str(entry), "r") as container:
            yield container
        return
    # PyAV leaves files open where it meets an error.
    with ExitStack() as files:

        def opened(url: str, *_: object) -> IO[bytes]:
            return files.enter_context((entry.parent / url).open("rb"))

        with av.open(io.BytesIO(entry.read_bytes()), "r", format="hls", io_open=opened) as container:
            yield container


def _codec_name(stream: av.stream.Stream) -> str:
    """The codec's name as ours, whatever decoder would be used for it."""
    name = stream.codec_context.codec.canonical_name
    return Codec.H265.value if name == "hevc" else name


def _equal(name: str, expected: str, actual: str) -> Check:
    return Check(name, expected, actual, ok=expected == actual)


def _near(name: str, expected: float, actual: float, tolerance: float) -> Check:
    return Check(name, f"{expected:.3f} ± {tolerance:.3f}", f"{actual:.3f}", ok=abs(expected - actual) <= tolerance)


def run_task(request: dict[str, JsonValue], on_progress: Callable[[float], None]) -> JsonObject:
    """The task "verify" of `media.process.child`: directory and output in, the verified output out."""
    output = output_from_json(cast(JsonObject, request["output"]))
    return to_json(verify_output(output, Path(str(request["directory"])), on_progress))
