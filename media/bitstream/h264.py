"""What receiver and recorder read of H.264 syntax: parameter set ids, picture size and format (ITU-T H.264 7.3)."""

from dataclasses import dataclass

from media.bitstream.bits import BitReader, unescape
from media.errors import RtpError

_MOST_SPS, _MOST_PPS = 31, 255
"""Ids (sections 7.4.2.1.1 and 7.4.2.2)."""

# Profiles whose SPS carries the chroma format and scaling matrices (section 7.3.2.1.1).
_HIGH_PROFILES = frozenset({100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135})


@dataclass(frozen=True, slots=True)
class SequenceParameterSet:
    """The parts of an SPS that a recorder needs; the size is that of the cropped picture."""

    identifier: int
    width: int
    height: int
    chroma_format_idc: int = 1
    bit_depth_luma: int = 8
    bit_depth_chroma: int = 8


@dataclass(frozen=True, slots=True)
class _Format:
    """How samples are coded; the defaults are those of profiles that do not say (section 7.4.2.1.1)."""

    chroma_format_idc: int = 1
    separate_planes: bool = False
    bit_depth_luma: int = 8
    bit_depth_chroma: int = 8


def parse_sps(nal: bytes) -> SequenceParameterSet:
    """Read a sequence parameter set NAL unit. Raises `RtpError` when it is cut short or absurd."""
    reader = BitReader(unescape(nal[1:]))
    profile = reader.bits(8)
    reader.bits(16)  # constraint flags, level
    identifier = reader.identifier(_MOST_SPS)
    coded = _read_format(reader) if profile in _HIGH_PROFILES else _Format()
    reader.unsigned()  # log2_max_frame_num_minus4
    _skip_picture_order(reader)
    reader.unsigned()  # max_num_ref_frames
    reader.bits(1)  # gaps_in_frame_num_value_allowed_flag
    width = 16 * (reader.unsigned() + 1)
    map_units = reader.unsigned() + 1
    frame_mbs_only = reader.bits(1)
    height = 16 * (2 - frame_mbs_only) * map_units
    if not frame_mbs_only:
        reader.bits(1)  # mb_adaptive_frame_field_flag
    reader.bits(1)  # direct_8x8_inference_flag
    if reader.bits(1):
        left, right, top, bottom = (reader.unsigned() for _ in range(4))
        # Table 6-1: subsampled chroma makes the crop unit two samples; planes apart are as monochrome.
        sampled = 0 if coded.separate_planes else coded.chroma_format_idc
        width -= (left + right) * (2 if sampled in {1, 2} else 1)
        height -= (top + bottom) * (2 if sampled == 1 else 1) * (2 - frame_mbs_only)
    if width <= 0 or height <= 0:
        raise RtpError("an H.264 SPS crops the whole picture away; wait for a key frame")
    return SequenceParameterSet(
        identifier, width, height, coded.chroma_format_idc, coded.bit_depth_luma, coded.bit_depth_chroma
    )


def parse_pps_ids(nal: bytes) -> tuple[int, int]:
    """(pic_parameter_set_id, seq_parameter_set_id) of a picture parameter set NAL unit."""
    reader = BitReader(unescape(nal[1:32]))
    return reader.identifier(_MOST_PPS), reader.identifier(_MOST_SPS)


def parse_slice_pps_id(nal: bytes) -> int:
    """The pic_parameter_set_id that a slice names (section 7.3.3)."""
    reader = BitReader(unescape(nal[1:32]))
    reader.unsigned()  # first_mb_in_slice
    reader.unsigned()  # slice_type
    return reader.unsigned()


def _read_format(reader: BitReader) -> _Format:
    """Chroma format and bit depths; skips scaling lists."""
    chroma_format = reader.unsigned()
    separate_planes = chroma_format == 3 and reader.flag()
    coded = _Format(chroma_format, separate_planes, 8 + reader.unsigned(), 8 + reader.unsigned())
    reader.bits(1)  # qpprime_y_zero_transform_bypass_flag
    if reader.bits(1):
        for index in range(12 if chroma_format == 3 else 8):
            if reader.bits(1):
                _skip_scaling_list(reader, 16 if index < 6 else 64)
    return coded


def _skip_scaling_list(reader: BitReader, size: int) -> None:
    """Section 7.3.2.1.1.1: a delta of -last ends the list early."""
    last = 8
    for _ in range(size):
        last = (last + reader.signed()) % 256
        if not last:
            return


def _skip_picture_order(reader: BitReader) -> None:
    order_type = reader.unsigned()
    if order_type == 0:
        reader.unsigned()  # log2_max_pic_order_cnt_lsb_minus4
    elif order_type == 1:
        reader.bits(1)  # delta_pic_order_always_zero_flag
        reader.signed()  # offset_for_non_ref_pic
        reader.signed()  # offset_for_top_to_bottom_field
        for _ in range(reader.unsigned()):
            reader.signed()
