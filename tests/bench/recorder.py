"""What recording costs: CPU time per frame written, all of the process, fsyncs included.

Run: python -m tests.bench.recorder [folder]. Frames have the sizes of 720p at 25 fps and 1.7 Mb/s, and of
Opus at 32 kb/s, and come at their own pace, as from a room: waking the writer thread is part of the price.
"""

import os
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import structlog

from media.frames import Codec, EncodedFrame
from media.record.entries import TrackDescriptor
from media.record.recorder import Recording

SECONDS = 20.0
VIDEO_FPS, VIDEO_BYTES = 25, 8_500
AUDIO_PPS, AUDIO_BYTES = 50, 80
VP8_KEY = b"\x10\x00\x00\x9d\x01\x2a\x00\x05\xd0\x02"
SPS = bytes.fromhex("6742c01fda014016ec0440000003004000000c83c60ca8")
PPS = bytes.fromhex("68ce3c80")


@dataclass(frozen=True, slots=True)
class Load:
    """Tracks of one codec."""

    codec: Codec
    tracks: int


def frame(codec: Codec, index: int, now: float) -> EncodedFrame:
    """Frame `index` of a track."""
    if codec is Codec.OPUS:
        return EncodedFrame(codec, b"\xfc" + bytes(AUDIO_BYTES), index * 960, now, sync_sample=True)
    sync = index % 150 == 0
    data = bytes(VIDEO_BYTES)
    if codec is Codec.VP8:
        data = (VP8_KEY if sync else b"\x11") + data
    else:
        units = (SPS, PPS, b"\x65" + data) if sync else (b"\x41" + data,)
        data = b"".join(len(unit).to_bytes(4) + unit for unit in units)
    return EncodedFrame(codec, data, index * 3600, now, sync)


def measure(root: Path, name: str, loads: list[Load]) -> None:
    """Record for `SECONDS` and print what it cost."""
    began = time.monotonic()
    recording = Recording.create(root, name, "bench", started_at=began)
    tracks = []
    for load in loads:
        for number in range(load.tracks):
            who = TrackDescriptor(
                f"TR_{load.codec}_{number}", "", "camera", load.codec.kind, load.codec, "b", "B", "PA"
            )
            pps = AUDIO_PPS if load.codec is Codec.OPUS else VIDEO_FPS
            tracks.append((recording.open_track(who, began), load.codec, pps))
    cpu, frames, tick = time.process_time(), 0, 0
    source_cpu = 0.0
    sent = [0] * len(tracks)
    while (elapsed := time.monotonic() - began) < SECONDS:
        for position, (track, codec, pps) in enumerate(tracks):
            while sent[position] <= elapsed * pps:
                before = time.thread_time()
                item = frame(codec, sent[position], began + elapsed)
                source_cpu += time.thread_time() - before
                track.write(item)
                sent[position] += 1
                frames += 1
        if elapsed * 4 > tick:
            recording.tick(began + elapsed)
            tick += 1
        time.sleep(0.01)
    recording.close(time.monotonic())
    used = time.process_time() - cpu - source_cpu
    idle = idle_cost() * SECONDS / 2
    stats = recording.stats
    print(
        f"{name:24} {frames:6} frames  {stats.bytes_written / 1e6:6.1f} MB  {stats.segments:3} segments  "
        f"{(used - idle) / frames * 1e6:6.1f} us/frame  {(used - idle) / SECONDS * 100:5.2f} % of a core"
    )


def idle_cost() -> float:
    """CPU seconds of two seconds of the loop that only sleeps."""
    cpu, began = time.process_time(), time.monotonic()
    while time.monotonic() - began < 2:
        time.sleep(0.01)
    return time.process_time() - cpu


def main() -> None:
    """Measure several rooms."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))
    with tempfile.TemporaryDirectory(dir=sys.argv[1] if len(sys.argv) > 1 else None) as folder:
        root = Path(folder)
        print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, {SECONDS:.0f} s each")
        measure(root, "1-vp8-1-opus", [Load(Codec.VP8, 1), Load(Codec.OPUS, 1)])
        measure(root, "1-h264-1-opus", [Load(Codec.H264, 1), Load(Codec.OPUS, 1)])
        measure(root, "10-vp8-10-opus", [Load(Codec.VP8, 10), Load(Codec.OPUS, 10)])


if __name__ == "__main__":
    main()
