"""A publisher on the LiveKit SDK alone, for tests of what receives: moving pictures and a tone."""

import asyncio
import itertools
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import numpy as np
from livekit import rtc

from agent.credentials import Credentials
from agent.tokens import ParticipantTokenRequest, mint_participant_token
from media.frames import Codec
from media.sources.open import open_source

T = TypeVar("T")

FPS = 25
SAMPLE_RATE = 48_000
AUDIO_CHUNK = 480
_CODECS = {
    Codec.VP8: rtc.VideoCodec.VP8,
    Codec.VP9: rtc.VideoCodec.VP9,
    Codec.AV1: rtc.VideoCodec.AV1,
    Codec.H264: rtc.VideoCodec.H264,
    Codec.H265: rtc.VideoCodec.H265,
}


async def eventually(probe: Callable[[], T | None], *, timeout_s: float = 10.0) -> T:
    """What `probe` gives once it is no longer None; fails loudly after `timeout_s`."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        found = probe()
        if found is not None:
            return found
        await asyncio.sleep(0.02)
    raise AssertionError(f"did not happen within {timeout_s} s")


class Publisher:
    """`async with` publishes a camera, and with `audio` a microphone, in `room`.

    `noise` 0 to 255 makes the picture hard to code; `clip` is shown instead, again and again. With `pauses` the sound
    is still for one second of three, as speech is: a server tells who joins later of a speaker only as it changes.
    """

    def __init__(
        self,
        server: Credentials,
        room: str,
        *,
        codec: Codec = Codec.VP8,
        width: int = 640,
        height: int = 360,
        simulcast: bool | None = None,
        bitrate_bps: int | None = None,
        noise: int = 0,
        clip: Path | None = None,
        identity: str = "publisher",
        encryption: rtc.E2EEOptions | None = None,
        audio: bool = True,
        pauses: bool = False,
        fps: int = FPS,
    ) -> None:
        self._server = server
        self._name = room
        self._codec = codec
        self._size = (width, height)
        self._simulcast = width >= 960 if simulcast is None else simulcast
        self._bitrate_bps = bitrate_bps
        self._noise = noise
        self._clip = clip
        self._identity = identity
        self._encryption = encryption
        self._with_audio = audio
        self._pauses = pauses
        self._fps = fps
        self._tasks: list[asyncio.Task[None]] = []
        self.room = rtc.Room()
        self.video_frames = 0
        self.paused = False

    async def __aenter__(self) -> "Publisher":
        token = mint_participant_token(self._server, ParticipantTokenRequest(self._name, self._identity))
        await self.room.connect(self._server.url, token, rtc.RoomOptions(encryption=self._encryption))
        width, height = self._size
        self._video = rtc.VideoSource(width, height)
        self._audio = rtc.AudioSource(SAMPLE_RATE, 1, 100)
        camera = rtc.LocalVideoTrack.create_video_track("camera", self._video)
        microphone = rtc.LocalAudioTrack.create_audio_track("microphone", self._audio)
        publish = self.room.local_participant.publish_track
        options = rtc.TrackPublishOptions(
            source=rtc.TrackSource.SOURCE_CAMERA, simulcast=self._simulcast, video_codec=_CODECS[self._codec]
        )
        if self._bitrate_bps is not None:
            options.video_encoding.max_bitrate = self._bitrate_bps
            options.video_encoding.max_framerate = self._fps
        await publish(camera, options)
        self._tasks = [asyncio.create_task(self._send_video(), name="publisher.video")]
        if self._with_audio:
            await publish(microphone, rtc.TrackPublishOptions(source=rtc.TrackSource.SOURCE_MICROPHONE))
            self._tasks.append(asyncio.create_task(self._send_audio(), name="publisher.audio"))
        return self

    async def __aexit__(self, *_exc: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._audio.aclose()
        await self._video.aclose()
        await self.room.disconnect()

    async def frames_sent(self) -> int:
        """Video frames that left the encoder, of the highest layer."""
        stats = (await self.room.get_rtc_stats()).publisher_stats
        sent = [item.outbound_rtp.outbound.frames_sent for item in stats if item.WhichOneof("stats") == "outbound_rtp"]
        return max(sent, default=0)

    async def _send_video(self) -> None:
        width, height = self._size
        picture = self._clip_pictures(self._clip) if self._clip else self._moving_pictures()
        started = time.monotonic()
        while True:
            if self.paused:
                await asyncio.sleep(1 / self._fps)
                started += 1 / self._fps
                continue
            data = await asyncio.to_thread(next, picture)
            self._video.capture_frame(rtc.VideoFrame(width, height, rtc.VideoBufferType.I420, data))
            self.video_frames += 1
            await asyncio.sleep(max(0.0, started + self.video_frames / self._fps - time.monotonic()))

    def _moving_pictures(self) -> Iterator[bytes]:
        width, height = self._size
        ramp = np.add.outer(np.arange(height), np.arange(width)).astype(np.uint8)
        noise = np.random.default_rng(1).integers(0, self._noise + 1, (height, 2 * width)).astype(np.uint8)
        chroma = np.full(width * height // 2, 128, np.uint8).tobytes()
        for number in itertools.count():
            shift = 37 * number % width
            # Bytes wrap around by themselves; wider numbers cost ten times as much.
            yield (ramp + noise[:, shift : shift + width] + np.uint8(4 * number % 256)).tobytes() + chroma

    def _clip_pictures(self, clip: Path) -> Iterator[bytes]:
        source = open_source(str(clip), loop=True)
        while frame := source.read_video():
            yield frame.data

    async def _send_audio(self) -> None:
        at = 0
        while True:
            wave = np.sin(2 * np.pi * 440 * (np.arange(AUDIO_CHUNK) + at) / SAMPLE_RATE)
            at += AUDIO_CHUNK
            loud = not self._pauses or at // SAMPLE_RATE % 3 < 2
            samples = (wave * 8000 * loud).astype(np.int16).tobytes()
            await self._audio.capture_frame(rtc.AudioFrame(samples, SAMPLE_RATE, 1, AUDIO_CHUNK))
