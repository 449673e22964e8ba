"""A network for the tests: in memory, stepped, the same for the same seed."""

import heapq
import random
from collections.abc import Iterable
from dataclasses import dataclass, field

from media.rtp.packet import RtpPacket


@dataclass
class Link:
    """Loses, delays (and so reorders) and doubles packets. `delay_s` is the least, `jitter_s` on top."""

    seed: int = 0
    loss: float = 0.0
    burst: int = 1
    delay_s: float = 0.02
    jitter_s: float = 0.0
    duplicate: float = 0.0
    _queue: list[tuple[float, int, RtpPacket]] = field(default_factory=list)
    _order: int = 0
    _losing: int = 0

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)

    def send(self, packets: Iterable[RtpPacket], now: float) -> None:
        """Put packets on the way."""
        for packet in packets:
            if self._losing:
                self._losing -= 1
                continue
            if self._random.random() < self.loss / self.burst:
                self._losing = self.burst - 1
                continue
            copies = 2 if self._random.random() < self.duplicate else 1
            for _ in range(copies):
                arrival = now + self.delay_s + self._random.random() * self.jitter_s
                heapq.heappush(self._queue, (arrival, self._order, packet))
                self._order += 1

    def receive(self, now: float) -> list[tuple[float, RtpPacket]]:
        """What has arrived by now, with its times."""
        arrived = []
        while self._queue and self._queue[0][0] <= now:
            arrival, _, packet = heapq.heappop(self._queue)
            arrived.append((arrival, packet))
        return arrived


class Retransmitter:
    """Answers NACKs as livekit-server does: three times a packet, not again within 100 ms, no padding."""

    def __init__(self) -> None:
        self._asked: dict[int, tuple[int, float]] = {}

    def answer(
        self, sequence_numbers: Iterable[int], sent: dict[int, tuple[float, RtpPacket]], now: float
    ) -> list[RtpPacket]:
        """The packets to send again."""
        again = []
        for number in sequence_numbers:
            if number not in sent or not sent[number][1].payload:
                continue
            count, last = self._asked.get(number, (0, sent[number][0]))
            if count < 3 and now - last > 0.1:
                self._asked[number] = (count + 1, now)
                again.append(sent[number][1])
        return again
