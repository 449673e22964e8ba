"""What the receiver reads of H.265 syntax: parameter set ids and the picture size (ITU-T H.265 section 7.3)."""

from dataclasses import dataclass

from media.bitstream.bits import BitReader, unescape
from media.errors import RtpError

_NAL_HEADER_BYTES = 2
_MAX_SUB_LAYERS = 8
# Ids come first: no more of a PPS or a slice has to be unescaped.
_IDS_BYTES = 32
_PROFILE_BITS = 88
_LEVEL_BITS = 8


@dataclass(frozen=True, slots=True)
class SequenceParameterSet:
    """The parts of an SPS that a recorder needs; the size is that of the conformance window."""

    identifier: int
    vps_id: int
    width: int
    height: int


def parse_vps_id(nal: bytes) -> int:
    """vps_video_parameter_set_id of a video parameter set NAL unit."""
    return BitReader(nal[_NAL_HEADER_BYTES : _NAL_HEADER_BYTES + 1]).bits(4)


def parse_sps(nal: bytes) -> SequenceParameterSet:
    """Read a sequence parameter set NAL unit. Raises `RtpError` when it is cut short or absurd."""
    reader = BitReader(unescape(nal[_NAL_HEADER_BYTES:]))
    vps_id = reader.bits(4)
    max_sub_layers_minus1 = reader.bits(3)
    reader.bits(1)  # sps_temporal_id_nesting_flag
    _skip_profile_tier_level(reader, max_sub_layers_minus1)
    identifier = reader.unsigned()
    chroma_format = reader.unsigned()
    separate_planes = chroma_format == 3 and reader.flag()
    width, height = reader.unsigned(), reader.unsigned()
    if reader.flag():
        left, right, top, bottom = (reader.unsigned() for _ in range(4))
        # Table 6-1: subsampled chroma makes the window's unit two samples; planes apart are as monochrome.
        sampled = 0 if separate_planes else chroma_format
        width -= (left + right) * (2 if sampled in {1, 2} else 1)
        height -= (top + bottom) * (2 if sampled == 1 else 1)
    if width <= 0 or height <= 0:
        raise RtpError("an H.265 SPS crops the whole picture away; wait for a key frame")
    return SequenceParameterSet(identifier, vps_id, width, height)


def parse_pps_ids(nal: bytes) -> tuple[int, int]:
    """(pps_pic_parameter_set_id, pps_seq_parameter_set_id) of a picture parameter set NAL unit."""
    reader = BitReader(unescape(nal[_NAL_HEADER_BYTES:_IDS_BYTES]))
    return reader.unsigned(), reader.unsigned()


def parse_slice_pps_id(nal: bytes) -> int:
    """The slice_pic_parameter_set_id that a slice of an IRAP picture names (section 7.3.6.1)."""
    reader = BitReader(unescape(nal[_NAL_HEADER_BYTES:_IDS_BYTES]))
    reader.bits(2)  # first_slice_segment_in_pic_flag, no_output_of_prior_pics_flag
    return reader.unsigned()


def _skip_profile_tier_level(reader: BitReader, max_sub_layers_minus1: int) -> None:
    """Section 7.3.3, with the general profile present."""
    reader.bits(_PROFILE_BITS + _LEVEL_BITS)
    present = [(reader.flag(), reader.flag()) for _ in range(max_sub_layers_minus1)]
    if present:
        reader.bits(2 * (_MAX_SUB_LAYERS - max_sub_layers_minus1))
    for has_profile, has_level in present:
        reader.bits((_PROFILE_BITS if has_profile else 0) + (_LEVEL_BITS if has_level else 0))
