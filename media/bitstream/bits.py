"""Reading a bitstream most significant bit first (pure)."""

from media.errors import RtpError

_MAX_LEADING_ZEROS = 31
"""An id or a size needs far fewer leading zeros; more is noise."""

_MAX_LEB128_BYTES = 8
"""Of a LEB128 number (AV1 section 4.10.5)."""


class BitReader:
    """Reads bits, and the numbers that parameter sets are made of. Every method raises RtpError past the end."""

    __slots__ = ("_left", "_value")

    def __init__(self, data: bytes) -> None:
        self._value = int.from_bytes(data, "big")
        self._left = 8 * len(data)

    def bits(self, count: int) -> int:
        """Unsigned integer of `count` bits: u(n) of H.264 and H.265, f(n) of VP9 and AV1."""
        if count > self._left:
            raise RtpError("a parameter set or frame header is cut short; wait for a key frame")
        self._left -= count
        return self._value >> self._left & (1 << count) - 1

    def flag(self) -> bool:
        """One bit."""
        return bool(self.bits(1))

    def unsigned(self) -> int:
        """Exp-Golomb code, ue(v) (ITU-T H.264 and H.265 section 9.1, 9.2); AV1's uvlc() is the same."""
        zeros = 0
        while not self.bits(1):
            zeros += 1
            if zeros > _MAX_LEADING_ZEROS:
                raise RtpError("a parameter set holds an impossible number; wait for a key frame")
        return (1 << zeros) - 1 + self.bits(zeros)

    def identifier(self, most: int) -> int:
        """ue(v) of a parameter set's id, `most` at most: whoever makes up others has none of them kept."""
        found = self.unsigned()
        if found > most:
            raise RtpError("a parameter set has an id that the standard does not know; wait for a key frame")
        return found

    def signed(self) -> int:
        """Signed Exp-Golomb code, se(v)."""
        code = self.unsigned()
        return (code + 1) // 2 if code & 1 else -(code // 2)


def unescape(nal_payload: bytes) -> bytes:
    """The RBSP: every emulation prevention byte (3 after two zeros, ITU-T H.264 and H.265 section 7.4) is taken out."""
    if b"\x00\x00\x03" not in nal_payload:
        return nal_payload
    rbsp = bytearray()
    at = 0
    while (escape := nal_payload.find(b"\x00\x00\x03", at)) >= 0:
        rbsp += nal_payload[at : escape + 2]
        at = escape + 3
    return bytes(rbsp + nal_payload[at:])


def read_leb128(data: bytes, at: int, end: int) -> tuple[int, int]:
    """(number, where it ends) of a LEB128 number (AV1 section 4.10.5). Raises `RtpError` when it is cut."""
    value = 0
    for index in range(_MAX_LEB128_BYTES):
        if at + index >= end:
            break
        byte = data[at + index]
        value |= (byte & 0x7F) << 7 * index
        if not byte & 0x80:
            return value, at + index + 1
    raise RtpError("a LEB128 number has no end; drop the frame")


def write_leb128(value: int) -> bytes:
    """The shortest LEB128 form of a number."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
