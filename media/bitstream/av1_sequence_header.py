"""AV1 sequence headers: what frame headers rely on, and what an init segment tells (AV1 specification section 5.5)."""

from dataclasses import dataclass

from media.bitstream.bits import BitReader

_UNSPECIFIED = 2
# Colour values (section 6.4.2) that together mean 4:4:4 RGB.
_BT_709, _SRGB, _IDENTITY = 1, 13, 0

# "As each frame says": SELECT_SCREEN_CONTENT_TOOLS and SELECT_INTEGER_MV.
SELECTED_BY_FRAME = 2


@dataclass(frozen=True, slots=True)
class SequenceHeader:
    """A sequence header up to its tools. `max_width` and `max_height` are the largest that a frame may have.

    Level and tier are those of operating point 0. `frame_id_bits` and `order_hint_bits` are 0 where frames carry none.
    """

    profile: int
    level_idx: int
    tier: int
    reduced_still_picture: bool
    decoder_model_info: bool
    width_bits: int
    height_bits: int
    max_width: int
    max_height: int
    frame_id_bits: int
    delta_frame_id_bits: int
    force_screen_content_tools: int
    force_integer_mv: int
    order_hint_bits: int


@dataclass(frozen=True, slots=True)
class ColorConfig:
    """How samples are coded (section 5.5.2); colour values are those of ISO/IEC 23091-4 (2: unspecified)."""

    bit_depth: int
    monochrome: bool
    subsampling_x: int
    subsampling_y: int
    chroma_sample_position: int
    color_primaries: int
    transfer_characteristics: int
    matrix_coefficients: int
    full_range: bool


def parse_sequence_header(payload: bytes) -> SequenceHeader:
    """Read a sequence header OBU's payload as far as its tools. Raises `RtpError` when it is cut short."""
    return _read_header(BitReader(payload))


def parse_color_config(payload: bytes) -> ColorConfig:
    """Read the colours in a sequence header OBU's payload. Raises `RtpError` when it is cut short."""
    reader = BitReader(payload)
    profile = _read_header(reader).profile
    reader.bits(3)  # enable_superres, enable_cdef, enable_restoration
    return _read_color_config(reader, profile)


def _read_header(reader: BitReader) -> SequenceHeader:
    profile = reader.bits(3)
    reader.bits(1)  # still_picture
    reduced = reader.flag()
    level_idx, tier, decoder_model_info = (reader.bits(5), 0, False) if reduced else _read_operating_points(reader)
    width_bits, height_bits = reader.bits(4) + 1, reader.bits(4) + 1
    max_width, max_height = reader.bits(width_bits) + 1, reader.bits(height_bits) + 1
    delta_frame_id_bits = frame_id_bits = 0
    if not reduced and reader.flag():
        delta_frame_id_bits = reader.bits(4) + 2
        frame_id_bits = reader.bits(3) + delta_frame_id_bits + 1
    reader.bits(3)  # 128x128 superblocks, filter_intra, intra_edge_filter
    tools, integer_mv, order_hint_bits = (
        (SELECTED_BY_FRAME, SELECTED_BY_FRAME, 0) if reduced else _read_inter_tools(reader)
    )
    return SequenceHeader(
        profile=profile,
        level_idx=level_idx,
        tier=tier,
        reduced_still_picture=reduced,
        decoder_model_info=decoder_model_info,
        width_bits=width_bits,
        height_bits=height_bits,
        max_width=max_width,
        max_height=max_height,
        frame_id_bits=frame_id_bits,
        delta_frame_id_bits=delta_frame_id_bits,
        force_screen_content_tools=tools,
        force_integer_mv=integer_mv,
        order_hint_bits=order_hint_bits,
    )


def _read_operating_points(reader: BitReader) -> tuple[int, int, bool]:
    """(level, tier) of the first operating point, and decoder_model_info_present_flag."""
    delay_bits = 0
    decoder_model_info = False
    if reader.flag():
        reader.bits(64)  # num_units_in_display_tick, time_scale
        if reader.flag():
            reader.unsigned()  # num_ticks_per_picture_minus_1
        decoder_model_info = reader.flag()
        if decoder_model_info:
            delay_bits = reader.bits(5) + 1
            reader.bits(32 + 5 + 5)  # num_units_in_decoding_tick and two lengths
    initial_display_delay = reader.flag()
    found: list[tuple[int, int]] = []
    for _ in range(reader.bits(5) + 1):
        reader.bits(12)  # operating_point_idc
        level_idx = reader.bits(5)
        found.append((level_idx, reader.bits(1) if level_idx > 7 else 0))
        if decoder_model_info and reader.flag():
            reader.bits(2 * delay_bits + 1)
        if initial_display_delay and reader.flag():
            reader.bits(4)
    return *found[0], decoder_model_info


def _read_inter_tools(reader: BitReader) -> tuple[int, int, int]:
    """(seq_force_screen_content_tools, seq_force_integer_mv, OrderHintBits)."""
    reader.bits(4)  # interintra, masked compound, warped motion, dual filter
    enable_order_hint = reader.flag()
    if enable_order_hint:
        reader.bits(2)  # joint compound, reference frame motion vectors
    tools = SELECTED_BY_FRAME if reader.flag() else reader.bits(1)
    integer_mv = SELECTED_BY_FRAME
    if tools and not reader.flag():
        integer_mv = reader.bits(1)
    return tools, integer_mv, reader.bits(3) + 1 if enable_order_hint else 0


def _read_color_config(reader: BitReader, profile: int) -> ColorConfig:
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
    return ColorConfig(bit_depth, monochrome, *subsampling, position, *colors, full_range)


def _read_subsampling(reader: BitReader, profile: int, bit_depth: int) -> tuple[int, int]:
    if profile < 2:
        return (1, 1) if profile == 0 else (0, 0)
    if bit_depth < 12:
        return 1, 0
    horizontal = reader.bits(1)
    return horizontal, reader.bits(1) if horizontal else 0
