"""The part of an H.264 sequence parameter set that an init segment needs (ITU-T H.264 §7.3.2.1.1, pure)."""

from dataclasses import dataclass

_HIGH_PROFILES = frozenset({100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135})
"""profile_idc values whose SPS carries chroma format and bit depths (ITU-T H.264 §7.3.2.1.1)."""


@dataclass(frozen=True, slots=True)
class SequenceParameters:
    """What of an H.264 SPS an init segment needs (ITU-T H.264 §7.3.2.1.1); sizes in luma samples after cropping."""

    width: int
    height: int
    chroma_format_idc: int
    bit_depth_luma: int
    bit_depth_chroma: int


class BitReader:
    """Reads an RBSP most significant bit first."""

    __slots__ = ("_left", "_value")

    def __init__(self, rbsp: bytes) -> None:
        self._value = int.from_bytes(rbsp)
        self._left = len(rbsp) * 8

    def read(self, count: int) -> int:
        if count > self._left:
            raise ValueError("a parameter set ends too early")
        self._left -= count
        return (self._value >> self._left) & ((1 << count) - 1)

    def ue(self) -> int:
        zeros = 0
        while not self.read(1):
            zeros += 1
        return (1 << zeros) - 1 + self.read(zeros)

    def se(self) -> int:
        code = self.ue()
        return (code + 1) // 2 if code & 1 else -(code // 2)


def parse_sps(unit: bytes) -> SequenceParameters:
    """Parse an SPS NAL unit (with its header byte). Raises ValueError when it is cut off."""
    bits = BitReader(unit[1:].replace(b"\x00\x00\x03", b"\x00\x00"))
    profile = bits.read(8)
    bits.read(16)
    bits.ue()
    chroma, luma_depth, chroma_depth, separate_planes = 1, 8, 8, 0
    if profile in _HIGH_PROFILES:
        chroma = bits.ue()
        separate_planes = bits.read(1) if chroma == 3 else 0
        luma_depth, chroma_depth = 8 + bits.ue(), 8 + bits.ue()
        bits.read(1)
        if bits.read(1):
            _skip_scaling_matrix(bits, 12 if chroma == 3 else 8)
    bits.ue()
    _skip_picture_order(bits)
    bits.ue()
    bits.read(1)
    width, map_units = 16 * (bits.ue() + 1), bits.ue() + 1
    frame_mbs_only = bits.read(1)
    if not frame_mbs_only:
        bits.read(1)
    height = 16 * map_units * (2 - frame_mbs_only)
    bits.read(1)
    if bits.read(1):
        planes = 0 if separate_planes else chroma
        unit_x = 2 if planes in {1, 2} else 1
        unit_y = (2 if planes == 1 else 1) * (2 - frame_mbs_only)
        width -= unit_x * (bits.ue() + bits.ue())
        height -= unit_y * (bits.ue() + bits.ue())
    return SequenceParameters(width, height, chroma, luma_depth, chroma_depth)


def _skip_scaling_matrix(bits: BitReader, lists: int) -> None:
    for index in range(lists):
        if not bits.read(1):
            continue
        last = following = 8
        for _ in range(16 if index < 6 else 64):
            if following:
                following = (last + bits.se()) % 256
            last = following or last


def _skip_picture_order(bits: BitReader) -> None:
    kind = bits.ue()
    if kind == 0:
        bits.ue()
    elif kind == 1:
        bits.read(1)
        bits.se()
        bits.se()
        for _ in range(bits.ue()):
            bits.se()
