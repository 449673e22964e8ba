"""From a source to the SDK's native source: what feeds one published track."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Protocol

from livekit import rtc

from agent.room.pre_encoded_feed import PreEncodedFeed
from agent.room.publish_options import TrackPlan
from agent.room.pump import Pump, PumpedFeed
from media.sources.pacer import AUDIO_LATE_LIMIT_S, AUDIO_LEAD_S, LATE_PICTURE_EVERY_S, Pacer
from media.sources.scale import scaled
from media.sources.source import DecodedAudio, DecodedVideoFrame, PreEncodedSource, Source
from quality.pre_encoded import Encoded
from quality.publish_ladder import scaled_size
from quality.stats import TrackKind

AUDIO_QUEUE_MS = 200  # the SDK's default of 1 s would let sound leave that much after its picture

NativeSource = rtc.VideoSource | rtc.EncodedVideoSource | rtc.AudioSource


class Feed(Protocol):
    """Plays one track's media into its native source."""

    async def run(self) -> bool:
        """Until the source ends (True) or `stop` (False). Raises SourceUnreadable."""

    def stop(self) -> None:
        """Send nothing more; `run` returns within one frame."""

    def set_muted(self, *, muted: bool) -> None:
        """While muted, media pass unsent."""


class VideoFeed(PumpedFeed[DecodedVideoFrame]):
    """Pictures, thinned out to `max_fps` and made smaller to `lines` where that is asked for."""

    def __init__(self, plan: TrackPlan, source: Source, native: rtc.VideoSource, *, start: float) -> None:
        self._native = native
        self._own_max_fps = plan.max_fps
        self._lines: int | None = None
        self._pacer = Pacer(start=start, max_fps=plan.max_fps, late_every_s=LATE_PICTURE_EVERY_S)
        pump = Pump(
            name=plan.name,
            read=source.read_video,
            send=self._send,
            pacer=self._pacer,
            leave_out=source.leave_out_video,
        )
        super().__init__(pump)

    def limit(self, *, max_fps: float | None, lines: int | None) -> None:
        """Send at most so many frames a second, and no more lines (of the shorter side); None is as published.

        The encoder takes another size from one frame to the next, with a key frame.
        """
        limits = [each for each in (max_fps, self._own_max_fps) if each is not None]
        self._pacer.limit_fps(min(limits, default=None))
        self._lines = lines

    async def _send(self, frame: DecodedVideoFrame, capture_time: float) -> None:
        width, height = scaled_size(frame.width, frame.height, self._lines)
        if (width, height) != (frame.width, frame.height):
            frame = await asyncio.to_thread(scaled, frame, width, height)
        picture = rtc.VideoFrame(frame.width, frame.height, rtc.VideoBufferType.I420, frame.data)
        # The loop's clock and the native layer's are the same monotonic clock.
        self._native.capture_frame(picture, timestamp_us=round(capture_time * 1e6))


class AudioFeed(PumpedFeed[DecodedAudio]):
    """Sound, a little ahead of its time."""

    def __init__(self, plan: TrackPlan, source: Source, native: rtc.AudioSource, *, start: float) -> None:
        self._native = native
        pacer = Pacer(start=start, lead_s=AUDIO_LEAD_S, late_limit_s=AUDIO_LATE_LIMIT_S)
        super().__init__(Pump(name=plan.name, read=source.read_audio, send=self._send, pacer=pacer))

    async def _send(self, chunk: DecodedAudio, _capture_time: float) -> None:
        await self._native.capture_frame(rtc.AudioFrame(chunk.data, chunk.sample_rate, chunk.channels, chunk.samples))

    async def run(self) -> bool:
        """See Feed; what is queued is heard before it returns."""
        ended = await super().run()
        if ended:
            await asyncio.sleep(self._native.queued_duration)
        return ended


def native_source(source: Source, plan: TrackPlan) -> NativeSource:
    """The SDK's source for one track of `source`."""
    if plan.kind is TrackKind.VIDEO:
        video = source.video
        assert video is not None
        if plan.pre_encoded:
            return rtc.EncodedVideoSource(video.width, video.height)
        return rtc.VideoSource(video.width, video.height, is_screencast=plan.source == "screen_share")
    audio = source.audio
    assert audio is not None
    return rtc.AudioSource(audio.sample_rate, audio.channels, queue_size_ms=AUDIO_QUEUE_MS)


def sdk_track(native: NativeSource, plan: TrackPlan) -> rtc.LocalVideoTrack | rtc.LocalAudioTrack:
    """A new track of a native source."""
    if isinstance(native, rtc.AudioSource):
        return rtc.LocalAudioTrack.create_audio_track(plan.name, native)
    return rtc.LocalVideoTrack.create_video_track(plan.name, native)


def feed_of(
    plan: TrackPlan,
    source: Source,
    native: NativeSource,
    *,
    start: float,
    encoded: Callable[[], Awaitable[Encoded]],
) -> Feed:
    """What plays `source` into `native` from `start` (the event loop's time) on; `encoded` as in `PreEncodedFeed`."""
    if isinstance(native, rtc.AudioSource):
        return AudioFeed(plan, source, native, start=start)
    if isinstance(native, rtc.EncodedVideoSource):
        assert isinstance(source, PreEncodedSource)
        return PreEncodedFeed(plan, source, native, start=start, encoded=encoded)
    return VideoFeed(plan, source, native, start=start)
