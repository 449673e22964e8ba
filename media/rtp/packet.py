"""RTP packets (RFC 3550 section 5.1, RFC 8285) as views of the bytes that came."""

from struct import Struct
from typing import Self

from media.errors import RtpError

_FIXED_HEADER = Struct("!BBHII")
FIXED_HEADER_BYTES = _FIXED_HEADER.size
_unpack_fixed_header = _FIXED_HEADER.unpack_from

_PADDING_BIT = 0x20
_EXTENSION_BIT = 0x10
_ONE_BYTE_PROFILE = 0xBEDE
# RFC 8285 section 4.3: 0x100 in the upper 12 bits, application bits in the lower four.
_TWO_BYTE_PROFILE = 0x100
_RESERVED_ONE_BYTE_ID = 15


def is_rtcp(data: bytes) -> bool:
    """Whether a datagram that RTP and RTCP share is RTCP (RFC 5761 section 4)."""
    return len(data) > 1 and 192 <= data[1] <= 223


class RtpPacket:
    """One RTP packet, parsed once; `data[payload_start:payload_end]` is its payload without padding.

    The attributes are plain for speed (a stream makes hundreds of packets a second); treat a packet
    as frozen. Header extensions are looked up only when asked for.
    """

    __slots__ = (
        "data",
        "marker",
        "padding_bytes",
        "payload_end",
        "payload_start",
        "payload_type",
        "sequence_number",
        "ssrc",
        "timestamp",
    )

    data: bytes
    marker: bool
    padding_bytes: int
    payload_end: int
    payload_start: int
    payload_type: int
    sequence_number: int
    ssrc: int
    timestamp: int

    def __init__(self, data: bytes) -> None:
        """View `data`. Raises `RtpError` when it is no RTP packet or is cut short."""
        length = len(data)
        if length < FIXED_HEADER_BYTES:
            raise RtpError(f"an RTP packet has at least 12 bytes, this has {length}; drop it")
        first, second, self.sequence_number, self.timestamp, self.ssrc = _unpack_fixed_header(data)
        self.data = data
        self.payload_type = second & 0x7F
        self.marker = second > 0x7F
        if first == 0x80:
            # Nothing optional in the header: by far the most frequent case.
            self.payload_start = FIXED_HEADER_BYTES
            self.payload_end = length
            self.padding_bytes = 0
            return
        self._measure(first, length)

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """The packet in `data`. Raises `RtpError` when it is no RTP packet or is cut short."""
        return cls(data)

    @classmethod
    def build(
        cls,
        *,
        payload_type: int,
        sequence_number: int,
        timestamp: int,
        ssrc: int,
        payload: bytes,
        marker: bool = False,
        padding_bytes: int = 0,
        extensions: tuple[tuple[int, bytes], ...] = (),
    ) -> Self:
        """A packet made of its fields; `extensions` are (id, value) pairs of RFC 8285.

        The one-byte form is used where all elements fit it. At most 255 padding bytes.
        """
        first = 0x80 | (_PADDING_BIT if padding_bytes else 0) | (_EXTENSION_BIT if extensions else 0)
        header = _FIXED_HEADER.pack(
            first,
            payload_type | (0x80 if marker else 0),
            sequence_number & 0xFFFF,
            timestamp & 0xFFFF_FFFF,
            ssrc,
        )
        padding = bytes(padding_bytes - 1) + bytes((padding_bytes,)) if padding_bytes else b""
        return cls(header + _pack_extensions(extensions) + payload + padding)

    @property
    def payload(self) -> bytes:
        """The payload without padding (a copy)."""
        return self.data[self.payload_start : self.payload_end]

    def extension(self, identifier: int) -> bytes | None:
        """The value of a header extension (RFC 8285) by its negotiated id, or None."""
        data = self.data
        if not data[0] & _EXTENSION_BIT:
            return None
        start = FIXED_HEADER_BYTES + 4 * (data[0] & 0x0F)
        profile = data[start] << 8 | data[start + 1]
        if profile == _ONE_BYTE_PROFILE:
            return _find_one_byte(data, start + 4, self.payload_start, identifier)
        if profile >> 4 == _TWO_BYTE_PROFILE:
            return _find_two_byte(data, start + 4, self.payload_start, identifier)
        return None

    def restore_rtx(self, payload_type: int, ssrc: int) -> Self:
        """The packet that this RTX packet (RFC 4588 section 4) carries again.

        `payload_type` and `ssrc` are those of the original stream; the original sequence number
        leads the payload. Raises `RtpError` when the payload is shorter than that number.
        """
        start = self.payload_start
        if self.payload_end - start < 2:
            raise RtpError("an RTX payload starts with a two-byte sequence number; drop the packet")
        original = self.carried(payload_type, start + 2)
        original.sequence_number = self.data[start] << 8 | self.data[start + 1]
        original.ssrc = ssrc
        return original

    def carried(self, payload_type: int, payload_start: int) -> Self:
        """The packet of another payload type whose payload this one carries from `payload_start` on."""
        inner = object.__new__(type(self))
        inner.data = self.data
        inner.marker = self.marker
        inner.padding_bytes = self.padding_bytes
        inner.payload_type = payload_type
        inner.sequence_number = self.sequence_number
        inner.timestamp = self.timestamp
        inner.ssrc = self.ssrc
        inner.payload_start = payload_start
        inner.payload_end = self.payload_end
        return inner

    def serialize(self) -> bytes:
        """The packet as bytes, from its fields; equal to what was parsed where nothing was restored."""
        data = self.data
        header = _FIXED_HEADER.pack(
            data[0],
            self.payload_type | (0x80 if self.marker else 0),
            self.sequence_number,
            self.timestamp,
            self.ssrc,
        )
        options = data[FIXED_HEADER_BYTES : _options_end(data)]
        return header + options + data[self.payload_start :]

    def _measure(self, first: int, length: int) -> None:
        """Find the payload's borders in a packet with CSRCs, an extension or padding."""
        if first >> 6 != 2:
            raise RtpError(f"RTP version is 2, this packet says {first >> 6}; drop it")
        start = _options_end(self.data)
        padding = self.data[-1] if first & _PADDING_BIT else 0
        if first & _PADDING_BIT and not padding:
            raise RtpError("the padding bit is set but the padding count is 0; drop the packet")
        if start + padding > length:
            raise RtpError(f"header and padding of {start + padding} bytes exceed {length} bytes; drop it")
        self.payload_start = start
        self.payload_end = length - padding
        self.padding_bytes = padding


def _options_end(data: bytes) -> int:
    """Where CSRCs and the header extension end. Raises `RtpError` when the data ends before."""
    end = FIXED_HEADER_BYTES + 4 * (data[0] & 0x0F)
    if data[0] & _EXTENSION_BIT:
        if end + 4 > len(data):
            raise RtpError("the packet ends inside its header extension; drop it")
        end += 4 + 4 * (data[end + 2] << 8 | data[end + 3])
    return end


def _find_one_byte(data: bytes, at: int, end: int, identifier: int) -> bytes | None:
    """RFC 8285 section 4.2: 4-bit id, 4-bit length minus one; id 15 ends the list."""
    while at < end:
        element = data[at]
        at += 1
        if element == 0:
            continue
        found = element >> 4
        length = (element & 0x0F) + 1
        if found == _RESERVED_ONE_BYTE_ID or at + length > end:
            return None
        if found == identifier:
            return data[at : at + length]
        at += length
    return None


def _find_two_byte(data: bytes, at: int, end: int, identifier: int) -> bytes | None:
    """RFC 8285 section 4.3: 8-bit id, 8-bit length."""
    while at + 1 < end:
        found = data[at]
        if found == 0:
            at += 1
            continue
        length = data[at + 1]
        at += 2
        if at + length > end:
            return None
        if found == identifier:
            return data[at : at + length]
        at += length
    return None


def _pack_extensions(extensions: tuple[tuple[int, bytes], ...]) -> bytes:
    if not extensions:
        return b""
    one_byte = all(1 <= identifier <= 14 and 1 <= len(value) <= 16 for identifier, value in extensions)
    if one_byte:
        body = b"".join(bytes((i << 4 | len(value) - 1,)) + value for i, value in extensions)
    else:
        body = b"".join(bytes((i, len(value))) + value for i, value in extensions)
    body += bytes(-len(body) % 4)
    profile = _ONE_BYTE_PROFILE if one_byte else _TWO_BYTE_PROFILE << 4
    return profile.to_bytes(2, "big") + (len(body) // 4).to_bytes(2, "big") + body
