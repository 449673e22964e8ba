"""H.264 and H.265 from encoders: Annex B (ITU-T H.264 and H.265 annex B) as MP4 stores it, pure."""

import re

from media.bitstream.nal import with_lengths

_START_CODE = re.compile(rb"\x00*\x00\x00\x01")


def annexb_to_length_prefixed(data: bytes) -> bytes:
    """The NAL units of an Annex B access unit, each after its length in 4 bytes, as MP4 stores them."""
    return with_lengths(nal for nal in _START_CODE.split(data) if nal)


def avc_codec_string(init_segment: bytes) -> str:
    """The RFC 6381 `codecs` parameter of the H.264 track in an init segment. Raises ValueError without one."""
    at = init_segment.index(b"avcC")
    entry = "avc3" if b"avc3" in init_segment else "avc1"
    # avcC: version, then the three bytes of profile, constraints and level (14496-15 5.3.3.1.2).
    return f"{entry}.{init_segment[at + 5 : at + 8].hex().upper()}"
