"""What is measured, each way in a process of its own: `tap` records encoded media, `sdk` decodes and encodes again.

Prints `ready` once media come, then for each line on standard input one line of JSON: CPU seconds of
this process so far and video frames received so far. Ends when standard input does.
"""

import argparse
import asyncio
import json
import resource
import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from livekit import rtc

from agent.logs import configure_logs
from agent.room.recording import RecorderOptions, RoomRecorder
from agent.room.subscription import SubscriptionPolicy
from agent.tokens import Credentials, ParticipantTokenRequest, mint_participant_token
from media.clock import SteadyClock
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
    await recorder.start()
    await _converse(lambda: recorder.counters().recording_frames.get("video", 0), lambda: _tap_bytes(recorder))
    await recorder.aclose()


async def transcode_with_sdk(server: Credentials, room: str, out: Path) -> None:
    """What a Python user does today: subscribe, decode, x264 veryfast, AAC, MP4."""
    connected = rtc.Room()
    token = mint_participant_token(server, ParticipantTokenRequest(room, "bench-sdk", hidden=True))
    counted = [0]
    tasks: list[asyncio.Task[None]] = []
    container = av.open(str(out / "transcoded.mp4"), "w")
    video = container.add_stream("libx264", rate=FPS, options={"preset": "veryfast"})
    video.width, video.height, video.pix_fmt = 1280, 720, "yuv420p"
    video.time_base = video.codec_context.time_base = Fraction(1, FPS)
    audio = container.add_stream("aac", rate=48_000)

    async def encode_video(track: rtc.RemoteVideoTrack) -> None:
        async for event in rtc.VideoStream(track, format=rtc.VideoBufferType.I420):
            planes = np.frombuffer(event.frame.data, np.uint8).reshape(event.frame.height * 3 // 2, event.frame.width)
            picture = av.VideoFrame.from_ndarray(planes, "yuv420p")
            picture.pts = counted[0]
            counted[0] += 1
            for packet in video.encode(picture):
                container.mux(packet)

    async def encode_audio(track: rtc.RemoteAudioTrack) -> None:
        at = 0
        async for event in rtc.AudioStream(track, sample_rate=48_000, num_channels=1):
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
    await connected.connect(server.url, token)
    await _converse(lambda: counted[0], lambda: 0)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await connected.disconnect()
    container.close()


def _tap_bytes(recorder: RoomRecorder) -> int:
    return sum(stats.bytes_received + stats.header_bytes_received for stats in recorder.tap.stats().values())


async def _converse(frames: Callable[[], int], received: Callable[[], int]) -> None:
    while frames() < FPS:  # noqa: ASYNC110 - frames are counted in a callback of another library
        await asyncio.sleep(0.1)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    while await asyncio.to_thread(sys.stdin.readline):
        used = resource.getrusage(resource.RUSAGE_SELF)
        report = {
            "cpu_s": used.ru_utime + used.ru_stime,
            "frames": frames(),
            "bytes": received(),
            "max_rss_bytes": used.ru_maxrss * 1024,
        }
        sys.stdout.write(json.dumps(report) + "\n")
        sys.stdout.flush()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("way", choices=("tap", "sdk"))
    for name in ("url", "key", "secret", "room"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    configure_logs("console", "warning")
    server = Credentials(options.url, options.key, options.secret)
    way = record_with_tap if options.way == "tap" else transcode_with_sdk
    asyncio.run(way(server, options.room, options.out))


if __name__ == "__main__":
    main()
