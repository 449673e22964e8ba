"""Decoded media of one subscribed track, handed to a callback.

The SDK decodes whatever video is subscribed and enabled, looked at or not (seen: `frames_decoded` rises
without a stream). Reading costs one more copy of each picture; only disabling a track saves its decoding.
"""

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass

import structlog
from livekit import rtc

log = structlog.get_logger(__name__)

CLOSE_TIMEOUT_S = 1.0
SAMPLE_RATE = 48_000
# The SDK's encoder sends a black 8x8 picture before a source's first one.
MINIMUM_SIDE = 16


@dataclass(frozen=True, slots=True)
class ReceivedVideoFrame:
    """One picture as I420 without padding; `timestamp_us` is on the SDK's monotonic clock."""

    track_sid: str
    width: int
    height: int
    data: bytes | bytearray
    timestamp_us: int


@dataclass(frozen=True, slots=True)
class ReceivedAudio:
    """Interleaved signed 16-bit samples; `samples` counts per channel."""

    track_sid: str
    sample_rate: int
    channels: int
    samples: int
    data: bytes


RemoteSdkTrack = rtc.RemoteVideoTrack | rtc.RemoteAudioTrack
FrameCallback = Callable[[ReceivedVideoFrame | ReceivedAudio], None]


async def consume(
    track: RemoteSdkTrack, callback: FrameCallback, *, sample_rate: int = SAMPLE_RATE, channels: int = 1
) -> None:
    """Call `callback` with what `track` brings, until cancelled (a video stream never ends by itself)."""
    if isinstance(track, rtc.RemoteVideoTrack):
        await _consume_video(track, callback)
    else:
        await _consume_audio(track, callback, sample_rate, channels)


async def _consume_video(track: rtc.RemoteVideoTrack, callback: FrameCallback) -> None:
    # Room for one picture: who is slow gets the newest, not a growing backlog.
    stream = rtc.VideoStream(track, capacity=1, format=rtc.VideoBufferType.I420)
    try:
        async for event in stream:
            frame = event.frame
            if min(frame.width, frame.height) >= MINIMUM_SIDE:
                data = frame.data.obj
                assert isinstance(data, bytes | bytearray)
                callback(ReceivedVideoFrame(track.sid, frame.width, frame.height, data, event.timestamp_us))
    finally:
        await _close(stream)


async def _consume_audio(track: rtc.RemoteAudioTrack, callback: FrameCallback, sample_rate: int, channels: int) -> None:
    stream = rtc.AudioStream(track, sample_rate=sample_rate, num_channels=channels)
    try:
        async for event in stream:
            frame = event.frame
            callback(
                ReceivedAudio(
                    track.sid, frame.sample_rate, frame.num_channels, frame.samples_per_channel, bytes(frame.data)
                )
            )
    finally:
        await _close(stream)


async def _close(stream: rtc.VideoStream | rtc.AudioStream) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(CLOSE_TIMEOUT_S):
            await stream.aclose()
