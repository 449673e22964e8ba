"""Real video of each codec for the tests, made with PyAV, and PyAV's decoder as the judge."""

import subprocess
import sys
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import cast

import av
import numpy as np
from av.video.codeccontext import VideoCodecContext

FRAMES = 12


def _pictures(width: int, height: int, pixel_format: str) -> list[av.VideoFrame]:
    noise = np.random.default_rng(1)
    base = noise.integers(0, 256, (height, width, 3), dtype=np.uint8)
    pictures = []
    for index in range(FRAMES):
        picture = av.VideoFrame.from_ndarray(np.roll(base, 3 * index, axis=1), format="rgb24")
        pictures.append(picture.reformat(format=pixel_format))
    return pictures


@cache
def encode(
    codec_name: str,
    width: int,
    height: int,
    options: tuple[tuple[str, str], ...],
    pixel_format: str = "yuv420p",
) -> tuple[bytes, ...]:
    """Packets of `FRAMES` pictures, a key frame first and in the middle, nothing reordered."""
    context = cast(VideoCodecContext, av.CodecContext.create(codec_name, "w"))
    context.width, context.height, context.pix_fmt = width, height, pixel_format
    context.time_base = Fraction(1, 25)
    context.gop_size = FRAMES // 2
    context.options = dict(options)
    packets = []
    for index, picture in enumerate(_pictures(width, height, pixel_format)):
        picture.pts = index
        picture.time_base = Fraction(1, 25)
        packets.extend(context.encode(picture))
    packets.extend(context.encode(None))
    return tuple(bytes(packet) for packet in packets)


def encode_vp8(width: int = 320, height: int = 240) -> tuple[bytes, ...]:
    """VP8 frames of several packets each."""
    return encode("libvpx", width, height, (("deadline", "good"), ("cpu-used", "5"), ("lag-in-frames", "0")))


def encode_h264(width: int = 318, height: int = 238, slices: int = 1) -> tuple[bytes, ...]:
    """H.264 access units in Annex B, parameter sets in band, of a size that needs cropping."""
    options = (("preset", "ultrafast"), ("tune", "zerolatency"), ("slices", str(slices)))
    return encode("libx264", width, height, options)


def encode_vp9(width: int = 320, height: int = 240) -> tuple[bytes, ...]:
    """VP9 frames, profile 0."""
    return encode("libvpx-vp9", width, height, (("deadline", "realtime"), ("cpu-used", "8"), ("lag-in-frames", "0")))


@cache
def encode_av1(width: int = 320, height: int = 240) -> tuple[bytes, ...]:
    """AV1 temporal units in low-overhead format, temporal delimiters and sequence headers in band.

    In a process of its own: SVT-AV1 gives the calling process of root a real-time priority, which
    would keep the tests' other processes from running.
    """
    program = (
        "import sys; from tests.media.rtp.encodings import encode;"
        f"units = encode('libsvtav1', {width}, {height}, (('preset', '10'), ('svtav1-params', 'pred-struct=1:lp=1')));"
        "sys.stdout.buffer.write(b''.join(len(unit).to_bytes(4, 'big') + unit for unit in units))"
    )
    root = Path(__file__).parents[3]
    output = subprocess.run([sys.executable, "-c", program], cwd=root, check=True, capture_output=True).stdout
    units = []
    while output:
        size = int.from_bytes(output[:4], "big")
        units.append(output[4 : 4 + size])
        output = output[4 + size :]
    return tuple(units)


def encode_h265(width: int = 318, height: int = 238) -> tuple[bytes, ...]:
    """H.265 access units in Annex B, parameter sets in band, of a size that needs a conformance window."""
    parameters = "log-level=none:pools=none:frame-threads=1"
    return encode(
        "libx265", width, height, (("preset", "ultrafast"), ("tune", "zerolatency"), ("x265-params", parameters))
    )


def decode(codec_name: str, packets: list[bytes]) -> list[bytes]:
    """The pictures, as bytes of their planes."""
    context = cast(VideoCodecContext, av.CodecContext.create(codec_name, "r"))
    pictures = []
    for packet in packets:
        pictures.extend(context.decode(av.Packet(packet)))
    pictures.extend(context.decode(None))
    return [picture.to_ndarray().tobytes() for picture in pictures]
