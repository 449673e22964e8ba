"""AV1 sequence headers as far as frame headers and sizes need them (AV1 specification section 5.5)."""

from dataclasses import dataclass

from media.bitstream.bits import BitReader

# "As each frame says": SELECT_SCREEN_CONTENT_TOOLS and SELECT_INTEGER_MV.
SELECTED_BY_FRAME = 2


@dataclass(frozen=True, slots=True)
class SequenceHeader:
    """What frame headers rely on. `frame_id_bits` and `order_hint_bits` are 0 where frames carry none."""

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


def parse_sequence_header(payload: bytes) -> SequenceHeader:
    """Read a sequence header OBU's payload. Raises `RtpError` when it is cut short."""
    reader = BitReader(payload)
    reader.bits(3)  # seq_profile
    reader.bits(1)  # still_picture
    reduced = reader.flag()
    decoder_model_info = False
    if reduced:
        reader.bits(5)  # seq_level_idx
    else:
        decoder_model_info = _skip_operating_points(reader)
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


def _skip_operating_points(reader: BitReader) -> bool:
    """Timing, decoder model and operating points; returns decoder_model_info_present_flag."""
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
    for _ in range(reader.bits(5) + 1):
        reader.bits(12)  # operating_point_idc
        if reader.bits(5) > 7:
            reader.bits(1)  # seq_tier
        if decoder_model_info and reader.flag():
            reader.bits(2 * delay_bits + 1)
        if initial_display_delay and reader.flag():
            reader.bits(4)
    return decoder_model_info


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
