"""Recorded init segments and access units as others get them."""

import pytest

from media.bitstream.nal import with_lengths
from media.frames import Codec
from media.process.published import (
    published_codec_string,
    published_init,
    vp9_pixel_format,
    without_parameter_sets,
)
from media.record.codec_config import codec_config
from media.record.fmp4 import box, init_segment
from tests.media.record.encoded_media import video

SPS, PPS, IDR = b"\x67\x42\xc0\x1f", b"\x68\xce", b"\x65\x88\x00\x10"
HEVC_SETS, HEVC_IDR = (b"\x40\x01\x0c", b"\x42\x01\x01", b"\x44\x01\xc0"), b"\x26\x01\xaf"


def test_parameter_sets_are_taken_out_and_nothing_else() -> None:
    assert without_parameter_sets(Codec.H264, with_lengths([SPS, PPS, IDR])) == with_lengths([IDR])
    assert without_parameter_sets(Codec.H265, with_lengths([*HEVC_SETS, HEVC_IDR])) == with_lengths([HEVC_IDR])


@pytest.mark.parametrize("codec", [Codec.H264, Codec.H265])
def test_a_length_that_overruns_is_refused(codec: Codec) -> None:
    with pytest.raises(ValueError, match="longer"):
        without_parameter_sets(codec, b"\x00\x00\x00\x09" + IDR)


def test_a_published_init_segment_has_no_notes_and_says_avc1_unless_sets_stay_in_band() -> None:
    init = box(b"ftyp", b"iso6") + box(b"moov", b"avc3....avcC\x01\x42\xc0\x1f") + box(b"free", b"roomhand note")
    published = published_init(Codec.H264, init, in_band=False)
    assert b"note" not in published
    assert b"avc1" in published
    assert b"avc3" in published_init(Codec.H264, init, in_band=True)


def test_hvc1_says_that_its_parameter_sets_are_all() -> None:
    config = codec_config(video(Codec.H265, frames=1)[0], None)
    init = init_segment(config, 90_000, b"a note")
    published = published_init(Codec.H265, init, in_band=False)
    assert (published.count(b"hvc1"), published.count(b"hev1")) == (1, 0)
    record = published[published.index(b"hvcC") + 4 :][: len(config.codec_private)]
    different = {at: record[at] ^ byte for at, byte in enumerate(config.codec_private) if record[at] != byte}
    assert (min(different), list(different.values())) == (23, [0x80] * 3)
    assert published_init(Codec.H265, init, in_band=True).count(b"hev1") == 1


@pytest.mark.parametrize(
    ("codec", "recorded", "out_of_band"),
    [
        (Codec.H264, "avc3.42E01F", "avc1.42E01F"),
        (Codec.H265, "hev1.1.6.L93.90", "hvc1.1.6.L93.90"),
        (Codec.AV1, "av01.0.01M.08", "av01.0.01M.08"),
        (Codec.OPUS, "opus", "opus"),
    ],
)
def test_the_codecs_parameter_names_the_sample_entry(codec: Codec, recorded: str, out_of_band: str) -> None:
    assert published_codec_string(codec, recorded, in_band=False) == out_of_band
    assert published_codec_string(codec, recorded, in_band=True) == recorded


@pytest.mark.parametrize(("told", "pixel_format"), [(0x82, "yuv420p"), (0xA2, "yuv420p10le"), (0x86, "yuv444p")])
def test_vp9_tells_its_pixel_format(told: int, pixel_format: str) -> None:
    assert vp9_pixel_format(box(b"vpcC", bytes(6), bytes([told]), bytes(5))) == pixel_format
