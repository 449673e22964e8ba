"""What is measured, each way in a process of its own: `tap` records encoded media, `sdk` decodes and encodes again.

Prints `ready` once media come, then for each line on standard input one line of JSON: CPU seconds of
this process so far and video frames received so far. Ends when standard input does.
"""

import argparse
import asyncio
import json
import resource
import sys
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from livekit import rtc

from agent.credentials import Credentials
from agent.logs import configure_logs
from agent.room.recorder_options import RecorderOptions
from agent.room.recording import RoomRecorder
from agent.room.subscription import SubscriptionPolicy
from agent.tokens import ParticipantTokenRequest, mint_participant_token
from media.clock import SteadyClock
from media.frames import Codec, MediaKind
from media.record.entries import Container, TrackOpened
from media.record.journal import read_journal
from media.record.muxer import Muxer, muxer_for
from media.tap.events import LayerQuality
from media.tap.tap import TapOptions

FPS = 25


async def record_with_tap(server: Credentials, room: str, out: Path) -> None:
    """Roomhand's way: encoded frames to disk."""
    request = ParticipantTokenRequest(room, "bench-tap", hidden=True, recorder=True, can_publish=False)
    recorder = RoomRecorder(
        RecorderOptions(room, "bench", out, 6.0, 1.0, SubscriptionPolicy(), None),
        TapOptions(server.url, lambda: mint_participant_token(server, request)),
        SteadyClock(),
        lambda _event: None,
    )
    first = FirstSamples(recorder, out / "bench")
    await recorder.start()
    watching = asyncio.create_task(first.watch(), name="first samples")

    def counted() -> dict[str, object]:
        counters = recorder.counters()
        return {
            "frames": counters.recording_frames.get("video", 0),
            "bytes": _tap_bytes(recorder),
            "bytes_written": counters.recording_bytes,
            "first_sample_s": sorted(first.delays_s.values()),
        }

    await _converse(counted)
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)
    await recorder.aclose()


async def transcode_with_sdk(server: Credentials, room: str, out: Path, *, one: bool = False) -> None:
    """What a Python user does today: subscribe, decode, x264 veryfast, AAC, MP4. `one`: a single video and no more."""
    connected = rtc.Room()
    token = mint_participant_token(server, ParticipantTokenRequest(room, "bench-sdk", hidden=True))
    counted = [0]
    tasks: list[asyncio.Task[None]] = []
    container = av.open(str(out / "transcoded.mp4"), "w")
    video = container.add_stream("libx264", rate=FPS, options={"preset": "veryfast"})
    video.pix_fmt = "yuv420p"
    video.time_base = video.codec_context.time_base = Fraction(1, FPS)
    audio = container.add_stream("aac", rate=48_000)

    async def encode_video(track: rtc.RemoteVideoTrack) -> None:
        async for event in rtc.VideoStream(track, format=rtc.VideoBufferType.I420):
            planes = np.frombuffer(event.frame.data, np.uint8).reshape(event.frame.height * 3 // 2, event.frame.width)
            picture = av.VideoFrame.from_ndarray(planes, "yuv420p")
            if not counted[0]:
                video.width, video.height = event.frame.width, event.frame.height
            picture.pts = counted[0]
            counted[0] += 1
            for packet in video.encode(picture):
                container.mux(packet)

    async def encode_audio(track: rtc.RemoteAudioTrack) -> None:
        at = 0
        async for event in rtc.AudioStream(track, sample_rate=48_000, num_channels=1):
            if not counted[0]:
                continue  # the first packet that is muxed opens both encoders, and the picture's size has to be known
            samples = np.frombuffer(event.frame.data, np.int16).reshape(1, -1)
            sound = av.AudioFrame.from_ndarray(samples, "s16", "mono")
            sound.sample_rate, sound.pts, sound.time_base = 48_000, at, Fraction(1, 48_000)
            at += samples.shape[1]
            for packet in audio.encode(sound):
                container.mux(packet)

    def subscribed(track: rtc.Track, *_rest: object) -> None:
        if isinstance(track, rtc.RemoteVideoTrack):
            tasks.append(asyncio.create_task(encode_video(track), name="video"))
        elif isinstance(track, rtc.RemoteAudioTrack):
            tasks.append(asyncio.create_task(encode_audio(track), name="audio"))

    connected.on("track_subscribed", subscribed)
    await connected.connect(server.url, token, rtc.RoomOptions(auto_subscribe=not one))
    if one:
        publications = [
            item for who in connected.remote_participants.values() for item in who.track_publications.values()
        ]
        next(item for item in publications if item.kind == rtc.TrackKind.KIND_VIDEO).set_subscribed(True)
    await _converse_beside(tasks, lambda: {"frames": counted[0]})
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await connected.disconnect()
    container.close()


class FirstSamples:
    """How long after its subscription each video track has its first sample on disk, by looking at its files."""

    def __init__(self, recorder: RoomRecorder, path: Path) -> None:
        self.delays_s: dict[str, float] = {}
        self._path = path
        self._subscribed: dict[str, float] = {}
        subscribe = recorder.tap.subscribe

        async def timed(
            track_sid: str, quality: LayerQuality = LayerQuality.HIGH, *, max_fps: int | None = None
        ) -> None:
            found = recorder.tap.find_track(track_sid)
            if found is not None and found[1].kind is MediaKind.VIDEO:
                self._subscribed[track_sid] = time.monotonic()
            await subscribe(track_sid, quality, max_fps=max_fps)

        recorder.tap.subscribe = timed  # type: ignore[method-assign]

    async def watch(self) -> None:
        """Look every 20 ms, until each subscribed track has a sample."""
        while True:
            await asyncio.sleep(0.02)
            for file in self._path.glob("tracks/*-video/000001*"):
                if file.parent.name not in self.delays_s and muxer_for_file(file).scan(file.read_bytes()).parts:
                    self._found(file.parent.name)
            if self._subscribed and len(self.delays_s) == len(self._subscribed):
                return

    def _found(self, directory: str) -> None:
        entries = (record.entry for record in read_journal(self._path).records)
        opened = {entry.directory: entry for entry in entries if isinstance(entry, TrackOpened)}
        sid = opened[f"tracks/{directory}"].descriptor.track_sid
        self.delays_s[directory] = time.monotonic() - self._subscribed[sid]


def _resident_bytes() -> int:
    """Resident memory of this process (proc(5))."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def muxer_for_file(file: Path) -> Muxer:
    """The muxer that reads a segment file."""
    return muxer_for(Codec.VP8, Container.WEBM) if ".webm" in file.name else muxer_for(Codec.H264, Container.FMP4)


def _tap_bytes(recorder: RoomRecorder) -> int:
    return sum(stats.bytes_received + stats.header_bytes_received for stats in recorder.tap.stats().values())


async def _converse(counted: Callable[[], dict[str, object]]) -> None:
    while not counted()["frames"]:  # noqa: ASYNC110 - frames are counted in a callback of another library
        await asyncio.sleep(0.1)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    while await asyncio.to_thread(sys.stdin.readline):
        used = resource.getrusage(resource.RUSAGE_SELF)
        report = {
            "cpu_s": used.ru_utime + used.ru_stime,
            "rss_bytes": _resident_bytes(),
            "max_rss_bytes": used.ru_maxrss * 1024,
            **counted(),
        }
        sys.stdout.write(json.dumps(report) + "\n")
        sys.stdout.flush()


async def _converse_beside(tasks: list[asyncio.Task[None]], counted: Callable[[], dict[str, object]]) -> None:
    """Until nobody asks any more, or one of `tasks` ends, which would leave its frames in memory."""
    conversing = asyncio.create_task(_converse(counted), name="conversing")
    while not conversing.done():
        await asyncio.wait((conversing, *tasks), timeout=0.5, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            if task.done():
                task.result()
    await conversing


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("way", choices=("tap", "sdk"))
    for name in ("url", "key", "secret", "room"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--one", action="store_true", help="the SDK's way: only one video")
    options = parser.parse_args()
    configure_logs("console", "warning")
    server = Credentials(options.url, options.key, options.secret)
    if options.way == "tap":
        asyncio.run(record_with_tap(server, options.room, options.out))
    else:
        asyncio.run(transcode_with_sdk(server, options.room, options.out, one=options.one))


if __name__ == "__main__":
    main()
