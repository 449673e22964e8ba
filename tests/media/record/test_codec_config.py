"""What sync samples say about their streams."""

import contextlib
import io
from dataclasses import replace
from typing import Any, cast

import av
import numpy as np
import pytest

from media.bitstream.av1_obu import ObuType, read_obus, with_size
from media.bitstream.h264 import parse_sps
from media.bitstream.h265 import NAL_PPS, NAL_VPS, nal_type
from media.bitstream.nal import length_prefixed_units, with_lengths
from media.errors import RtpError
from media.frames import Codec, EncodedFrame
from media.process.avc import annexb_to_length_prefixed
from media.record.codec_config import codec_config
from media.record.fmp4 import VISUAL_ENTRIES
from tests.media.record.encoded_media import ENCODERS, OPTIONS, opus, stored, video


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
    hevc = EncodedFrame(Codec.H265, b"\0\0\0\3\x26\1\x88", 0, 0.0, sync_sample=True)
    with pytest.raises(ValueError, match="no parameter sets"):
        codec_config(hevc, first)
    av1 = EncodedFrame(Codec.AV1, b"\x32\1\0", 0, 0.0, sync_sample=True)
    known = codec_config(video(Codec.AV1, frames=1)[0], None)
    assert codec_config(av1, known) == known
    with pytest.raises(ValueError, match="no sequence header"):
        codec_config(av1, None)


def test_vp8_size() -> None:
    config = codec_config(video(Codec.VP8, frames=1, width=162, height=94)[0], None)
    assert (config.width, config.height) == (162, 94)
    with pytest.raises(ValueError, match="key frame"):
        codec_config(EncodedFrame(Codec.VP8, bytes(20), 0, 0.0, sync_sample=True), None)


@pytest.mark.parametrize(
    ("codec", "pix_fmt", "codec_string"),
    [
        (Codec.H265, "yuv420p", "hev1.1.6.L63.90"),
        (Codec.H265, "yuv420p10le", "hev1.2.4.L63.90"),
        (Codec.H265, "yuv444p", "hev1.4.10.L63.9E.8"),
        (Codec.VP9, "yuv420p", "vp09.00.30.08.01.02.02.02.00"),
        (Codec.VP9, "yuv444p", "vp09.01.30.08.03.02.02.02.00"),
        (Codec.VP9, "yuv422p", "vp09.01.30.08.02.02.02.02.00"),
        (Codec.AV1, "yuv420p", "av01.0.01M.08.0.110.02.02.02.0"),
        (Codec.AV1, "yuv420p10le", "av01.0.01M.10.0.110.02.02.02.0"),
    ],
)
def test_configurations_are_those_that_ffmpeg_writes(codec: Codec, pix_fmt: str, codec_string: str) -> None:
    frame, theirs = muxed_by_ffmpeg(codec, pix_fmt, 642, 362)
    config = codec_config(frame, None)
    assert (config.codec_string, config.width, config.height) == (codec_string, 642, 362)
    ours = config.codec_private
    if codec is Codec.H265:
        # FFmpeg has an array more, for the encoder's message.
        assert (ours[:22], ours[22], theirs[22]) == (theirs[:22], 3, 4)
        assert theirs[23:].startswith(ours[23:])
    elif codec is Codec.VP9:
        # The level assumes 60 frames a second, FFmpeg's the encoder's 30.
        assert ours[:5] + ours[6:] == theirs[:5] + theirs[6:]
        assert (ours[5], theirs[5]) == (30, 21)
    else:
        # The encoder tells FFmpeg another sequence header than it then writes.
        assert ours[:4] == theirs[:4]
        assert ours[4:] == next(with_size(obu) for obu in read_obus(frame.data) if obu.type == ObuType.SEQUENCE_HEADER)


def muxed_by_ffmpeg(codec: Codec, pix_fmt: str, width: int, height: int) -> tuple[EncodedFrame, bytes]:
    """A key frame, and the configuration box that FFmpeg writes for its stream."""
    file = io.BytesIO()
    picture = av.VideoFrame.from_ndarray(np.full((height, width, 3), 90, dtype=np.uint8), format="rgb24")
    picture = picture.reformat(format=pix_fmt)
    with av.open(file, "w", format="mp4") as container:
        stream = cast("Any", container.add_stream(ENCODERS[codec], rate=30))
        stream.width, stream.height, stream.pix_fmt = width, height, pix_fmt
        stream.options = {**OPTIONS[codec], "x265-params": "repeat-headers=1:log-level=none:pools=1"}
        if codec is not Codec.H265:
            del stream.options["x265-params"]
        picture.pts = 0
        packets = stream.encode(picture) + stream.encode(None)
        frame = EncodedFrame(codec, stored(codec, bytes(packets[0])), 0, 0.0, sync_sample=True)
        container.mux(packets)
    data, kind = file.getvalue(), VISUAL_ENTRIES[codec][1]
    at = data.index(kind)
    return frame, data[at + 4 : at - 4 + int.from_bytes(data[at - 4 : at])]


def test_h265_decodes_with_the_parameter_sets_of_the_configuration_alone() -> None:
    frame = video(Codec.H265, frames=1, width=322, height=182)[0]
    decoder = cast("Any", av.CodecContext.create("hevc", "r"))
    decoder.extradata = codec_config(frame, None).codec_private
    slices = [unit for unit in length_prefixed_units(frame.data) if nal_type(unit) < NAL_VPS]
    pictures = decoder.decode(av.Packet(with_lengths(slices))) + decoder.decode(None)
    assert [(picture.width, picture.height) for picture in pictures] == [(322, 182)]


def test_the_size_of_a_superframe_is_what_the_receiver_says() -> None:
    frame = replace(video(Codec.VP9, frames=1)[0], width=640, height=360)
    assert (codec_config(frame, None).width, codec_config(frame, None).height) == (640, 360)


@pytest.mark.parametrize(
    ("size", "level"), [((160, 90), 11), ((640, 360), 30), ((1280, 720), 40), ((1920, 1080), 41), ((8192, 8192), 62)]
)
def test_a_vp9_level_allows_60_frames_a_second(size: tuple[int, int], level: int) -> None:
    frame = replace(video(Codec.VP9, frames=1)[0], width=size[0], height=size[1])
    assert codec_config(frame, None).codec_string.split(".")[2] == str(level)


@pytest.mark.parametrize("codec", [Codec.H265, Codec.VP9, Codec.AV1])
def test_a_new_size_is_a_new_configuration_and_the_same_one_is_not(codec: Codec) -> None:
    first, again = (f for f in video(codec, frames=31) if f.sync_sample)
    other = video(codec, frames=1, width=320, height=180)[0]
    config = codec_config(first, None)
    assert codec_config(again, config) == config
    assert codec_config(other, config) != config


@pytest.mark.parametrize("codec", [Codec.H265, Codec.VP9, Codec.AV1])
def test_a_sync_sample_that_is_cut_off_or_noise_is_an_error(codec: Codec) -> None:
    frame = video(codec, frames=1)[0]
    config = codec_config(frame, None)
    for length in range(min(len(frame.data), 100)):
        with contextlib.suppress(RtpError, ValueError):
            assert codec_config(replace(frame, data=frame.data[:length], width=0), None) == config
    with pytest.raises((RtpError, ValueError)):
        codec_config(replace(frame, data=b"\xff" * 40), None)


@pytest.mark.parametrize("codec", [Codec.H264, Codec.H265])
def test_parameter_sets_that_no_configuration_record_holds_are_an_error(codec: Codec) -> None:
    frame = video(codec, frames=1)[0]
    units = [bytes(unit) for unit in length_prefixed_units(frame.data)]
    is_pps = [nal_type(unit) == NAL_PPS if codec is Codec.H265 else unit[0] & 0x1F == 8 for unit in units]
    long = [unit + bytes(70_000) if pps else unit for unit, pps in zip(units, is_pps, strict=True)]
    with pytest.raises(ValueError, match="does not fit"):
        codec_config(replace(frame, data=with_lengths(long)), None)


@pytest.mark.parametrize("size", [(65_536, 90), (160, 65_536)])
def test_a_size_that_no_sample_entry_holds_is_an_error(size: tuple[int, int]) -> None:
    frame = replace(video(Codec.VP9, frames=1)[0], width=size[0], height=size[1])
    with pytest.raises(ValueError, match="no file holds"):
        codec_config(frame, None)


@pytest.mark.parametrize("side", [6, 8])
def test_a_picture_without_a_side_is_an_error(side: int) -> None:
    frame = video(Codec.VP8, frames=1)[0]
    data = frame.data[:side] + bytes(2) + frame.data[side + 2 :]
    with pytest.raises(ValueError, match="no file holds"):
        codec_config(replace(frame, data=data), None)


def test_opus_has_one_configuration() -> None:
    config = codec_config(opus(packets=1)[0], None)
    assert config.codec_private == bytes.fromhex("00 02 0000 0000bb80 0000 00")


@pytest.mark.parametrize("data", [b"\0\0\0\5abc", b"\0\0", b"\xff\xff\xff\xffabcd"])
def test_overlong_units_are_an_error(data: bytes) -> None:
    with pytest.raises(ValueError, match="NAL unit"):
        list(length_prefixed_units(data))


def test_a_cut_off_sps_is_an_error() -> None:
    sps = next(u for u in length_prefixed_units(video(Codec.H264, frames=1)[0].data) if u[0] & 0x1F == 7)
    for length in range(1, 7):
        with pytest.raises(RtpError, match="cut short"):
            parse_sps(sps[:length])
