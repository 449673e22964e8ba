"""The uncompressed header of a VP9 key frame (VP9 Bitstream & Decoding Process Specification section 6.2, pure)."""

from dataclasses import dataclass

from media.bitstream.bits import BitReader
from media.errors import RtpError

_HEADER_BYTES = 24
"""More than the fields up to the frame's size can take."""

_SYNC_CODE = 0x498342
_RGB = 7


@dataclass(frozen=True, slots=True)
class Vp9KeyFrame:
    """What a key frame says of the stream. `color_space` is that of section 7.2.2 (0 unknown, 2 BT.709, 7 RGB)."""

    profile: int
    bit_depth: int
    color_space: int
    full_range: bool
    subsampling_x: int
    subsampling_y: int
    width: int
    height: int


def parse_key_frame(data: bytes) -> Vp9KeyFrame:
    """Read the first frame of a frame or superframe. Raises RtpError when it is cut short or no key frame."""
    reader = BitReader(data[:_HEADER_BYTES])
    marker, profile = reader.bits(2), reader.bits(1) | reader.bits(1) << 1
    if profile == 3:
        reader.bits(1)
    shows_existing, is_inter = reader.flag(), reader.flag()
    reader.bits(2)  # show_frame, error_resilient_mode
    if marker != 2 or shows_existing or is_inter or reader.bits(24) != _SYNC_CODE:
        raise RtpError("this is no VP9 key frame; wait for one")
    bit_depth = 8 if profile < 2 else 10 + 2 * reader.bits(1)
    color_space = reader.bits(3)
    full_range, subsampling = True, (0, 0)
    if color_space != _RGB:
        full_range, subsampling = reader.flag(), (1, 1)
        if profile in {1, 3}:
            subsampling = reader.bits(1), reader.bits(1)
            reader.bits(1)
    elif profile in {1, 3}:
        reader.bits(1)
    width, height = reader.bits(16) + 1, reader.bits(16) + 1
    return Vp9KeyFrame(profile, bit_depth, color_space, full_range, *subsampling, width, height)
