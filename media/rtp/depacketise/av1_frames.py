"""AV1 frame headers as far as the frame's size (AV1 specification sections 5.9.2 to 5.9.7)."""

from collections.abc import Sequence
from enum import IntEnum

from media.bitstream.av1_obu import Obu
from media.bitstream.av1_sequence_header import SELECTED_BY_FRAME, SequenceHeader
from media.bitstream.bits import BitReader

# The longest way to the end of the size: seven references with frame ids, eight order hints.
_HEADER_BYTES = 64
_REFERENCES = 7
_REFERENCE_SLOTS = 8
_ALL_SLOTS = 0xFF

Size = tuple[int, int]


class _FrameType(IntEnum):
    KEY = 0
    INTER = 1
    INTRA_ONLY = 2
    SWITCH = 3


def is_key_frame(obu: Obu, sequence: SequenceHeader) -> bool:
    """Whether a frame or frame header OBU is of a shown key frame, where decoding can start."""
    if sequence.reduced_still_picture:
        return True
    # show_existing_frame 0, frame_type 0, show_frame 1.
    return bool(obu.payload) and obu.payload[0] >> 4 == 1


def picture_size(frames: Sequence[Obu], sequence: SequenceHeader) -> Size:
    """Width and height of the last frame of a temporal unit whose first frame is a shown key frame.

    The frames of upper layers may take their size from a frame they refer to; those are of this
    unit, because a key frame fills all reference slots. Where a size depends on what is not read
    here (decoder model, short reference signalling), it is the sequence's largest. Raises `RtpError`
    when a header is cut short.
    """
    largest = (sequence.max_width, sequence.max_height)
    if sequence.reduced_still_picture or sequence.decoder_model_info:
        return largest
    slots = [largest] * _REFERENCE_SLOTS
    size = largest
    for frame in frames:
        size, refreshed = _read_size(frame, sequence, slots)
        slots = [size if refreshed >> slot & 1 else known for slot, known in enumerate(slots)]
    return size


def _read_size(obu: Obu, sequence: SequenceHeader, slots: Sequence[Size]) -> tuple[Size, int]:
    """(size, bit mask of the reference slots it goes to) of a frame."""
    reader = BitReader(obu.payload[:_HEADER_BYTES])
    if reader.flag():
        return slots[reader.bits(3)], 0
    frame_type = _FrameType(reader.bits(2))
    return _SizeReader(reader, sequence, slots).read(frame_type, shown=reader.flag())


class _SizeReader:
    """uncompressed_header() from show_frame on."""

    def __init__(self, reader: BitReader, sequence: SequenceHeader, slots: Sequence[Size]) -> None:
        self._reader = reader
        self._sequence = sequence
        self._slots = slots

    def read(self, frame_type: _FrameType, *, shown: bool) -> tuple[Size, int]:
        """(size, refresh_frame_flags)."""
        reader, sequence = self._reader, self._sequence
        is_intra = frame_type in {_FrameType.KEY, _FrameType.INTRA_ONLY}
        starts_anew = frame_type is _FrameType.SWITCH or (frame_type is _FrameType.KEY and shown)
        if not shown:
            reader.bits(1)  # showable_frame
        error_resilient = starts_anew or reader.flag()
        reader.bits(1)  # disable_cdf_update
        self._skip_screen_content_tools()
        reader.bits(sequence.frame_id_bits)
        size_override = frame_type is _FrameType.SWITCH or reader.flag()
        reader.bits(sequence.order_hint_bits)
        if not is_intra and not error_resilient:
            reader.bits(3)  # primary_ref_frame
        refreshed = _ALL_SLOTS if starts_anew else reader.bits(8)
        if (not is_intra or refreshed != _ALL_SLOTS) and error_resilient and sequence.order_hint_bits:
            reader.bits(_REFERENCE_SLOTS * sequence.order_hint_bits)
        if is_intra:
            return self._frame_size(size_override), refreshed
        return self._inter_size(size_override, with_references=size_override and not error_resilient), refreshed

    def _skip_screen_content_tools(self) -> None:
        tools, integer_mv = self._sequence.force_screen_content_tools, self._sequence.force_integer_mv
        if tools == SELECTED_BY_FRAME:
            tools = self._reader.bits(1)
        if tools and integer_mv == SELECTED_BY_FRAME:
            self._reader.bits(1)  # force_integer_mv

    def _inter_size(self, size_override: bool, *, with_references: bool) -> Size:
        reader, sequence = self._reader, self._sequence
        if sequence.order_hint_bits and reader.flag():
            return sequence.max_width, sequence.max_height
        references = []
        for _ in range(_REFERENCES):
            references.append(reader.bits(3))
            reader.bits(sequence.delta_frame_id_bits)
        if with_references:
            for slot in references:
                if reader.flag():
                    return self._slots[slot]
        return self._frame_size(size_override)

    def _frame_size(self, size_override: bool) -> Size:
        reader, sequence = self._reader, self._sequence
        if not size_override:
            return sequence.max_width, sequence.max_height
        return reader.bits(sequence.width_bits) + 1, reader.bits(sequence.height_bits) + 1
