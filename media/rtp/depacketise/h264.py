"""H.264 over RTP (RFC 6184, packetization modes 0 and 1)."""

from collections.abc import Iterable, Sequence

from media.bitstream.h264 import (
    SequenceParameterSet,
    parse_pps_ids,
    parse_slice_pps_id,
    parse_sps,
)
from media.bitstream.nal import with_lengths
from media.errors import RtpError
from media.frames import Codec
from media.rtp.depacketise.depacketiser import Assembled
from media.rtp.depacketise.nal_units import NalDepacketiser
from media.rtp.packet import RtpPacket

_TYPE_MASK = 0x1F
_SLICE = 1
_DATA_PARTITION_A = 2
_IDR_SLICE = 5
_SPS = 7
_PPS = 8
_ACCESS_UNIT_DELIMITER = 9
_LAST_SINGLE = 23
_STAP_A = 24
_FU_A = 28

_FU_START = 0x80
_FU_END = 0x40
# ue(v) of first_mb_in_slice is a single 1 bit when the slice is the first of its picture.
_FIRST_MB_ZERO = 0x80
_PICTURE_TYPES = frozenset({_SLICE, _DATA_PARTITION_A, _IDR_SLICE})


class H264Depacketiser(NalDepacketiser):
    """Joins NAL units into an access unit with 4-byte lengths, parameter sets in band.

    An IDR picture whose access unit lacks the parameter sets it names gets the last ones seen (or
    `parameter_sets`, NAL units from the SDP's sprop-parameter-sets) in front, so that a file can
    start with it. An IDR picture whose parameter sets never came is no sync sample.
    """

    codec = Codec.H264

    def __init__(self, parameter_sets: Iterable[bytes] = ()) -> None:
        """Raises `RtpError` when a parameter set cannot be read."""
        self._sps: dict[int, tuple[bytes, SequenceParameterSet]] = {}
        self._pps: dict[int, tuple[bytes, int]] = {}
        for nal in parameter_sets:
            self._remember(nal)

    def starts_frame(self, packet: RtpPacket) -> bool:
        """Whether the packet begins with a delimiter, an SPS, or the first slice of a non-IDR picture.

        An IDR slice proves nothing: what is missing before it may be the SPS of a new resolution.
        """
        nal = _first_nal_unit(packet)
        if not nal:
            return False
        nal_type = nal[0] & _TYPE_MASK
        if nal_type in {_SPS, _ACCESS_UNIT_DELIMITER}:
            return True
        return nal_type in {_SLICE, _DATA_PARTITION_A} and len(nal) > 1 and bool(nal[1] & _FIRST_MB_ZERO)

    def starts_sync_sample(self, packet: RtpPacket) -> bool:
        """Whether it begins with an SPS or with the first slice of an IDR picture."""
        nal = _first_nal_unit(packet)
        if not nal:
            return False
        if nal[0] & _TYPE_MASK == _SPS:
            return True
        return nal[0] & _TYPE_MASK == _IDR_SLICE and len(nal) > 1 and bool(nal[1] & _FIRST_MB_ZERO)

    def _split(self, packets: Sequence[RtpPacket]) -> list[bytes]:
        return split_nal_units(packets)

    def _is_slice(self, nal: bytes) -> bool:
        return nal[0] & _TYPE_MASK in _PICTURE_TYPES

    def _assemble(self, nals: list[bytes]) -> Assembled | None:
        sync_sample = False
        has_picture = False
        before = self._sps, self._pps
        for nal in nals:
            nal_type = nal[0] & _TYPE_MASK
            if nal_type in _PICTURE_TYPES:
                has_picture = True
                sync_sample = sync_sample or nal_type == _IDR_SLICE
            elif nal_type in {_SPS, _PPS}:
                if self._sps is before[0]:
                    self._sps, self._pps = self._sps.copy(), self._pps.copy()
                self._remember(nal)
        if not has_picture:
            return None
        if sync_sample:
            assembled = self._assemble_idr(nals)
            if assembled.is_blank:  # the server's: a sender that told its own once goes on with those
                self._sps, self._pps = before
            return assembled
        return Assembled(with_lengths(nals), sync_sample=False)

    def _assemble_idr(self, nals: list[bytes]) -> Assembled:
        """Complete the access unit with the parameter sets that its IDR slice names."""
        idr = next(nal for nal in nals if nal[0] & _TYPE_MASK == _IDR_SLICE)
        pps_nal, sps_id = self._pps.get(parse_slice_pps_id(idr), (b"", -1))
        sps_nal, sps = self._sps.get(sps_id, (b"", None))
        if sps is None:
            return Assembled(with_lengths(nals), sync_sample=False)
        missing = [nal for nal in (sps_nal, pps_nal) if nal not in nals]
        at = 1 if nals[0][0] & _TYPE_MASK == _ACCESS_UNIT_DELIMITER else 0
        return Assembled(with_lengths(nals[:at] + missing + nals[at:]), True, sps.width, sps.height)

    def _remember(self, nal: bytes) -> None:
        """Keep a parameter set by its id; a new SPS of the same id replaces the old one."""
        if nal[0] & _TYPE_MASK == _SPS:
            sps = parse_sps(nal)
            self._sps[sps.identifier] = (nal, sps)
        elif nal[0] & _TYPE_MASK == _PPS:
            pps_id, sps_id = parse_pps_ids(nal)
            self._pps[pps_id] = (nal, sps_id)


def _first_nal_unit(packet: RtpPacket) -> bytes:
    """The first bytes of the unit that begins with this packet; none when one only goes on in it."""
    payload = packet.data[packet.payload_start : min(packet.payload_start + 5, packet.payload_end)]
    if not payload:
        return b""
    if payload[0] & _TYPE_MASK == _STAP_A:
        return payload[3:]
    if payload[0] & _TYPE_MASK == _FU_A:
        return payload[1:] if len(payload) > 1 and payload[1] & _FU_START else b""
    return payload


def split_nal_units(packets: Sequence[RtpPacket]) -> list[bytes]:
    """The NAL units of consecutive packets, none of them empty.

    Raises `RtpError` on a fragment without its start or end, an aggregate whose sizes do not fit,
    and types outside packetization modes 0 and 1.
    """
    nals: list[bytes] = []
    fragments: list[bytes] = []
    for packet in packets:
        data, start, end = packet.data, packet.payload_start, packet.payload_end
        if end - start < 1:
            raise RtpError("an H.264 payload is empty; drop the frame")
        nal_type = data[start] & _TYPE_MASK
        if nal_type == _FU_A:
            _add_fragment(fragments, nals, data, start, end)
            continue
        if fragments:
            raise RtpError("an H.264 fragmented unit has no end; wait for a key frame")
        if 0 < nal_type <= _LAST_SINGLE:
            nals.append(data[start:end])
        elif nal_type == _STAP_A:
            _split_aggregate(nals, data, start + 1, end)
        else:
            raise RtpError(f"H.264 payload type {nal_type} is not of packetization mode 0 or 1; drop it")
    if fragments:
        raise RtpError("an H.264 fragmented unit has no end; wait for a key frame")
    return nals


def _add_fragment(fragments: list[bytes], nals: list[bytes], data: bytes, start: int, end: int) -> None:
    """FU-A (RFC 6184 section 5.8): the unit's header byte is rebuilt from indicator and FU header."""
    if end - start < 3:
        raise RtpError("an H.264 fragment is empty; drop the frame")
    header = data[start + 1]
    if bool(header & _FU_START) is bool(fragments):
        raise RtpError("an H.264 fragmented unit lacks its start or its end; wait for a key frame")
    if not fragments:
        fragments.append(bytes((data[start] & 0xE0 | header & _TYPE_MASK,)))
    fragments.append(data[start + 2 : end])
    if header & _FU_END:
        nals.append(b"".join(fragments))
        fragments.clear()


def _split_aggregate(nals: list[bytes], data: bytes, at: int, end: int) -> None:
    """STAP-A (RFC 6184 section 5.7.1): a 16-bit size before each unit."""
    while at < end:
        size = data[at] << 8 | data[at + 1] if at + 2 <= end else 0
        at += 2
        if not size or at + size > end:
            raise RtpError("the sizes in an H.264 aggregate do not fit; drop the frame")
        nals.append(data[at : at + size])
        at += size
