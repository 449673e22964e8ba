"""What is read and written of VP9: frame headers (VP9 specification section 6.2) and superframes (Annex B), pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from media.bitstream.bits import BitReader
from media.errors import RtpError

# The longest way to the end of frame_size_with_refs() is below 20 bytes.
_HEADER_BYTES = 32
_FRAME_MARKER = 2
_SYNC_CODE = 0x49_83_42
_CS_RGB = 7
_REFERENCE_SLOTS = 8
_REFERENCES = 3
_ALL_SLOTS = 0xFF

_SUPERFRAME_MARKER = 0xC0
_SUPERFRAME_MARKER_MASK = 0xE0
_MAX_SUPERFRAME_FRAMES = 8

Size = tuple[int, int]
_UNKNOWN: Size = (0, 0)


@dataclass(frozen=True, slots=True)
class Vp9ColorConfig:
    """How samples are coded. `color_space` is that of section 7.2.2 (0 unknown, 2 BT.709, 7 RGB)."""

    bit_depth: int
    color_space: int
    full_range: bool
    subsampling_x: int
    subsampling_y: int


@dataclass(frozen=True, slots=True)
class Vp9KeyFrame:
    """What a key frame says of the stream."""

    profile: int
    colors: Vp9ColorConfig
    width: int
    height: int


def parse_key_frame(data: bytes) -> Vp9KeyFrame:
    """Read the first frame of a frame or superframe. Raises `RtpError` when it is cut short or no key frame."""
    if not starts_key_frame(data):
        raise RtpError("this is no VP9 key frame; wait for one")
    reader = BitReader(data[:_HEADER_BYTES])
    profile = _read_profile(reader)
    reader.bits(4)  # show_existing_frame, frame_type, show_frame, error_resilient_mode
    _check_sync_code(reader)
    colors = _read_color_config(reader, profile)
    return Vp9KeyFrame(profile, colors, *_frame_size(reader))


def is_frame(data: bytes) -> bool:
    """Whether the bytes begin as every frame does."""
    return bool(data) and data[0] >> 6 == _FRAME_MARKER


def starts_key_frame(frame: bytes) -> bool:
    """Whether the frame that begins with these bytes says key frame; false where it is too short to tell.

    The first bits: marker 2, profile 2 (and a reserved bit in profile 3), show_existing_frame, frame_type.
    """
    if not is_frame(frame):
        return False
    if frame[0] & 0x30 == 0x30:
        return not frame[0] & 0x06
    return not frame[0] & 0x0C


def build_superframe(frames: Sequence[bytes]) -> bytes:
    """The frames of one picture with the index that tells them apart (Annex B.2). One frame stays as it is.

    Raises `RtpError` for more than eight, which the index cannot count.
    """
    if len(frames) == 1:
        return frames[0]
    if len(frames) > _MAX_SUPERFRAME_FRAMES:
        raise RtpError(f"a VP9 superframe holds up to 8 frames, this picture has {len(frames)}; drop it")
    size_bytes = (max(map(len, frames)).bit_length() + 7) // 8
    marker = bytes((_SUPERFRAME_MARKER | size_bytes - 1 << 3 | len(frames) - 1,))
    sizes = (len(frame).to_bytes(size_bytes, "little") for frame in frames)
    return b"".join((*frames, marker, *sizes, marker))


def split_superframe(data: bytes) -> list[bytes]:
    """The frames of a superframe; the data itself where it has no index.

    Raises `RtpError` when the sizes in the index exceed the data.
    """
    marker = data[-1] if data else 0
    if marker & _SUPERFRAME_MARKER_MASK != _SUPERFRAME_MARKER:
        return [data]
    size_bytes, count = (marker >> 3 & 3) + 1, (marker & 7) + 1
    index = len(data) - 2 - size_bytes * count
    if index < 0 or data[index] != marker:
        return [data]
    frames = []
    at = 0
    for number in range(count):
        start = index + 1 + number * size_bytes
        size = int.from_bytes(data[start : start + size_bytes], "little")
        if not size or at + size > index:
            raise RtpError("the sizes in a VP9 superframe index do not fit; drop the frame")
        frames.append(data[at : at + size])
        at += size
    return frames


def picture_size(frames: Sequence[bytes]) -> Size:
    """Width and height of the last frame of a picture whose first frame is a key frame.

    The frames of upper layers may take their size from a frame they refer to; those are of this
    picture, because a key frame fills all reference slots. Raises `RtpError` when a header is cut
    short or absurd.
    """
    slots = [_UNKNOWN] * _REFERENCE_SLOTS
    size = _UNKNOWN
    for frame in frames:
        size, refreshed = _read_size(BitReader(frame[:_HEADER_BYTES]), slots)
        slots = [size if refreshed >> slot & 1 else known for slot, known in enumerate(slots)]
    return size


def _read_size(reader: BitReader, slots: Sequence[Size]) -> tuple[Size, int]:
    """(size, bit mask of the reference slots it goes to) of a frame: uncompressed_header()."""
    profile = _read_profile(reader)
    if reader.flag():
        return slots[reader.bits(3)], 0
    is_inter = reader.flag()
    show_frame, error_resilient = reader.flag(), reader.flag()
    if not is_inter:
        _check_sync_code(reader)
        _read_color_config(reader, profile)
        return _frame_size(reader), _ALL_SLOTS
    intra_only = not show_frame and reader.flag()
    if not error_resilient:
        reader.bits(2)  # reset_frame_context
    if intra_only:
        _check_sync_code(reader)
        if profile:
            _read_color_config(reader, profile)
        refreshed = reader.bits(8)
        return _frame_size(reader), refreshed
    refreshed = reader.bits(8)
    return _frame_size_with_references(reader, slots), refreshed


def _read_profile(reader: BitReader) -> int:
    if reader.bits(2) != _FRAME_MARKER:
        raise RtpError("a VP9 frame does not start with its marker; drop it")
    profile = reader.bits(1) | reader.bits(1) << 1
    if profile == 3:
        reader.bits(1)
    return profile


def _frame_size_with_references(reader: BitReader, slots: Sequence[Size]) -> Size:
    references = []
    for _ in range(_REFERENCES):
        references.append(reader.bits(3))
        reader.bits(1)  # ref_frame_sign_bias
    for slot in references:
        if reader.flag():
            return slots[slot]
    return _frame_size(reader)


def _check_sync_code(reader: BitReader) -> None:
    if reader.bits(24) != _SYNC_CODE:
        raise RtpError("a VP9 key frame has no sync code; drop it")


def _read_color_config(reader: BitReader, profile: int) -> Vp9ColorConfig:
    bit_depth = 8 if profile < 2 else 10 + 2 * reader.bits(1)
    color_space = reader.bits(3)
    full_range, subsampling = True, (0, 0)
    if color_space != _CS_RGB:
        full_range, subsampling = reader.flag(), (1, 1)
        if profile & 1:
            subsampling = reader.bits(1), reader.bits(1)
            reader.bits(1)
    elif profile & 1:
        reader.bits(1)
    return Vp9ColorConfig(bit_depth, color_space, full_range, *subsampling)


def _frame_size(reader: BitReader) -> Size:
    return reader.bits(16) + 1, reader.bits(16) + 1
