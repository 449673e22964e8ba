"""What sync samples say about their streams."""

from typing import Any, cast

import av
import numpy as np
import pytest

from media.errors import UnsupportedCodec
from media.frames import Codec, EncodedFrame
from media.process.avc import annexb_to_length_prefixed
from media.record.codec_config import codec_config, length_prefixed_units
from media.record.h264_sps import parse_sps
from tests.media.record.encoded_media import opus, video


def x264(width: int, height: int, pix_fmt: str, options: dict[str, str]) -> EncodedFrame:
    """One H.264 key frame in a form that WebRTC would not choose but others might."""
    context = cast("Any", av.CodecContext.create("libx264", "w"))
    context.width, context.height, context.pix_fmt = width, height, pix_fmt
    context.time_base = 1
    context.options = {"preset": "ultrafast", "tune": "zerolatency", **options}
    frame = av.VideoFrame.from_ndarray(np.full((height, width, 3), 90, dtype=np.uint8), format="rgb24")
    frame = frame.reformat(format=pix_fmt)
    frame.pts = 0
    packet = (context.encode(frame) + context.encode(None))[0]
    return EncodedFrame(Codec.H264, annexb_to_length_prefixed(bytes(packet)), 0, 0.0, sync_sample=True)


@pytest.mark.parametrize(
    ("width", "height", "pix_fmt", "options"),
    [
        (320, 180, "yuv420p", {"profile": "baseline"}),
        (1920, 1080, "yuv420p", {"profile": "main"}),
        (642, 362, "yuv420p", {"profile": "high", "x264-params": "8x8dct=1:cqm=jvt"}),
        (636, 356, "yuv422p", {}),
        (638, 358, "yuv444p", {}),
        (640, 360, "yuv420p10le", {}),
        (720, 576, "yuv420p", {"x264-params": "interlaced=1"}),
    ],
)
def test_h264_size_and_configuration_are_those_of_the_stream(
    width: int, height: int, pix_fmt: str, options: dict[str, str]
) -> None:
    frame = x264(width, height, pix_fmt, options)
    config = codec_config(frame, None)
    assert (config.width, config.height) == (width, height)
    sps = next(unit for unit in length_prefixed_units(frame.data) if unit[0] & 0x1F == 7)
    parameters = parse_sps(sps)
    assert parameters.chroma_format_idc == {"yuv422p": 2, "yuv444p": 3}.get(pix_fmt, 1)
    assert parameters.bit_depth_luma == (10 if pix_fmt.endswith("10le") else 8)
    assert config.codec_string == f"avc3.{sps[1]:02X}{sps[2]:02X}{sps[3]:02X}"
    decoder = cast("Any", av.CodecContext.create("h264", "r"))
    decoder.extradata = config.codec_private
    slices = [unit for unit in length_prefixed_units(frame.data) if unit[0] & 0x1F in {1, 5}]
    # With the parameter sets taken from avcC alone.
    packet = av.Packet(b"".join(len(unit).to_bytes(4) + unit for unit in slices))
    pictures = decoder.decode(packet) + decoder.decode(None)
    assert [(picture.width, picture.height) for picture in pictures] == [(width, height)]


def test_parameter_sets_that_come_only_once_stay_in_force() -> None:
    first = codec_config(video(Codec.H264, frames=1)[0], None)
    bare = EncodedFrame(Codec.H264, b"\0\0\0\2\x65\x88", 0, 0.0, sync_sample=True)
    assert codec_config(bare, first) == first
    with pytest.raises(ValueError, match="no parameter sets"):
        codec_config(bare, None)


def test_vp8_and_vp9_sizes() -> None:
    vp8, vp9 = (video(codec, frames=1, width=162, height=94)[0] for codec in (Codec.VP8, Codec.VP9))
    assert (codec_config(vp8, None).width, codec_config(vp8, None).height) == (162, 94)
    unsized = EncodedFrame(Codec.VP9, vp9.data, 0, 0.0, sync_sample=True)
    assert (codec_config(unsized, None).width, codec_config(unsized, None).height) == (162, 94)
    for codec in (Codec.VP8, Codec.VP9):
        with pytest.raises(ValueError, match="key frame"):
            codec_config(EncodedFrame(codec, bytes(20), 0, 0.0, sync_sample=True), None)


def test_opus_has_one_configuration() -> None:
    config = codec_config(opus(packets=1)[0], None)
    assert config.codec_private == bytes.fromhex("00 02 0000 0000bb80 0000 00")


def test_other_codecs_are_named_as_unsupported() -> None:
    with pytest.raises(UnsupportedCodec):
        codec_config(EncodedFrame(Codec.AV1, b"x", 0, 0.0, sync_sample=True), None)


@pytest.mark.parametrize("data", [b"\0\0\0\5abc", b"\0\0", b"\xff\xff\xff\xffabcd"])
def test_overlong_units_are_an_error(data: bytes) -> None:
    with pytest.raises(ValueError, match="NAL unit"):
        list(length_prefixed_units(data))


def test_a_cut_off_sps_is_an_error() -> None:
    sps = next(u for u in length_prefixed_units(video(Codec.H264, frames=1)[0].data) if u[0] & 0x1F == 7)
    for length in range(1, 7):
        with pytest.raises(ValueError, match="too early"):
            parse_sps(sps[:length])
