"""H.265 over RTP (RFC 7798), without decoding order numbers (sprop-max-don-diff 0, the default)."""

from collections.abc import Sequence

from media.bitstream.h265 import (
    H265SequenceParameterSet,
    parse_pps_ids,
    parse_slice_pps_id,
    parse_sps,
    parse_vps_id,
)
from media.bitstream.nal import with_lengths
from media.errors import RtpError
from media.frames import Codec
from media.rtp.depacketise.depacketiser import Assembled
from media.rtp.depacketise.nal_units import NalDepacketiser
from media.rtp.packet import RtpPacket

_HEADER_BYTES = 2
_LAST_SLICE = 31
_FIRST_IRAP = 16
_LAST_IRAP = 23
_VPS = 32
_SPS = 33
_PPS = 34
_ACCESS_UNIT_DELIMITER = 35
_LAST_SINGLE = 47
_AGGREGATE = 48
_FRAGMENT = 49

_FU_START = 0x80
_FU_END = 0x40
_FU_TYPE = 0x3F
_FIRST_SLICE_SEGMENT = 0x80


class H265Depacketiser(NalDepacketiser):
    """Joins NAL units into an access unit with 4-byte lengths, parameter sets in band.

    An IRAP picture (IDR, CRA, BLA) whose access unit lacks parameter sets it names gets the last ones
    seen in front, so that a file can start with it. One whose parameter sets never came is no sync sample.
    """

    codec = Codec.H265

    def __init__(self) -> None:
        self._vps: dict[int, bytes] = {}
        self._sps: dict[int, tuple[bytes, H265SequenceParameterSet]] = {}
        self._pps: dict[int, tuple[bytes, int]] = {}

    def starts_frame(self, packet: RtpPacket) -> bool:
        """Whether the packet begins with a delimiter, a VPS, or the first slice of a picture that is no IRAP.

        An IRAP slice proves nothing: what is missing before it may be parameter sets of a new resolution.
        """
        nal = _first_nal_unit(packet)
        nal_type = _type_of(nal)
        if nal_type in {_VPS, _ACCESS_UNIT_DELIMITER}:
            return True
        return 0 <= nal_type < _FIRST_IRAP and _is_first_slice(nal)

    def starts_sync_sample(self, packet: RtpPacket) -> bool:
        """Whether it begins with a VPS, an SPS or the first slice of an IRAP picture."""
        nal = _first_nal_unit(packet)
        nal_type = _type_of(nal)
        if nal_type in {_VPS, _SPS}:
            return True
        return _FIRST_IRAP <= nal_type <= _LAST_IRAP and _is_first_slice(nal)

    def _split(self, packets: Sequence[RtpPacket]) -> list[bytes]:
        return split_nal_units(packets)

    def _is_slice(self, nal: bytes) -> bool:
        return _type_of(nal) <= _LAST_SLICE

    def _assemble(self, nals: list[bytes]) -> Assembled | None:
        irap = b""
        has_picture = False
        for nal in nals:
            nal_type = _type_of(nal)
            if nal_type <= _LAST_SLICE:
                has_picture = True
                if not irap and _FIRST_IRAP <= nal_type <= _LAST_IRAP:
                    irap = nal
            else:
                self._remember(nal_type, nal)
        if not has_picture:
            return None
        if irap:
            return self._assemble_irap(nals, irap)
        return Assembled(with_lengths(nals), sync_sample=False)

    def _assemble_irap(self, nals: list[bytes], irap: bytes) -> Assembled:
        """Complete the access unit with the parameter sets that its first slice names."""
        pps_nal, sps_id = self._pps.get(parse_slice_pps_id(irap), (b"", -1))
        sps_nal, sps = self._sps.get(sps_id, (b"", None))
        vps_nal = b"" if sps is None else self._vps.get(sps.vps_id, b"")
        if sps is None or not vps_nal:
            return Assembled(with_lengths(nals), sync_sample=False)
        missing = [nal for nal in (vps_nal, sps_nal, pps_nal) if nal not in nals]
        at = 1 if _type_of(nals[0]) == _ACCESS_UNIT_DELIMITER else 0
        return Assembled(with_lengths(nals[:at] + missing + nals[at:]), True, sps.width, sps.height)

    def _remember(self, nal_type: int, nal: bytes) -> None:
        """Keep a parameter set of the base layer by its id; a new one of the same id replaces the old one."""
        if _layer_of(nal):
            return
        if nal_type == _VPS:
            self._vps[parse_vps_id(nal)] = nal
        elif nal_type == _SPS:
            sps = parse_sps(nal)
            self._sps[sps.identifier] = (nal, sps)
        elif nal_type == _PPS:
            pps_id, sps_id = parse_pps_ids(nal)
            self._pps[pps_id] = (nal, sps_id)


def _type_of(nal: bytes) -> int:
    """nal_unit_type (section 7.3.1.2); -1 where there is no whole header."""
    return nal[0] >> 1 & 0x3F if len(nal) >= _HEADER_BYTES else -1


def _layer_of(nal: bytes) -> int:
    """nuh_layer_id: above 0 are other views and layers, with parameter sets of their own."""
    return (nal[0] & 1) << 5 | nal[1] >> 3


def _is_first_slice(nal: bytes) -> bool:
    return len(nal) > _HEADER_BYTES and bool(nal[_HEADER_BYTES] & _FIRST_SLICE_SEGMENT)


def _first_nal_unit(packet: RtpPacket) -> bytes:
    """The first bytes of the unit that begins with this packet; none when one only goes on in it."""
    payload = packet.data[packet.payload_start : min(packet.payload_start + 7, packet.payload_end)]
    nal_type = _type_of(payload)
    if nal_type == _AGGREGATE:
        return payload[4:]
    if nal_type != _FRAGMENT:
        return payload
    if len(payload) < 3 or not payload[2] & _FU_START:
        return b""
    return _fragment_header(payload, 0) + payload[3:]


def split_nal_units(packets: Sequence[RtpPacket]) -> list[bytes]:
    """The NAL units of consecutive packets, each with a whole header.

    Raises `RtpError` on a fragment without its start or end, an aggregate whose sizes do not fit,
    and PACI packets, which no sender here makes.
    """
    nals: list[bytes] = []
    fragments: list[bytes] = []
    for packet in packets:
        data, start, end = packet.data, packet.payload_start, packet.payload_end
        if end - start <= _HEADER_BYTES:
            raise RtpError("an H.265 payload is empty; drop the frame")
        nal_type = data[start] >> 1 & 0x3F
        if nal_type == _FRAGMENT:
            _add_fragment(fragments, nals, data, start, end)
            continue
        if fragments:
            raise RtpError("an H.265 fragmented unit has no end; wait for a key frame")
        if nal_type <= _LAST_SINGLE:
            nals.append(data[start:end])
        elif nal_type == _AGGREGATE:
            _split_aggregate(nals, data, start + _HEADER_BYTES, end)
        else:
            raise RtpError(f"H.265 payload type {nal_type} is no unit, aggregate or fragment; drop it")
    if fragments:
        raise RtpError("an H.265 fragmented unit has no end; wait for a key frame")
    return nals


def _fragment_header(data: bytes, start: int) -> bytes:
    """The unit's own header, rebuilt from the payload header and the FU header (section 4.4.3)."""
    return bytes((data[start] & 0x81 | (data[start + 2] & _FU_TYPE) << 1, data[start + 1]))


def _add_fragment(fragments: list[bytes], nals: list[bytes], data: bytes, start: int, end: int) -> None:
    if end - start <= _HEADER_BYTES + 1:
        raise RtpError("an H.265 fragment is empty; drop the frame")
    flags = data[start + 2]
    if bool(flags & _FU_START) is bool(fragments):
        raise RtpError("an H.265 fragmented unit lacks its start or its end; wait for a key frame")
    if not fragments:
        fragments.append(_fragment_header(data, start))
    fragments.append(data[start + 3 : end])
    if flags & _FU_END:
        nals.append(b"".join(fragments))
        fragments.clear()


def _split_aggregate(nals: list[bytes], data: bytes, at: int, end: int) -> None:
    """AP (section 4.4.2): a 16-bit size before each unit."""
    while at < end:
        size = data[at] << 8 | data[at + 1] if at + 2 <= end else 0
        at += 2
        if size <= _HEADER_BYTES or at + size > end:
            raise RtpError("the sizes in an H.265 aggregate do not fit; drop the frame")
        nals.append(data[at : at + size])
        at += size
