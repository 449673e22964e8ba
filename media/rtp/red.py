"""Redundant audio (RFC 2198): the primary out of each packet, and what was lost out of the packets after it.

A redundant block becomes the packet that it repeats, before the jitter buffer, which then orders it
like one that came late. RFC 2198 blocks carry timestamps but no sequence numbers: a block is placed
only where a packet is missing and the timestamps of those around it agree.
"""

from collections.abc import Callable
from typing import NamedTuple

from media.errors import RtpError
from media.rtp.depacketise.opus import opus_duration
from media.rtp.packet import RtpPacket

_MORE = 0x80
_BLOCK_HEADER_BYTES = 4
_TIMESTAMP_MASK = 0xFFFF_FFFF
_TIMESTAMP_HALF = 1 << 31
# No sender repeats more; libwebrtc takes one or two, livekit-server two.
_MAX_DISTANCE = 8
# Packets whose timestamps are remembered, to place blocks between them.
_REMEMBERED = 64


class RedundantBlock(NamedTuple):
    """An earlier packet's payload: `data[start:end]` of the packet; its timestamp is `offset` earlier."""

    payload_type: int
    offset: int
    start: int
    end: int


def split_red(packet: RtpPacket) -> tuple[list[RedundantBlock], int, int]:
    """(redundant blocks, oldest first; the primary's payload type; where it starts).

    Raises `RtpError` when headers or lengths do not fit.
    """
    data, at, end = packet.data, packet.payload_start, packet.payload_end
    headers = []
    while at < end and data[at] & _MORE:
        header = int.from_bytes(data[at : at + _BLOCK_HEADER_BYTES], "big")
        headers.append((header >> 24 & 0x7F, header >> 10 & 0x3FFF, header & 0x3FF))
        at += _BLOCK_HEADER_BYTES
    start = at + 1
    if start + sum(length for _, _, length in headers) > end:
        raise RtpError("the blocks of a RED packet do not fit; drop it")
    primary_type = data[at] & 0x7F
    blocks = []
    for payload_type, offset, length in headers:
        blocks.append(RedundantBlock(payload_type, offset, start, start + length))
        start += length
    return blocks, primary_type, start


class RedReceiver:
    """Takes RED packets apart. Feed it plain packets of the track too, so that it knows their timestamps."""

    def __init__(self, is_missing: Callable[[int], bool]) -> None:
        """`is_missing`: whether the jitter buffer still waits for an extended sequence number."""
        self._is_missing = is_missing
        self._timestamps: dict[int, int] = {}
        self._repaired: dict[int, None] = {}  # as an ordered set
        self.packets_repaired = 0
        """Packets that were recovered from the redundancy of later ones, and have not come by themselves since."""

    def restart(self) -> None:
        """The sender counts anew."""
        self._timestamps.clear()
        self._repaired.clear()

    def note(self, extended: int, timestamp: int) -> bool:
        """A packet came by itself; whether it had been recovered already, and is not needed any more."""
        recovered = extended in self._repaired
        if recovered:
            del self._repaired[extended]
            self.packets_repaired -= 1
        self._remember(extended, timestamp)
        return recovered

    def _remember(self, extended: int, timestamp: int) -> None:
        timestamps = self._timestamps
        timestamps[extended] = timestamp
        if len(timestamps) > _REMEMBERED:
            del timestamps[next(iter(timestamps))]

    def receive(self, packet: RtpPacket, extended: int, payload_type: int) -> list[tuple[int, RtpPacket]]:
        """The packets in a RED packet with their extended numbers: recovered ones, oldest first, then the primary.

        `payload_type` is the primary's as negotiated. An empty primary is left out, and one that
        was recovered before, under whatever number. Raises `RtpError` when the packet is malformed.
        """
        blocks, primary_type, start = split_red(packet)
        # While it was late, a block may have put it by time where another packet is missing.
        repeated = extended not in self._timestamps and packet.timestamp in self._timestamps.values()
        recovered_before = self.note(extended, packet.timestamp)
        packets = []
        for index, block in enumerate(blocks):
            if block.payload_type == primary_type and block.start < block.end:
                recovered = self._recover(packet, extended, block, len(blocks) - index, payload_type)
                if recovered is not None:
                    packets.append(recovered)
        if start < packet.payload_end and not repeated and not recovered_before:
            packets.append((extended, packet.carried(payload_type, start)))
        return packets

    def _recover(
        self, packet: RtpPacket, extended: int, block: RedundantBlock, position: int, payload_type: int
    ) -> tuple[int, RtpPacket] | None:
        """The packet that a block repeats, where that one is missing; `position` counts back from the primary."""
        if not any(map(self._is_missing, range(extended - _MAX_DISTANCE, extended))):
            return None
        timestamp = (packet.timestamp - block.offset) & _TIMESTAMP_MASK
        if timestamp in self._timestamps.values():
            return None
        payload = packet.data[block.start : block.end]
        for number in self._candidates(extended, block.offset, position, payload):
            if self._is_missing(number) and self._fits(number, timestamp):
                self._remember(number, timestamp)
                self.packets_repaired += 1
                self._repaired[number] = None
                if len(self._repaired) > _REMEMBERED:
                    del self._repaired[next(iter(self._repaired))]
                return number, RtpPacket.build(
                    payload_type=payload_type,
                    sequence_number=number & 0xFFFF,
                    timestamp=timestamp,
                    ssrc=packet.ssrc,
                    payload=payload,
                )
        return None

    def _candidates(self, extended: int, offset: int, position: int, payload: bytes) -> list[int]:
        """Where a block may belong: by time, where a server left out what it had lost itself; by its position."""
        try:
            duration = opus_duration(payload)
        except RtpError:
            duration = 0
        by_time = offset // duration if duration and not offset % duration else position
        distances = dict.fromkeys((by_time, position))
        return [extended - distance for distance in distances if 0 < distance <= _MAX_DISTANCE]

    def _fits(self, number: int, timestamp: int) -> bool:
        """Whether all that came before `number` is earlier and all that came after it is later."""
        return all(
            ((timestamp - known + _TIMESTAMP_HALF) & _TIMESTAMP_MASK) - _TIMESTAMP_HALF > 0
            if other < number
            else ((known - timestamp + _TIMESTAMP_HALF) & _TIMESTAMP_MASK) - _TIMESTAMP_HALF > 0
            for other, known in self._timestamps.items()
        )
