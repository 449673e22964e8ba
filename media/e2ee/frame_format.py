"""Where in a frame the encrypted part begins and ends (pure; see the package's docstring for the format)."""

from collections.abc import Iterable
from typing import NamedTuple

from media.frames import Codec

IV_BYTES = 12
TAG_BYTES = 16
TRAILER_BYTES = 2

_VP8_KEY_FRAME_CLEAR = 10
_VP8_DELTA_FRAME_CLEAR = 3
_OPUS_CLEAR = 1
_START_CODE = b"\x00\x00\x00\x01"
_SHORT_START_CODE = _START_CODE[1:]
_ESCAPED = b"\x00\x00\x03"
_H264_SLICES = frozenset({1, 5})
_H265_SLICES = frozenset({*range(10), *range(16, 22)})


class EncryptedFrame(NamedTuple):
    """The parts of an encrypted frame."""

    header: bytes
    ciphertext: bytes
    iv: bytes
    key_index: int


def split_frame(codec: Codec, frame: bytes) -> EncryptedFrame | None:
    """The parts of `frame` (H.264 and H.265: Annex B); None where it cannot have been encrypted by a sender."""
    clear = _clear_bytes(codec, frame)
    if clear is None or clear > len(frame):
        return None
    body = frame[clear:]
    if codec in {Codec.H264, Codec.H265}:
        body = _unescape(body)
    if len(body) < TAG_BYTES + IV_BYTES + TRAILER_BYTES or body[-2] != IV_BYTES:
        return None
    end = len(body) - IV_BYTES - TRAILER_BYTES
    return EncryptedFrame(frame[:clear], body[:end], body[end : end + IV_BYTES], body[-1])


def _clear_bytes(codec: Codec, frame: bytes) -> int | None:
    match codec:
        case Codec.OPUS:
            return _OPUS_CLEAR
        case Codec.VP8:
            return _VP8_DELTA_FRAME_CLEAR if frame[0] & 1 else _VP8_KEY_FRAME_CLEAR
        case Codec.VP9:
            return 0
        case Codec.H264 | Codec.H265:
            return _before_slice_data(codec, frame)
        case Codec.AV1:
            return None


def _before_slice_data(codec: Codec, frame: bytes) -> int | None:
    """The second byte of the first slice: for H.265 that ends the NAL unit's header, for H.264 it does not."""
    at = 0
    while (found := frame.find(_SHORT_START_CODE, at)) >= 0:
        at = found + len(_SHORT_START_CODE)
        if at + 2 > len(frame):
            return None
        is_slice = frame[at] & 0x1F in _H264_SLICES if codec is Codec.H264 else frame[at] >> 1 & 0x3F in _H265_SLICES
        if is_slice:
            return at + 2
    return None


def _unescape(data: bytes) -> bytes:
    """Take out each emulation prevention byte: a 3 behind two zeros (ITU-T H.264 section 7.4.1)."""
    if _ESCAPED not in data:
        return data
    return data.replace(_ESCAPED, b"\x00\x00")


def join_annex_b(nal_units: Iterable[bytes]) -> bytes:
    """NAL units as a byte stream with start codes of four bytes (ITU-T H.264 annex B)."""
    return b"".join(part for nal in nal_units for part in (_START_CODE, nal))


def split_annex_b(stream: bytes) -> list[bytes]:
    """The NAL units of a byte stream, whatever its start codes; zeros behind a unit belong to none."""
    return [nal for nal in (part.rstrip(b"\x00") for part in stream.split(_SHORT_START_CODE)[1:]) if nal]
