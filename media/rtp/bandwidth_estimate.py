"""What the way to us carries, for REMB: nothing is held back until a queue stands or packets are lost.

docs/decisions/0010-bandwidth-feedback.md explains the estimator and the server it talks to.
"""

import math
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from media.rtp.capacity_probe import Way
from media.rtp.packet import RtpPacket
from media.rtp.queueing_delay import QueueingDelay

CEILING_BPS = 100_000_000  # livekit-server's own word for "no limit known"
FLOOR_BPS = 50_000  # below it not even a thumbnail is sent

_INTERVAL_S = 0.05
_KEPT_INTERVALS = 40

# A queue stands when it never empties: a key frame's burst drains, an overload does not (after CoDel, RFC 8289).
_STANDING_WINDOW_S = 0.5
_STANDING_DELAY_S = 0.05
_GROWING_S = 0.005  # between the window's halves
_FULL_QUEUE_S = 0.2  # a queue this long is full if it does not shrink fast
_FULL_DRAINING_S = 0.05
# With shallow buffers overload shows as loss; radio links lose up to a tenth without any.
_LOSS_WINDOW_S = 2.0
_LOSS_RATIO = 0.1
_LOSS_PACKETS = 10
_CHANCE_SIGMA = 3.0  # fewer, or less above the ratio than this many standard deviations, is chance

_BACKOFF = 0.85  # the rest drains the queue
# The server's detector takes 0.6 s, the key frame of the lower layer up to 1 s. Its other detector, of NACKs for
# packets asked for before, commits whatever is sent 2 to 3 s after a first such NACK, again with each REMB,
# down to nothing: between is silence.
_SETTLE_S = 3.1
# A fall that is told while the server probes ends the probe, and nothing else: where the queue still stands by the time
# that a lower layer would be there, it is told again. The value is the same, so that it does nothing if it was heard.
_RETELL_S = 1.5
_REGAIN_PER_S = 0.01
_REGAIN_LIMIT = 1.1

# A burst or a probe that came through without a queue is proof of that much.
_PROOF_WINDOW_S = 0.2
_PROOF_DELAY_S = 0.015
_PACKET_BITS = 1200 * 8  # takes as long as that on the way itself: 20 ms at 0.5 Mb/s are no queue
_PROOF_MARGIN = 0.97
# A raise that led to overuse at once was no proof (a burst that a shaper let through): the next are believed up to
# what is clearly below it, or where they are clearly above it, and above what came when the way was full.
_BELOW = 0.85
_PASSED = 1.1
_FAILED_RAISE_S = 10.0
_DISTRUST_S = 5.0
_DISTRUST_LIMIT_S = 60.0

# More than radio loses, in 0.2 s: the queue has no more room.
_SOME_LOST = 3
_LOST_SHARE = 0.15
_ROUND_TRIP_S = 0.3  # within it comes what was asked for

# A probe is a burst of padding, or of packets that nobody lacks: 200 kb/s at least, beside what is sent anyway. One
# that is not answered says nothing to the server, which then sends ever longer ones. One that fills the queue is
# answered by falling values before it harms.
_PROBE_WINDOW_S = 0.15
_PROBE_SHARE = 0.05
_PROBE_BPS = 100_000
_PROBE_DELAY_S = 0.06
_PROBE_STEPS = 5  # the server ends a probe after 3 falling values

# The server sees congestion in 12 falling values in a row, and its end in 6 rising ones after them.
_FALL_STEPS = 14
_FALL_STEP = 0.01
_FALL_INTERVAL_S = 0.04
_CLEAR_AFTER_S = 1.2
_CLEAR_LATE_S = 2.4  # of what was told again: by then the server's window of NACKs is over
_CLEAR_STEPS = 8
_CLEAR_STEP = 0.001
_CLEAR_INTERVAL_S = 0.08
_PROBE_INTERVAL_S = 0.1  # a probe of 0.2 s is judged by at least 3 values
_PROBED_S = 0.7  # until the server has judged it
_IDLE_INTERVAL_S = 3.1  # longer than the window of the server's detector of repeated NACKs


@dataclass(slots=True)
class _Interval:
    """What arrived in 50 ms."""

    number: int
    octets: int = 0
    probe_octets: int = 0
    least_delay_s: float = float("inf")
    expected: int = 0
    received: int = 0


@dataclass(slots=True)
class _Proof:
    """The most that came within 0.2 s, without a queue and with one: of a probe from this end as a whole.

    A burst that a shaper lets through is followed by a queue.
    """

    clear_bps: float = 0.0
    full_bps: float = 0.0


class BandwidthEstimator:
    """Feed every packet that carries abs-send-time; `poll` gives the value of a REMB whenever one is due.

    Rates are of RTP packets with their headers, in bit/s, as the server counts its layers. Packets
    without abs-send-time (audio) are left out on both sides.
    """

    def __init__(self) -> None:
        self._delay = QueueingDelay()
        self._intervals: deque[_Interval] = deque(maxlen=_KEPT_INTERVALS)
        self._highest: dict[int, int] = {}
        self._limit_bps: float | None = None
        self._decreased_to_bps = 0.0
        self._full_bps = 0.0
        self._raised_by_bps = 0.0
        self._raised_to_bps = 0.0
        self._failed_bps = 0.0
        self._believed_bps = math.inf
        self._evaluated = -1
        self._settled_at = 0.0
        self._raised_at = float("-inf")
        self._distrust_s = 0.0
        self._trusts_at = 0.0
        self._script: deque[tuple[float, float]] = deque()
        self._due = 0.0
        self._probed_until = 0.0
        self._retold_at = math.inf
        self._own_until = 0.0
        self._proving = False
        self._own_proof = _Proof()

    @property
    def limit_bps(self) -> float | None:
        """The estimate; None while no limit of the way was seen."""
        return self._limit_bps

    def receive(
        self,
        packet: RtpPacket,
        send_time: int,
        arrival_time: float,
        *,
        retransmission: bool = False,
        probe: bool = False,
    ) -> None:
        """Take a packet, sent at `send_time` (24 bits of abs-send-time); `arrival_time` in seconds.

        `probe`: it brings nothing that was lacking, and so was sent to see whether it arrives.
        """
        number = int(arrival_time / _INTERVAL_S)
        intervals = self._intervals
        if not intervals or number > intervals[-1].number:
            intervals.append(_Interval(number))
        interval = intervals[-1]
        size = len(packet.data)
        interval.octets += size
        interval.least_delay_s = min(interval.least_delay_s, self._delay.observe(send_time, arrival_time))
        if probe:
            interval.probe_octets += size
        if retransmission:
            return
        interval.received += 1
        highest = self._highest.get(packet.ssrc)
        step = 1 if highest is None else (packet.sequence_number - highest + 0x8000 & 0xFFFF) - 0x8000
        if step > 0:
            interval.expected += step
            self._highest[packet.ssrc] = packet.sequence_number

    def way(self, now: float) -> Way:
        """What is seen of the way, for a probe from this end."""
        octets = sum(item.octets - item.probe_octets for item in self._recent(now, _STANDING_WINDOW_S))
        recent = list(self._recent(now, _PROOF_WINDOW_S))
        expected, received = sum(item.expected for item in recent), sum(item.received for item in recent)
        return Way(
            limit_bps=self._limit_bps,
            full_bps=self._full_bps,
            rate_bps=octets * 8 / _STANDING_WINDOW_S,
            delay_s=self._queued_s(now),
            falling=now < self._settled_at,
            probed=self._probed(now),
            loses=expected - received >= max(_SOME_LOST, _LOST_SHARE * expected),
            proving=self._proving,
        )

    def own_probe(self, now: float) -> None:
        """Packets were asked for once more: what nobody lacks is not the server's probe for a round trip from now."""
        self._own_until, self._proving = now + _ROUND_TRIP_S + _PROBE_WINDOW_S, True

    def poll(self, now: float) -> int | None:
        """The bit rate to tell the server now; None where nothing is due."""
        if not self._intervals:
            return None
        number = int(now / _INTERVAL_S)
        if number > self._evaluated:
            self._evaluated = number
            self._evaluate(now)
        if self._script:
            if now < self._script[0][0]:
                return None
            self._due = now + _IDLE_INTERVAL_S
            return round(self._script.popleft()[1])
        if now < self._due:
            return None
        self._due = now + (_PROBE_INTERVAL_S if now < self._probed_until else _IDLE_INTERVAL_S)
        return round(self._limit_bps or CEILING_BPS)

    def _evaluate(self, now: float) -> None:
        if now < self._settled_at:
            if self._limit_bps is not None and now >= self._retold_at:
                self._retold_at = math.inf
                if self._queue_stands(now):
                    self._tell_fall(now, self._limit_bps, _CLEAR_LATE_S)
            return
        probed = self._probed(now)
        if probed:
            self._stay_active(now)
        if self._queue_stands(now) or self._loses(now):
            self._decrease(now)
        elif probed and self._least_delay(now, _PROBE_WINDOW_S) > _PROBE_DELAY_S:
            self._refuse_probe(now)
        elif self._limit_bps is not None:
            self._increase(now)

    def _decrease(self, now: float) -> None:
        self._full_bps = self._rate(now, _STANDING_WINDOW_S)
        limit = _BACKOFF * self._full_bps
        if self._limit_bps is not None:
            # What was told had no effect, or not enough: the server takes it only 5% below what it sends.
            in_vain = now - self._settled_at < _SETTLE_S
            limit = min(limit, self._limit_bps * (_BACKOFF if in_vain else 1))
        limit = max(FLOOR_BPS, limit)
        if now - self._raised_at < _FAILED_RAISE_S:
            self._distrust_s = min(_DISTRUST_LIMIT_S, max(_DISTRUST_S, 2 * self._distrust_s))
            self._failed_bps = max(self._failed_bps, self._raised_by_bps)
            self._believed_bps = min(self._believed_bps, _BELOW * self._raised_to_bps)
            self._raised_at = float("-inf")
        elif now - self._settled_at >= _SETTLE_S:
            self._forgive()  # no raise did this: the way is another one
        self._trusts_at = now + self._distrust_s
        self._limit_bps = self._decreased_to_bps = limit
        self._tell_fall(now, limit, _CLEAR_AFTER_S)
        self._retold_at = now + _RETELL_S

    def _tell_fall(self, now: float, limit: float, clear_after_s: float) -> None:
        self._settle(now + _SETTLE_S)
        falling = ((_FALL_INTERVAL_S * step, 1 + _FALL_STEP * (_FALL_STEPS - 1 - step)) for step in range(_FALL_STEPS))
        clearing = (
            (clear_after_s + _CLEAR_INTERVAL_S * step, 1 + _CLEAR_STEP * (1 + step)) for step in range(_CLEAR_STEPS)
        )
        self._script = deque((now + after, limit * share) for after, share in (*falling, *clearing))

    def _refuse_probe(self, now: float) -> None:
        """Let the probe end; the estimate was not what it tried, so it stays."""
        limit = self._limit_bps or CEILING_BPS
        self._script = deque(
            (now + _FALL_INTERVAL_S * step, limit * (1 - _FALL_STEP * (1 + step))) for step in range(_PROBE_STEPS)
        )
        self._settle(now + _PROBE_STEPS * _FALL_INTERVAL_S + _STANDING_WINDOW_S)
        self._stay_active(now)

    def _settle(self, until: float) -> None:
        """Nothing is concluded until then; what a probe proved before is of a way that is another one now."""
        self._settled_at, self._own_proof, self._proving = until, _Proof(), False

    def _increase(self, now: float) -> None:
        limit = self._limit_bps or CEILING_BPS
        if limit < _REGAIN_LIMIT * self._decreased_to_bps:
            limit *= 1 + _REGAIN_PER_S * _INTERVAL_S
        rate, proof = self._rate(now, _PROOF_WINDOW_S), self._own_proof
        if self._queued_s(now) < _PROOF_DELAY_S:
            proof.clear_bps = max(proof.clear_bps, rate)
        else:
            proof.full_bps = max(proof.full_bps, rate)
        if now >= self._own_until:
            limit, self._own_proof, self._proving = self._proven(now, limit, proof), _Proof(), False
        self._limit_bps = min(limit, CEILING_BPS)

    def _proven(self, now: float, limit: float, proof: _Proof) -> float:
        """The limit by what came without a queue, and where one stood behind it, by what that let out."""
        rate = proof.clear_bps
        passed = rate > _PASSED * max(self._full_bps, self._failed_bps)
        if now >= self._trusts_at:
            self._forgive()
        proven = min(_PROOF_MARGIN * rate, math.inf if passed else self._believed_bps)
        if proof.full_bps:
            proven = min(proven, _BACKOFF * proof.full_bps)
        if proven <= limit:
            return limit
        self._raised_at, self._raised_by_bps, self._raised_to_bps = now, rate, proven
        return proven

    def _forgive(self) -> None:
        """Believe proofs of whatever rate again."""
        self._failed_bps, self._believed_bps = 0.0, math.inf

    def _stay_active(self, now: float) -> None:
        self._probed_until = now + _PROBED_S
        self._due = min(self._due, now + _PROBE_INTERVAL_S)

    def _recent(self, now: float, window_s: float) -> Iterator[_Interval]:
        """The whole intervals of the window, newest first; the one under way is left out."""
        current = int(now / _INTERVAL_S)
        first = current - round(window_s / _INTERVAL_S)
        for interval in reversed(self._intervals):
            if interval.number < first:
                return
            if interval.number < current:
                yield interval

    def _rate(self, now: float, window_s: float) -> float:
        return sum(item.octets for item in self._recent(now, window_s)) * 8 / window_s

    def _least_delay(self, now: float, window_s: float) -> float:
        return min((item.least_delay_s for item in self._recent(now, window_s)), default=0.0)

    def _queued_s(self, now: float) -> float:
        """The least time that a packet of the last moments waited for others."""
        own_s = _PACKET_BITS / self._limit_bps if self._limit_bps else 0.0
        return max(0.0, self._least_delay(now, _PROOF_WINDOW_S / 2) - own_s)

    def _queue_stands(self, now: float) -> bool:
        recent = list(self._recent(now, _STANDING_WINDOW_S))
        half = len(recent) // 2
        if half < 2:
            return False
        later = min(item.least_delay_s for item in recent[:half])
        earlier = min(item.least_delay_s for item in recent[half:])
        if min(later, earlier) < _STANDING_DELAY_S:
            return False
        return later > earlier + _GROWING_S or (later >= _FULL_QUEUE_S and later > earlier - _FULL_DRAINING_S)

    def _loses(self, now: float) -> bool:
        expected = received = 0
        # What was lost before the server could react to the last decrease is told already.
        for item in self._recent(now, min(_LOSS_WINDOW_S, now - self._settled_at)):
            expected += item.expected
            received += item.received
        lost = expected - received
        chance = _CHANCE_SIGMA * math.sqrt(_LOSS_RATIO * (1 - _LOSS_RATIO) * max(0, expected))
        return lost >= _LOSS_PACKETS and lost > _LOSS_RATIO * expected + chance

    def _probed(self, now: float) -> bool:
        """Whether the server probes."""
        if now < self._own_until:
            return False
        octets = probe = 0
        for item in self._recent(now, _PROBE_WINDOW_S):
            octets += item.octets
            probe += item.probe_octets
        return probe > max(_PROBE_SHARE * octets, _PROBE_BPS / 8 * _PROBE_WINDOW_S)
