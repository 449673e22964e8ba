"""AV1 OBUs and the sequence header (AV1 Bitstream & Decoding Process Specification section 5, pure)."""

from collections.abc import Iterator
from dataclasses import dataclass

from media.bitstream.bits import BitReader, read_leb128
from media.errors import RtpError

OBU_SEQUENCE_HEADER = 1

_UNSPECIFIED = 2
_BT_709, _SRGB, _IDENTITY = 1, 13, 0
"""Colour values (section 6.4.2) that together mean 4:4:4 RGB."""


@dataclass(frozen=True, slots=True)
class Obu:
    """An OBU of a temporal unit: `data` is all of it, `payload` what follows its header and size."""

    kind: int
    data: bytes
    payload: bytes


@dataclass(frozen=True, slots=True)
class Av1SequenceHeader:
    """What a sequence header says of the stream. `width` and `height` are the largest that a frame may have.

    Level and tier are those of operating point 0, colour values those of ISO/IEC 23091-4 (2: unspecified).
    """

    profile: int
    level_idx: int
    tier: int
    width: int
    height: int
    bit_depth: int
    monochrome: bool
    subsampling_x: int
    subsampling_y: int
    chroma_sample_position: int
    color_primaries: int
    transfer_characteristics: int
    matrix_coefficients: int
    full_range: bool


def read_obus(data: bytes) -> Iterator[Obu]:
    """The OBUs of a temporal unit in low-overhead form (section 5.2).

    Raises RtpError for one that has no size or is longer than what is there.
    """
    at = 0
    while at < len(data):
        header = data[at]
        size_at = at + 2 if header & 0x04 else at + 1
        if header & 0x80 or not header & 0x02:
            raise RtpError("this is no AV1 OBU with a size; wait for a key frame")
        size, payload_at = read_leb128(data, size_at, len(data))
        end = payload_at + size
        if end > len(data):
            raise RtpError("an AV1 OBU is longer than its temporal unit; wait for a key frame")
        yield Obu(header >> 3 & 0x0F, data[at:end], data[payload_at:end])
        at = end


def parse_sequence_header(payload: bytes) -> Av1SequenceHeader:
    """Read the payload of a sequence header OBU (section 5.5). Raises RtpError when it is cut short."""
    reader = BitReader(payload)
    profile = reader.bits(3)
    reader.bits(1)  # still_picture
    reduced = reader.flag()
    level_idx, tier = (reader.bits(5), 0) if reduced else _read_operating_points(reader)
    width_bits, height_bits = reader.bits(4) + 1, reader.bits(4) + 1
    width, height = reader.bits(width_bits) + 1, reader.bits(height_bits) + 1
    if not reduced and reader.flag():  # frame_id_numbers_present_flag
        reader.bits(7)
    reader.bits(3)  # use_128x128_superblock, enable_filter_intra, enable_intra_edge_filter
    if not reduced:
        _skip_tools(reader)
    reader.bits(3)  # enable_superres, enable_cdef, enable_restoration
    return _with_colors(reader, profile, level_idx, tier, (width, height))


def _read_operating_points(reader: BitReader) -> tuple[int, int]:
    """Level and tier of the first operating point."""
    delay_bits = 0
    decoder_model = False
    if reader.flag():  # timing_info_present_flag
        reader.bits(64)
        if reader.flag():
            reader.unsigned()
        decoder_model = reader.flag()
        if decoder_model:
            delay_bits = reader.bits(5) + 1
            reader.bits(42)
    display_delay = reader.flag()
    found: list[tuple[int, int]] = []
    for _ in range(reader.bits(5) + 1):
        reader.bits(12)
        level_idx = reader.bits(5)
        found.append((level_idx, reader.bits(1) if level_idx > 7 else 0))
        if decoder_model and reader.flag():
            reader.bits(2 * delay_bits + 1)
        if display_delay and reader.flag():
            reader.bits(4)
    return found[0]


def _skip_tools(reader: BitReader) -> None:
    reader.bits(4)  # enable_interintra_compound, _masked_compound, _warped_motion, _dual_filter
    order_hint = reader.flag()
    if order_hint:
        reader.bits(2)
    # seq_choose_screen_content_tools, else seq_force_screen_content_tools; then the same for integer motion vectors.
    if (reader.flag() or reader.flag()) and not reader.flag():
        reader.bits(1)
    if order_hint:
        reader.bits(3)


def _with_colors(
    reader: BitReader, profile: int, level_idx: int, tier: int, size: tuple[int, int]
) -> Av1SequenceHeader:
    """The header once color_config() (section 5.5.2) is read too."""
    bit_depth = 10 if reader.flag() else 8
    if profile == 2 and bit_depth == 10:
        bit_depth += 2 * reader.bits(1)
    monochrome = profile != 1 and reader.flag()
    colors = (_UNSPECIFIED,) * 3
    if reader.flag():
        colors = reader.bits(8), reader.bits(8), reader.bits(8)
    full_range, subsampling, position = True, (0, 0), 0
    if monochrome or colors != (_BT_709, _SRGB, _IDENTITY):
        full_range = reader.flag()
        subsampling = (1, 1) if monochrome else _read_subsampling(reader, profile, bit_depth)
        if subsampling == (1, 1) and not monochrome:
            position = reader.bits(2)
    return Av1SequenceHeader(
        profile, level_idx, tier, *size, bit_depth, monochrome, *subsampling, position, *colors, full_range
    )


def _read_subsampling(reader: BitReader, profile: int, bit_depth: int) -> tuple[int, int]:
    if profile < 2:
        return (1, 1) if profile == 0 else (0, 0)
    if bit_depth < 12:
        return 1, 0
    horizontal = reader.bits(1)
    return horizontal, reader.bits(1) if horizontal else 0
