"""H.264 byte forms."""

import pytest

from media.process.avc import annexb_to_length_prefixed, avc_codec_string, published_init, without_parameter_sets
from media.record.fmp4 import box

SPS, PPS, IDR = b"\x67\x42\xc0\x1f", b"\x68\xce", b"\x65\x88\x00\x10"


def lengths(*nals: bytes) -> bytes:
    return b"".join(len(nal).to_bytes(4, "big") + nal for nal in nals)


def test_start_codes_of_both_lengths_become_lengths() -> None:
    data = b"\x00\x00\x00\x01" + SPS + b"\x00\x00\x01" + PPS + b"\x00\x00\x00\x01" + IDR
    assert annexb_to_length_prefixed(data) == lengths(SPS, PPS, IDR)


def test_parameter_sets_are_taken_out_and_nothing_else() -> None:
    assert without_parameter_sets(lengths(SPS, PPS, IDR)) == lengths(IDR)


def test_a_length_that_overruns_is_refused() -> None:
    with pytest.raises(ValueError, match="longer"):
        without_parameter_sets(b"\x00\x00\x00\x09" + IDR)


def test_a_published_init_segment_has_no_notes_and_says_avc1_unless_sets_stay_in_band() -> None:
    init = box(b"ftyp", b"iso6") + box(b"moov", b"avc3....avcC\x01\x42\xc0\x1f") + box(b"free", b"roomhand note")
    published = published_init(init, in_band=False)
    assert b"note" not in published
    assert avc_codec_string(published) == "avc1.42C01F"
    assert avc_codec_string(published_init(init, in_band=True)) == "avc3.42C01F"
