"""Annex B as MP4 stores it, and what an encoder's header says of its stream."""

from media.process.avc import annexb_to_length_prefixed, avc_codec_string
from media.record.fmp4 import box

SPS, PPS, IDR = b"\x67\x42\xc0\x1f", b"\x68\xce", b"\x65\x88\x00\x10"


def lengths(*nals: bytes) -> bytes:
    return b"".join(len(nal).to_bytes(4, "big") + nal for nal in nals)


def test_start_codes_of_both_lengths_become_lengths() -> None:
    data = b"\x00\x00\x00\x01" + SPS + b"\x00\x00\x01" + PPS + b"\x00\x00\x00\x01" + IDR
    assert annexb_to_length_prefixed(data) == lengths(SPS, PPS, IDR)


def test_the_codecs_parameter_is_read_from_the_header() -> None:
    assert avc_codec_string(box(b"moov", b"avc1....avcC\x01\x42\xc0\x1f")) == "avc1.42C01F"
    assert avc_codec_string(box(b"moov", b"avc3....avcC\x01\x42\xc0\x1f")) == "avc3.42C01F"
