"""Exports and raw recordings, read by another FFmpeg than the one they were made with: the machine's own."""

import itertools
import json
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from media.frames import Codec, MediaKind
from media.process.output import OutputTrack
from tests.interop.exported import CASES, PRODUCED, Exported

pytestmark = [
    pytest.mark.interop,
    pytest.mark.skipif(
        not (shutil.which("ffprobe") and shutil.which("ffmpeg")), reason="no ffprobe and ffmpeg on PATH"
    ),
]


FFMPEG_NAMES = {codec: "hevc" if codec is Codec.H265 else codec.value for codec in Codec}


@dataclass(frozen=True)
class Probed:
    """A stream as ffprobe sees it. `times_s` are the decode times of its packets, in file order."""

    kind: str
    codec: str
    size: tuple[int, int]
    frames: int
    times_s: list[float]
    end_s: float


def probe(path: Path) -> list[Probed]:
    """All streams of a file or playlist. ffprobe must find nothing to complain about."""
    found = _run(
        ["ffprobe", "-v", "error", "-count_frames", "-show_streams", "-show_packets", "-of", "json", str(path)]
    )
    described: dict[str, Any] = json.loads(found)
    return [_probed(stream, described["packets"]) for stream in described["streams"]]


def _probed(stream: dict[str, Any], packets: list[dict[str, Any]]) -> Probed:
    own = [packet for packet in packets if packet["stream_index"] == stream["index"]]
    last = max(own, key=lambda packet: float(packet["pts_time"]))
    return Probed(
        stream["codec_type"],
        stream["codec_name"],
        (stream.get("width", 0), stream.get("height", 0)),
        int(stream["nb_read_frames"]),
        [float(packet["dts_time"]) for packet in own],
        float(last["pts_time"]) + float(last.get("duration_time", 0)),
    )


def decode(path: Path) -> None:
    """Decode everything; any complaint fails."""
    _run(["ffmpeg", "-v", "error", "-nostdin", "-xerror", "-i", str(path), "-map", "0", "-f", "null", "-"])


def _run(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def rises(times_s: list[float]) -> bool:
    return all(later > earlier for earlier, later in itertools.pairwise(times_s))


def by_kind(tracks: tuple[OutputTrack, ...]) -> dict[str, OutputTrack]:
    return {track.kind.value: track for track in tracks}


@pytest.mark.parametrize("kind", ["mp4", "hls"])
@pytest.mark.parametrize("case", CASES)
def test_exports_hold_every_recorded_frame_at_its_time(case: str, kind: str, exports: Exported) -> None:
    output = exports.output(case, kind)
    streams = probe(Path(output.entry))
    tracks = by_kind(output.tracks)
    recorded = {track.descriptor.kind.value: track.samples for track in exports.view(case).tracks}
    assert {stream.kind: stream.codec for stream in streams} == {"video": FFMPEG_NAMES[PRODUCED[case]], "audio": "opus"}
    for stream in streams:
        track = tracks[stream.kind]
        assert stream.frames == len(stream.times_s) == recorded[stream.kind] + track.silence_packets
        assert rises(stream.times_s)
        assert stream.times_s[0] == pytest.approx(track.start_s, abs=0.01)
        assert stream.end_s == pytest.approx(output.duration_s, abs=0.05)
        assert stream.size == (track.width, track.height)
    decode(Path(output.entry))


@pytest.mark.parametrize("case", CASES)
def test_raw_recordings_play_when_init_and_segments_are_joined(case: str, exports: Exported, tmp_path: Path) -> None:
    view = exports.view(case)
    for track in view.tracks:
        frames = 0
        ends = []
        for number, (init_path, segments) in enumerate(itertools.groupby(track.segments, lambda item: item.init_path)):
            entries = list(segments)
            joined = tmp_path / f"{track.number}-{number}{Path(init_path).suffix}"
            paths = [view.path / init_path, *(view.path / entry.path for entry in entries)]
            joined.write_bytes(b"".join(path.read_bytes() for path in paths))
            (stream,) = probe(joined)
            assert stream.codec == FFMPEG_NAMES[track.descriptor.codec]
            assert rises(stream.times_s)
            assert stream.times_s[0] == pytest.approx(entries[0].decode_time / track.timescale, abs=0.001)
            decode(joined)
            frames += stream.frames
            ends.append(stream.end_s)
        assert frames == track.samples
        last = track.segments[-1].end_decode_time / track.timescale
        tolerance_s = 0.05 if track.descriptor.kind is MediaKind.VIDEO else 0.025
        assert ends[-1] == pytest.approx(last, abs=tolerance_s)
