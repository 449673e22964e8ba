"""The jitter buffer: packets in any order in, packets of whole frames in decoding order out.

Packets that come in order are sorted into frames at once. After a hole, packets wait until it is
filled, until they prove that only padding is missing, or until the wait is over; then the buffer goes
on at the next frame it can be sure to have from its first packet on. Time alone ends every wait, so
no pattern of loss can make it stick, and a frame with a packet missing never comes out.
"""

from collections import deque
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from media.rtp.packet import RtpPacket
from media.rtp.sequence import SEQUENCE_JUMP

# Enough to remember which late packets belong to holes that were given up; older ones count as duplicates.
_REMEMBERED_HOLES = 64
# A hole wider than this may hide so many frames that a 7-bit picture id comes round again.
_MAX_PADDING_RUN = 100
_NO_TIMESTAMP = -1


class FrameBorders(Protocol):
    """What the buffer has to know of payload formats; see `Depacketiser` for the meaning."""

    def starts_frame(self, packet: RtpPacket) -> bool:
        """Whether the packet itself proves that it is the first of its frame."""

    def ends_frame(self, packet: RtpPacket) -> bool:
        """Whether the packet itself proves that its frame, or a layer of it, ends with it."""

    def follows(self, last: RtpPacket, first: RtpPacket) -> bool:
        """Whether the packets prove that no frame lies between them."""


@dataclass(frozen=True, slots=True)
class JitterBufferConfig:
    """Bounds of the buffer.

    `max_wait_s`: how long a hole may wait for retransmission, from when it was noticed; 2 s is what
    livekit/egress allows. `start_wait_s`: how long the first packets wait for earlier ones.
    `max_packets`, `max_bytes`: what may wait behind a hole; beyond, the oldest hole is given up at
    once. 4096 packets are 4 s at 10 Mb/s.
    """

    max_wait_s: float = 2.0
    start_wait_s: float = 0.1
    max_packets: int = 4096
    max_bytes: int = 16 << 20


class CompleteFrame(NamedTuple):
    """All packets of one frame, in order.

    `arrival_time`: when the first of them came. `discontinuity`: something before it is missing.
    `after_cut`: the sender broke off the frame before it; nothing was lost on the way.
    """

    packets: list[RtpPacket]
    arrival_time: float
    discontinuity: bool
    after_cut: bool


class JitterBuffer:
    """Orders packets by extended sequence number and emits whole frames.

    A frame ends with a marker. Where a stream has never shown one, a frame also ends where the
    timestamp changes; where it has, a frame without one was broken off: livekit-server does so when
    it switches simulcast layers, and goes on with a key frame. Unless its last packet proves its
    end: with scalable video, the marker may have been on a layer that the server left out. With
    `packet_is_frame` (audio) each packet is a frame and markers mean nothing.
    """

    def __init__(
        self,
        borders: FrameBorders,
        config: JitterBufferConfig | None = None,
        *,
        packet_is_frame: bool = False,
    ) -> None:
        self._borders = borders
        self._config = config or JitterBufferConfig()
        self._packet_is_frame = packet_is_frame
        self._ready: list[CompleteFrame] = []
        # Behind a hole: extended sequence number to packet (None: padding) and arrival time.
        self._waiting: dict[int, tuple[RtpPacket | None, float]] = {}
        self._waiting_bytes = 0
        self._hole_since = 0.0
        self._proof_at = -1
        # The sequence number that is due; -1 until the start is settled.
        self._next = -1
        # The frame in progress. While `_collecting` is off, its packets are dropped.
        self._frame: list[RtpPacket] = []
        self._frame_timestamp = _NO_TIMESTAMP
        self._frame_arrival = 0.0
        self._collecting = False
        # Whether the packet before the next one is known, so that a new timestamp starts a frame.
        self._contiguous = False
        self._broken_timestamp = _NO_TIMESTAMP
        self._markers_seen = False
        self._last_of_frame: RtpPacket | None = None
        self._discontinuity = False
        self._given_up: deque[range] = deque(maxlen=_REMEMBERED_HOLES)
        self._after_cut = False
        self.frames_broken = 0
        """Frames of which some packets came and some were lost."""
        self.frames_cut = 0
        """Frames that the sender broke off."""
        self.packets_late = 0
        """Packets that came after their hole was given up."""
        self.packets_duplicate = 0
        self.packets_given_up = 0
        """Packets of holes that were given up: nothing shows what they held."""
        self.holes_given_up = 0
        self.holes_of_padding = 0
        """Holes that turned out to hold nothing but padding."""
        self.overflows = 0
        """Holes given up early because too much waited behind them."""

    @property
    def next_sequence(self) -> int:
        """The extended sequence number that is due; everything below is settled. -1 before the start."""
        return self._next

    @property
    def waiting_packets(self) -> int:
        """Packets that wait behind a hole."""
        return len(self._waiting)

    @property
    def deadline(self) -> float | None:
        """When the oldest hole will be given up; None when nothing waits. Call `poll` then."""
        if not self._waiting:
            return None
        config = self._config
        return self._hole_since + (config.start_wait_s if self._next < 0 else config.max_wait_s)

    def is_missing(self, extended_sequence: int) -> bool:
        """Whether it would still take a packet of this number, between those that came."""
        if extended_sequence in self._waiting:
            return False
        earliest = self._next if self._next >= 0 else min(self._waiting, default=extended_sequence + 1)
        return extended_sequence >= earliest

    def receive(self, packet: RtpPacket, extended_sequence: int, now: float) -> None:
        """Take a packet with media."""
        if extended_sequence == self._next and not self._waiting:
            self._next = extended_sequence + 1
            self._take(packet, now)
        else:
            self._wait(packet, extended_sequence, now)

    def consume(self, extended_sequence: int, now: float) -> None:
        """Take a packet without media (padding, an unknown payload type): its number is not missing."""
        if extended_sequence == self._next and not self._waiting:
            self._next = extended_sequence + 1
        else:
            self._wait(None, extended_sequence, now)

    def poll(self, now: float) -> list[CompleteFrame]:
        """The frames that became complete, after giving up the holes whose time is over."""
        deadline = self.deadline
        if deadline is not None and now >= deadline:
            self._give_up_until(now)
        if len(self._frame) > self._config.max_packets:
            # One frame that never ends: no sender means that.
            self._break_frame()
            self.overflows += 1
        ready = self._ready
        if ready:
            self._ready = []
        return ready

    def flush(self) -> list[CompleteFrame]:
        """Give up all holes at once and return what is whole; the unfinished frame is dropped."""
        self._give_up_until(float("inf"))
        self._break_frame()
        ready, self._ready = self._ready, []
        return ready

    def restart(self) -> None:
        """The sender counts anew: flush into the next `poll` and wait for a new first packet."""
        self._ready = self.flush()
        self._next = -1
        self._last_of_frame = None
        self._discontinuity = True
        self._given_up.clear()

    def _take(self, packet: RtpPacket, arrival: float) -> None:
        """Sort the packet that is next in order into its frame."""
        if self._packet_is_frame:
            self._ready.append(CompleteFrame([packet], arrival, self._discontinuity, False))
            self._discontinuity = False
            return
        if packet.timestamp != self._frame_timestamp:
            self._open_frame(packet, arrival)
        elif arrival < self._frame_arrival:
            self._frame_arrival = arrival
        if self._collecting:
            self._frame.append(packet)
        if packet.marker:
            self._markers_seen = True
            if self._collecting:
                self._complete_frame()
            self._frame_timestamp = _NO_TIMESTAMP

    def _open_frame(self, packet: RtpPacket, arrival: float) -> None:
        if self._frame:
            if self._markers_seen and not self._borders.ends_frame(self._frame[-1]):
                self._cut_frame()
            else:
                self._complete_frame()
        self._collecting = self._contiguous or self._borders.starts_frame(packet)
        self._contiguous = True
        self._frame_timestamp = packet.timestamp
        self._frame_arrival = arrival
        if not self._collecting:
            self._count_broken(packet.timestamp)

    def _complete_frame(self) -> None:
        frame = self._frame
        self._ready.append(CompleteFrame(frame, self._frame_arrival, self._discontinuity, self._after_cut))
        self._discontinuity = False
        self._after_cut = False
        self._last_of_frame = frame[-1]
        self._frame = []

    def _cut_frame(self) -> None:
        self._frame = []
        self._last_of_frame = None
        self._after_cut = True
        self.frames_cut += 1

    def _break_frame(self) -> None:
        """Drop the frame in progress; what follows in order up to its end is dropped too."""
        if self._frame:
            self._count_broken(self._frame_timestamp)
            self._frame = []
        self._collecting = False

    def _count_broken(self, timestamp: int) -> None:
        self._discontinuity = True
        self._last_of_frame = None
        if timestamp != self._broken_timestamp:
            # A frame with several holes shows up several times.
            self._broken_timestamp = timestamp
            self.frames_broken += 1

    def _wait(self, packet: RtpPacket | None, sequence: int, now: float) -> None:
        """Take a packet that is not next in order, or that came while others wait."""
        waiting = self._waiting
        if sequence < self._next:
            if any(sequence in hole for hole in self._given_up):
                self.packets_late += 1
            else:
                self.packets_duplicate += 1
            return
        if sequence in waiting:
            self.packets_duplicate += 1
            return
        if not waiting:
            self._hole_since = now
            self._proof_at = sequence
        waiting[sequence] = (packet, now)
        if packet is not None:
            self._waiting_bytes += len(packet.data)
        if sequence == self._next or (sequence <= self._proof_at and self._pass_padding()):
            self._drain()
        config = self._config
        while waiting and (len(waiting) > config.max_packets or self._waiting_bytes > config.max_bytes):
            self.overflows += 1
            self._give_up_hole()

    def _drain(self) -> None:
        """Take all that is in order now, holes of padding included; then note since when a hole waits."""
        waiting = self._waiting
        while True:
            while (entry := waiting.pop(self._next, None)) is not None:
                self._next += 1
                packet, arrival = entry
                if packet is not None:
                    self._waiting_bytes -= len(packet.data)
                    self._take(packet, arrival)
            if not waiting:
                return
            if not self._pass_padding():
                break
        # Noticed when the first packet behind it came; that one need not be the lowest.
        self._hole_since = min(arrival for _, arrival in waiting.values())

    def _pass_padding(self) -> bool:
        """Go on past a hole at a frame's end when the payloads prove that it held only padding."""
        lowest = sequence = min(self._waiting)
        while (entry := self._waiting.get(sequence)) is not None and entry[0] is None:
            sequence += 1
        # Until this one or a lower one comes, another look would show nothing new.
        self._proof_at = sequence
        last = self._last_of_frame
        if last is None or self._frame or lowest - self._next > _MAX_PADDING_RUN:
            return False
        if entry is None or entry[0] is None or not self._borders.follows(last, entry[0]):
            return False
        self.holes_of_padding += 1
        self._next = lowest
        return True

    def _give_up_until(self, now: float) -> None:
        """Give up every hole whose wait is over."""
        while (deadline := self.deadline) is not None and now >= deadline:
            self._give_up_hole()

    def _give_up_hole(self) -> None:
        """Go on at the lowest packet that waits; the frame with the hole in it is lost."""
        lowest = min(self._waiting)
        if self._next < 0:
            # The start: nothing was missing, but what comes later from before it is late.
            self._given_up.append(range(lowest - SEQUENCE_JUMP, lowest))
        else:
            self._given_up.append(range(self._next, lowest))
            self.packets_given_up += lowest - self._next
            self.holes_given_up += 1
            self._break_frame()
            self._discontinuity = True
            self._last_of_frame = None
        self._contiguous = False
        self._frame_timestamp = _NO_TIMESTAMP
        self._next = lowest
        self._drain()
