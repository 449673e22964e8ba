"""What is read of H.265: parameter sets, and which of them a slice names (ITU-T H.265 section 7.3, pure)."""

from dataclasses import dataclass

from media.bitstream.bits import BitReader, unescape
from media.errors import RtpError

NAL_VPS, NAL_SPS, NAL_PPS = 32, 33, 34
"""Types of the parameter sets (table 7-1)."""

_MOST_SPS, _MOST_PPS = 15, 63
"""Ids (sections 7.4.3.2.1 and 7.4.3.3.1)."""

_HEADER_BYTES = 2
_IDS_BYTES = 32
"""Ids come first: no more of a PPS or a slice has to be unescaped."""


@dataclass(frozen=True, slots=True)
class H265SequenceParameterSet:
    """The parts of an SPS that an init segment needs; the size is that of the cropped picture.

    `profile_tier_level` are the 12 bytes of general_profile_space to general_level_idc (section 7.3.3).
    """

    identifier: int
    vps_id: int
    max_sub_layers: int
    temporal_id_nesting: bool
    profile_tier_level: bytes
    chroma_format_idc: int
    bit_depth_luma: int
    bit_depth_chroma: int
    width: int
    height: int


def nal_type(nal: bytes) -> int:
    """The type in a NAL unit's header; -1 for one that is too short to have one."""
    return nal[0] >> 1 & 0x3F if len(nal) >= _HEADER_BYTES else -1


def parse_vps_id(nal: bytes) -> int:
    """vps_video_parameter_set_id of a video parameter set NAL unit."""
    return BitReader(nal[_HEADER_BYTES : _HEADER_BYTES + 1]).bits(4)


def parse_sps(nal: bytes) -> H265SequenceParameterSet:
    """Read an SPS NAL unit (section 7.3.2.2.1). Raises RtpError when it is cut short or absurd."""
    reader = BitReader(unescape(nal[_HEADER_BYTES:]))
    vps_id = reader.bits(4)
    sub_layers = reader.bits(3) + 1
    nesting = reader.flag()
    profile_tier_level = reader.bits(96).to_bytes(12)
    _skip_sub_layers(reader, sub_layers - 1)
    identifier = reader.identifier(_MOST_SPS)
    chroma_format = reader.unsigned()
    separate_planes = chroma_format == 3 and reader.flag()
    width, height = reader.unsigned(), reader.unsigned()
    if reader.flag():  # conformance_window_flag
        left, right, top, bottom = (reader.unsigned() for _ in range(4))
        # Table 6-1: the window is told in chroma samples.
        sampled = 0 if separate_planes else chroma_format
        width -= (left + right) * (2 if sampled in {1, 2} else 1)
        height -= (top + bottom) * (2 if sampled == 1 else 1)
    if width <= 0 or height <= 0:
        raise RtpError("an H.265 SPS crops the whole picture away; wait for a key frame")
    depths = 8 + reader.unsigned(), 8 + reader.unsigned()
    return H265SequenceParameterSet(
        identifier, vps_id, sub_layers, nesting, profile_tier_level, chroma_format, *depths, width, height
    )


def parse_pps_ids(nal: bytes) -> tuple[int, int]:
    """(pps_pic_parameter_set_id, pps_seq_parameter_set_id) of a picture parameter set NAL unit."""
    reader = BitReader(unescape(nal[_HEADER_BYTES:_IDS_BYTES]))
    return reader.identifier(_MOST_PPS), reader.identifier(_MOST_SPS)


def parse_slice_pps_id(nal: bytes) -> int:
    """The slice_pic_parameter_set_id that a slice of an IRAP picture names (section 7.3.6.1)."""
    reader = BitReader(unescape(nal[_HEADER_BYTES:_IDS_BYTES]))
    reader.bits(2)  # first_slice_segment_in_pic_flag, no_output_of_prior_pics_flag
    return reader.unsigned()


def _skip_sub_layers(reader: BitReader, count: int) -> None:
    """The rest of profile_tier_level() (section 7.3.3)."""
    present = [(reader.flag(), reader.flag()) for _ in range(count)]
    if count:
        reader.bits(2 * (8 - count))
    for profile, level in present:
        reader.bits(88 * profile + 8 * level)
