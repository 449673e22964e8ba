"""Decoded media into the frames that a recording takes, as they come: H.264 and Opus, with settings for real time.

For the rare track whose encoded form cannot be recorded. Costs a decoder's and an encoder's work, and a generation of
quality; what takes encoded media costs neither.
"""

from dataclasses import dataclass
from fractions import Fraction

import av
import numpy as np
from av.audio.codeccontext import AudioCodecContext
from av.audio.frame import AudioFrame
from av.video.codeccontext import VideoCodecContext
from av.video.frame import PictureType, VideoFrame

from media.frames import Codec, EncodedFrame
from media.process.avc import annexb_to_length_prefixed

VIDEO_HZ = Codec.H264.clock_rate
AUDIO_HZ = Codec.OPUS.clock_rate
KEYFRAME_INTERVAL_S = 2.0  # a recording cuts its segments at sync samples
SAMPLES_PER_PACKET = 960  # 20 ms, Opus' usual packet
_JUMP_S = 0.2  # audio that comes later than its samples say by more than this was interrupted
_OPTIONS = {"preset": "veryfast", "tune": "zerolatency", "crf": "23", "forced-idr": "1", "sc_threshold": "0"}
_NOMINAL_RATE = 30  # hint for rate control only


@dataclass(frozen=True, slots=True)
class DecodedPicture:
    """A picture as I420 without padding; `time_s` is on any steady clock, `arrival_time` Unix seconds."""

    width: int
    height: int
    data: bytes | bytearray
    time_s: float
    arrival_time: float
    discontinuity: bool = False


@dataclass(frozen=True, slots=True)
class DecodedSound:
    """Mono samples, signed 16 bit at 48 kHz; `arrival_time` in Unix seconds."""

    data: bytes
    arrival_time: float
    discontinuity: bool = False


class LiveVideoEncoder:
    """H.264 as `EncodedFrame` has it: 4-byte lengths, parameter sets in band. A new size is a new stream."""

    def __init__(self) -> None:
        self._encoder: VideoCodecContext | None = None
        self._size = (0, 0)
        self._started_s: float | None = None
        self._keyframe_at = 0.0

    def request_keyframe(self) -> None:
        """Make the next frame a sync sample."""
        self._keyframe_at = 0.0

    def encode(self, picture: DecodedPicture) -> list[EncodedFrame]:
        """The encoded frame; odd sizes lose their last column or row. Raises av.FFmpegError."""
        width, height = picture.width // 2 * 2, picture.height // 2 * 2
        if self._encoder is None or self._size != (width, height):
            self._encoder, self._size = _video_encoder(width, height), (width, height)
            self._keyframe_at = 0.0
        if self._started_s is None:
            self._started_s = picture.time_s
        at = picture.time_s - self._started_s
        frame = VideoFrame.from_ndarray(_even_i420(picture, width, height), format="yuv420p")
        frame.pts, frame.time_base = round(at * VIDEO_HZ), Fraction(1, VIDEO_HZ)
        if picture.discontinuity or picture.time_s >= self._keyframe_at:
            frame.pict_type = PictureType.I
            self._keyframe_at = picture.time_s + KEYFRAME_INTERVAL_S
        return [
            EncodedFrame(
                Codec.H264,
                annexb_to_length_prefixed(bytes(packet)),
                round(at * VIDEO_HZ),
                picture.arrival_time,
                packet.is_keyframe,
                picture.discontinuity,
                width if packet.is_keyframe else 0,
                height if packet.is_keyframe else 0,
            )
            for packet in self._encoder.encode(frame)
        ]


class LiveAudioEncoder:
    """Opus packets of 20 ms. Time is counted in samples; where sound failed to come, it goes on by arrival.

    A frame's `arrival_time` is that of its first sample, as if each sample came by itself.
    """

    def __init__(self) -> None:
        self._encoder = _audio_encoder()
        self._waiting = bytearray()
        self._next: int | None = None
        self._started_at = 0.0
        self._discontinuity = False

    def encode(self, sound: DecodedSound) -> list[EncodedFrame]:
        """The packets that `sound` completes. Raises av.FFmpegError."""
        self._place(sound)
        self._waiting += sound.data
        frames = []
        while len(self._waiting) >= 2 * SAMPLES_PER_PACKET:
            began = sound.arrival_time - len(self._waiting) / 2 / AUDIO_HZ
            frames += self._packet(bytes(self._waiting[: 2 * SAMPLES_PER_PACKET]), began)
            del self._waiting[: 2 * SAMPLES_PER_PACKET]
        return frames

    def _place(self, sound: DecodedSound) -> None:
        if self._next is None:
            self._next, self._started_at = 0, sound.arrival_time
        arrived = round((sound.arrival_time - self._started_at) * AUDIO_HZ) - len(sound.data) // 2
        if sound.discontinuity or arrived - self._next - len(self._waiting) // 2 > _JUMP_S * AUDIO_HZ:
            self._waiting.clear()
            self._next = max(self._next, arrived)
            self._discontinuity = True

    def _packet(self, samples: bytes, arrival_time: float) -> list[EncodedFrame]:
        assert self._next is not None, "placed first"
        frame = AudioFrame.from_ndarray(np.frombuffer(samples, np.int16).reshape(1, -1), format="s16", layout="mono")
        frame.sample_rate, frame.pts = AUDIO_HZ, self._next
        timestamp, self._next = self._next, self._next + SAMPLES_PER_PACKET
        discontinuity, self._discontinuity = self._discontinuity, False
        return [
            EncodedFrame(
                Codec.OPUS, bytes(packet), timestamp, arrival_time, sync_sample=True, discontinuity=discontinuity
            )
            for packet in self._encoder.encode(frame)
        ]


def _video_encoder(width: int, height: int) -> VideoCodecContext:
    encoder = av.CodecContext.create("libx264", "w")
    assert isinstance(encoder, VideoCodecContext)
    encoder.width, encoder.height, encoder.pix_fmt = width, height, "yuv420p"
    encoder.time_base, encoder.framerate = Fraction(1, VIDEO_HZ), Fraction(_NOMINAL_RATE)
    encoder.gop_size = _NOMINAL_RATE * 60
    encoder.options = _OPTIONS
    return encoder


def _audio_encoder() -> AudioCodecContext:
    encoder = av.CodecContext.create("libopus", "w")
    assert isinstance(encoder, AudioCodecContext)
    encoder.sample_rate, encoder.format, encoder.layout = AUDIO_HZ, "s16", "mono"
    encoder.bit_rate = 32_000  # LiveKit's preset for speech
    encoder.options = {"application": "voip", "frame_duration": "20"}
    return encoder


def _even_i420(picture: DecodedPicture, width: int, height: int) -> "np.ndarray[tuple[int, ...], np.dtype[np.uint8]]":
    """The picture cut to an even size, as PyAV takes it: three planes below each other."""
    data = np.frombuffer(picture.data, np.uint8)
    if (picture.width, picture.height) == (width, height):
        return data[: width * height * 3 // 2].reshape(height * 3 // 2, width)
    chroma_width, chroma_height = (picture.width + 1) // 2, (picture.height + 1) // 2
    luma_size, chroma_size = picture.width * picture.height, chroma_width * chroma_height
    planes = [data[:luma_size].reshape(picture.height, picture.width)[:height, :width]]
    for start in (luma_size, luma_size + chroma_size):
        plane = data[start : start + chroma_size].reshape(chroma_height, chroma_width)
        planes.append(plane[: height // 2, : width // 2])
    return np.concatenate([plane.reshape(-1) for plane in planes]).reshape(height * 3 // 2, width)
