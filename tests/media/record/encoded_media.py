"""Real encoded frames for tests: every codec from FFmpeg's encoders, and decoding them back."""

import functools
import io
import itertools
from fractions import Fraction
from typing import Any, cast

import av
import numpy as np

from media.bitstream.av1_obu import ObuType, read_obus, with_size
from media.frames import Codec, EncodedFrame
from media.process.avc import annexb_to_length_prefixed
from media.record.entries import TrackDescriptor
from media.record.reader import RecordingView, TrackView
from tests.media.priority import kept_priority

ENCODERS = {
    Codec.VP8: "libvpx",
    Codec.VP9: "libvpx-vp9",
    Codec.AV1: "libsvtav1",
    Codec.H264: "libx264",
    Codec.H265: "libx265",
}
OPTIONS: dict[Codec, dict[str, str]] = {
    Codec.VP8: {"deadline": "realtime", "cpu-used": "8", "lag-in-frames": "0", "auto-alt-ref": "0"},
    Codec.VP9: {"deadline": "realtime", "cpu-used": "8", "lag-in-frames": "0", "auto-alt-ref": "0"},
    Codec.AV1: {"preset": "12", "svtav1-params": "rtc=1:pred-struct=1:rc=2:lp=1"},
    Codec.H264: {"preset": "ultrafast", "tune": "zerolatency", "profile": "baseline", "x264-params": "annexb=1"},
    Codec.H265: {"preset": "ultrafast", "tune": "zerolatency"},
}
_X265 = "repeat-headers=1:no-open-gop=1:scenecut=0:pools=1:frame-threads=1:log-level=none"


def video(
    codec: Codec,
    *,
    frames: int,
    width: int = 160,
    height: int = 90,
    fps: int = 30,
    gop: int = 30,
    first_rtp: int = 1_000_000,
    start: float = 1_000.0,
) -> list[EncodedFrame]:
    """`frames` frames of a moving picture, each `90000 // fps` ticks and 1 / fps seconds after the one before."""
    step = 90_000 // fps
    return [
        EncodedFrame(
            codec,
            data,
            first_rtp + index * step,
            start + index / fps,
            sync,
            width=width if sync else 0,
            height=height if sync else 0,
        )
        for index, (data, sync) in enumerate(_encoded_video(codec, frames, width, height, fps, gop))
    ]


def opus(*, packets: int, first_rtp: int = 77_000, start: float = 1_000.0) -> list[EncodedFrame]:
    """`packets` packets of 20 ms of a 440 Hz tone."""
    return [
        EncodedFrame(Codec.OPUS, data, first_rtp + index * 960, start + index * 0.02, True)
        for index, data in enumerate(_encoded_opus(packets))
    ]


@functools.cache
@kept_priority()
def _encoded_video(
    codec: Codec, frames: int, width: int, height: int, fps: int, gop: int
) -> tuple[tuple[bytes, bool], ...]:
    context = cast("Any", av.CodecContext.create(ENCODERS[codec], "w"))
    context.width, context.height, context.pix_fmt = width, height, "yuv420p"
    context.time_base = Fraction(1, fps)
    context.gop_size, context.bit_rate = gop, 300_000
    # libvpx waits for its threads by spinning: on a busy machine more of them take minutes.
    context.thread_count = 1
    options = {"keyint_min": str(gop), "sc_threshold": "0"}
    if codec is Codec.H265:
        options = {"x265-params": f"{_X265}:keyint={gop}:min-keyint={gop}"}
    context.options = {**OPTIONS[codec], **({} if codec is Codec.AV1 else options)}
    packets: list[Any] = []
    for index in range(frames):
        picture = np.full((height * 3 // 2, width), 128, dtype=np.uint8)
        picture[: height // 2, : (index * 7) % width + 1] = 40 + index % 200
        frame = av.VideoFrame.from_ndarray(picture, format="yuv420p")
        frame.pts = index
        packets += context.encode(frame)
    packets += context.encode(None)
    return tuple((stored(codec, bytes(packet)), bool(packet.is_keyframe)) for packet in packets)


def stored(codec: Codec, data: bytes) -> bytes:
    """An encoder's packet in the form of `EncodedFrame.data`."""
    if codec in {Codec.H264, Codec.H265}:
        return annexb_to_length_prefixed(data)
    if codec is Codec.AV1:
        return b"".join(with_size(obu) for obu in read_obus(data) if obu.type != ObuType.TEMPORAL_DELIMITER)
    return data


@functools.cache
def _encoded_opus(packets: int) -> tuple[bytes, ...]:
    context = cast("Any", av.CodecContext.create("libopus", "w"))
    context.sample_rate, context.layout, context.format = 48_000, "stereo", "flt"
    encoded: list[bytes] = []
    for index in range(packets + 1):
        t = (np.arange(960) + index * 960) / 48_000
        tone = np.repeat(0.3 * np.sin(2 * np.pi * 440 * t), 2).astype(np.float32)
        frame = av.AudioFrame.from_ndarray(tone.reshape(1, -1), format="flt", layout="stereo")
        frame.sample_rate, frame.pts = 48_000, index * 960
        encoded += map(bytes, context.encode(frame))
    return tuple(encoded[:packets])


def descriptor(codec: Codec, sid: str = "TR_one") -> TrackDescriptor:
    """A track of `codec` that a participant "ada" published."""
    return TrackDescriptor(sid, "a track", "camera", codec.kind, codec, "ada", "Ada", "PA_ada")


def packet_times(data: bytes, timescale: int) -> list[int]:
    """The decode times that FFmpeg's demuxer finds, in ticks."""
    with av.open(io.BytesIO(data), "r") as container:
        stream = container.streams[0]
        return [
            round(cast("int", packet.dts) * packet.time_base * timescale)
            for packet in container.demux(stream)
            if packet.size
        ]


def packet_payloads(data: bytes) -> list[bytes]:
    """The samples that FFmpeg's demuxer finds."""
    with av.open(io.BytesIO(data), "r") as container:
        return [bytes(packet) for packet in container.demux(container.streams[0]) if packet.size]


def decoded_sizes(data: bytes) -> list[tuple[int, int]]:
    """Width and height of each picture that decodes without an error."""
    with av.open(io.BytesIO(data), "r") as container:
        container.streams.video[0].codec_context.options = {"err_detect": "explode"}
        return [(frame.width, frame.height) for frame in container.decode(video=0)]


def decoded_audio_samples(data: bytes) -> int:
    """How many audio samples per channel decode."""
    with av.open(io.BytesIO(data), "r") as container:
        return sum(frame.samples for frame in container.decode(audio=0))


def files_by_init(view: RecordingView, track: TrackView) -> list[bytes]:
    """For each init segment in turn: it and the media segments that need it, as one playable file."""
    found: list[bytes] = []
    for init_path, segments in itertools.groupby(track.segments, key=lambda item: item.init_path):
        paths = [view.path / init_path, *(view.path / segment.path for segment in segments)]
        found.append(b"".join(path.read_bytes() for path in paths))
    return found
