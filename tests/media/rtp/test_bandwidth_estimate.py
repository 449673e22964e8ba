"""The bandwidth estimator on links and with a server of the tests' own, stepped in time."""

import itertools
import math
import random
from collections import deque
from dataclasses import dataclass, field

import pytest

from media.rtp.bandwidth_estimate import CEILING_BPS, BandwidthEstimator
from media.rtp.capacity_probe import CapacityProbe
from media.rtp.packet import RtpPacket

LAYERS_BPS = (150_000, 450_000, 1_700_000)
PACKET_BYTES = 1000
FPS = 25
STEP_S = 0.02
START = 1_700_000_000.0


@dataclass
class Link:
    """A bottleneck with a queue of 300 ms; delivers in wake-ups of 10 ms as the tap's reader does."""

    rate_bps: float
    loss: float = 0.0
    jitter_s: float = 0.0
    queue_s: float = 0.3
    free_at: float = 0.0
    chance: random.Random = field(default_factory=lambda: random.Random(1))

    def carry(self, size: int, now: float) -> float | None:
        """When a packet arrives, or None."""
        if self.free_at - now > self.queue_s or self.chance.random() < self.loss:
            return None
        self.free_at = max(self.free_at, now) + size * 8 / self.rate_bps
        return self.free_at + 0.02 + self.chance.random() * self.jitter_s


@dataclass
class Server:
    """What livekit-server 1.13.4 does with REMB, as far as one simulcast video goes.

    Congestion is seen in 12 falling values, the layer changes 0.5 s later; a probe of 0.2 s is sent
    every 3 s while a layer is missing, longer each time, and fails with falling values.
    """

    layer: int = 2
    capacity: float = CEILING_BPS
    values: deque[int] = field(default_factory=lambda: deque(maxlen=12))
    switch_at: float | None = None
    probe_until: float = 0.0
    next_probe: float = 0.0
    probe_interval: float = 3.0
    probe_duration: float = 0.2
    probe_values: list[int] = field(default_factory=list)
    switches: int = 0

    def handle(self, value: int, now: float) -> None:
        """Take a REMB."""
        if self.probe_until:
            self.probe_values.append(value)
            return
        self.values.append(value)
        falling = sum(b < a for a, b in itertools.pairwise(self.values))
        if len(self.values) == 12 and falling >= 10 and value <= 0.95 * LAYERS_BPS[self.layer]:
            self.capacity = value
            self.switch_at = self.switch_at or now + 0.5

    def rate(self, now: float) -> tuple[float, float]:
        """Bits per second of media and of probing."""
        if self.switch_at is not None and now >= self.switch_at:
            fitting = [index for index, bps in enumerate(LAYERS_BPS) if bps <= self.capacity]
            self.switches += max(fitting, default=0) != self.layer
            self.layer, self.switch_at = max(fitting, default=0), None
            self.next_probe = now + self.probe_interval
        media = LAYERS_BPS[self.layer]
        if self.layer == 2:
            return media, 0
        if self.probe_until and now > self.probe_until + 0.35:
            self._judge(now)
        elif not self.probe_until and self.switch_at is None and now >= self.next_probe:
            self.probe_until, self.probe_values = now + self.probe_duration, []
        probing = 1.2 * (LAYERS_BPS[self.layer + 1] - media) if now < self.probe_until else 0
        return media, probing

    def _judge(self, now: float) -> None:
        values, self.probe_until = self.probe_values, 0.0
        failed = any(b < a for a, b in itertools.pairwise(values))
        self.probe_interval = min(120.0, self.probe_interval * 1.5) if failed else 3.0
        self.probe_duration = 0.2 if failed else self.probe_duration * 1.5
        self.next_probe = now + self.probe_interval
        if not failed and len(values) >= 3 and max(values) >= LAYERS_BPS[self.layer + 1]:
            self.capacity, self.switch_at = max(values), now
        self.values.clear()


class Session:
    """A server, a link and the estimator; `run` lets time pass."""

    def __init__(self, link: Link) -> None:
        self.link = link
        self.server = Server()
        self.estimator = BandwidthEstimator()
        self.now = START
        self.sent: list[tuple[float, int]] = []
        self._way: deque[tuple[float, float, RtpPacket, int]] = deque()
        self._media_debt = self._probe_debt = 0.0
        self._numbers = {1: 0, 2: 0, 3: 0}
        self.wanted_bps = 0.0
        self.probes = 0
        self._probe = CapacityProbe()
        self._own_debt = self._asked_bps = 0.0

    def run(self, seconds: float) -> None:
        end = self.now + seconds
        while self.now < end:
            self.now += STEP_S
            media, probing = self.server.rate(self.now)
            self._media_debt += media / 8 * STEP_S
            self._probe_debt += probing / 8 * STEP_S
            if round(self.now / STEP_S) % round(1 / FPS / STEP_S) == 0:
                self._send(1, self._media_debt)
                self._media_debt %= PACKET_BYTES
            self._send(2, self._probe_debt)
            self._probe_debt %= PACKET_BYTES
            while self._way and self._way[0][0] <= self.now:
                arrival, sent, packet, ssrc = self._way.popleft()
                send_time = round(sent * (1 << 18)) % (1 << 24)
                self.estimator.receive(packet, send_time, arrival, retransmission=ssrc > 1, probe=ssrc == 2)
            value = self.estimator.poll(self.now)
            if value is not None:
                self.sent.append((self.now, value))
                self.server.handle(value, self.now)
            self._ask_again()

    def _ask_again(self) -> None:
        """What a probe from this end has the server send again, with its next packets."""
        asked_bps = self._probe.step(self.now, self.estimator.way(self.now), self.wanted_bps, math.inf)
        self.probes += bool(asked_bps and not self._asked_bps)
        self._asked_bps = asked_bps
        if asked_bps:
            self.estimator.own_probe(self.now)
        self._own_debt += asked_bps / 8 * STEP_S
        self._send(2, self._own_debt)
        self._own_debt %= PACKET_BYTES

    def repeat(self, rate_bps: float, seconds: float, *, lacking: bool) -> list[int]:
        """What is told while so much is retransmitted beside the media: packets that were lacking, or that were not."""
        began, debt = self.now, 0.0
        while self.now < began + seconds:
            debt += rate_bps / 8 * STEP_S
            self._send(3 if lacking else 2, debt)
            debt %= PACKET_BYTES
            self.run(STEP_S)
        return [value for at, value in self.sent if at > began]

    def _send(self, ssrc: int, debt: float) -> None:
        for _ in range(int(debt // PACKET_BYTES)):
            self._numbers[ssrc] += 1
            packet = RtpPacket.build(
                payload_type=96,
                sequence_number=self._numbers[ssrc],
                timestamp=0,
                ssrc=ssrc,
                payload=bytes(PACKET_BYTES - 12),
            )
            arrival = self.link.carry(PACKET_BYTES, self.now)
            if arrival is not None:
                last = self._way[-1][0] if self._way else 0.0
                self._way.append((max(last, arrival), self.now, packet, ssrc))


@pytest.mark.parametrize("rate_bps", [2_500_000, 5_000_000, 50_000_000])
def test_a_way_that_is_wide_enough_is_never_limited(rate_bps: float) -> None:
    session = Session(Link(rate_bps))
    session.run(60)
    assert session.estimator.limit_bps is None
    assert session.server.layer == 2
    assert {value for _, value in session.sent} == {CEILING_BPS}


def test_a_narrow_way_gets_the_layer_that_fits_and_keeps_it() -> None:
    session = Session(Link(1_000_000))
    session.run(3)
    assert session.server.layer == 1
    switches = session.server.switches
    session.run(60)
    assert session.server.layer == 1
    assert session.server.switches == switches
    limit = session.estimator.limit_bps
    assert limit is not None
    assert 700_000 <= limit <= 1_000_000


def test_a_step_down_is_below_the_way_within_two_seconds() -> None:
    session = Session(Link(5_000_000))
    session.run(20)
    session.link.rate_bps = 600_000
    session.run(2)
    assert session.server.capacity < 600_000
    session.run(1)
    assert LAYERS_BPS[session.server.layer] < 600_000


def test_a_step_up_is_found_by_the_servers_probes_within_ten_seconds() -> None:
    session = Session(Link(1_000_000))
    session.run(40)
    session.link.rate_bps = 5_000_000
    session.run(10)
    assert session.server.layer == 2
    session.run(30)
    assert session.server.layer == 2


def told_in_a_probe(rate_bps: float, *, lacking: bool) -> list[int]:
    """Of a way known to be narrow once, on which nothing is missing now."""
    session = Session(Link(1_000_000))
    session.run(8)
    session.server = Server(layer=1, next_probe=math.inf)
    session.run(6)
    return session.repeat(rate_bps, 0.5, lacking=lacking)


def test_a_probe_beside_much_else_is_answered_often_enough_for_the_server_to_judge_it() -> None:
    assert len(told_in_a_probe(150_000, lacking=False)) >= 3


def test_packets_that_were_asked_for_are_no_probe() -> None:
    assert len(told_in_a_probe(150_000, lacking=True)) <= 1, "the server counts NACKs with each value"


def without_the_servers_probes(rate_bps: float) -> Session:
    """A way that carried 1 Mb/s at first, and of which a server that does not probe sends the middle layer."""
    session = Session(Link(1_000_000))
    session.run(8)
    session.server = Server(layer=1, next_probe=math.inf)
    session.run(6)
    session.wanted_bps = LAYERS_BPS[2]
    session.link.rate_bps = rate_bps
    return session


def test_probes_from_this_end_find_a_wider_way_within_seconds_and_then_end() -> None:
    session = without_the_servers_probes(5_000_000)
    session.run(5)
    assert (session.estimator.limit_bps or 0) >= LAYERS_BPS[2]
    probes = session.probes
    session.run(20)
    assert session.probes == probes


def test_probes_from_this_end_take_nothing_from_a_way_that_is_as_narrow_as_before() -> None:
    session = without_the_servers_probes(1_000_000)
    fell = len(session.sent)
    session.run(60)
    assert session.probes >= 5
    limit = session.estimator.limit_bps
    assert limit is not None
    assert 800_000 < limit < 1_000_000
    values = [value for _, value in session.sent[fell:]]
    assert values == sorted(values), "none of them was congestion to the server"


def test_what_a_probe_proved_before_a_fall_is_forgotten() -> None:
    """A way that becomes another one during a probe of our own: packets are lost, and no queue stands."""
    session = without_the_servers_probes(5_000_000)
    session.wanted_bps = 0.0
    session.server.layer = 2
    session.run(3)
    session.wanted_bps, probes = 4_000_000, session.probes
    while session.probes == probes:
        session.run(STEP_S)
    session.run(0.25)
    session.link.loss = 0.9
    session.run(0.5)
    fell = session.estimator.limit_bps
    assert fell is not None
    assert fell < 0.8 * LAYERS_BPS[2]
    session.link.loss, session.wanted_bps = 0.0, 0.0
    session.server.layer = 1
    session.run(5)
    assert session.estimator.limit_bps == pytest.approx(fell, rel=0.1)


def test_what_failed_is_believed_up_to_clearly_less() -> None:
    """While raises are distrusted, a proof of what is below the one that failed still counts."""
    session = without_the_servers_probes(3_000_000)
    session.run(6)
    session.link.rate_bps = 1_000_000
    session.server.layer = 2
    session.run(5)
    session.server = Server(layer=0, next_probe=math.inf)
    session.wanted_bps = 0.0
    session.run(4)
    session.estimator._limit_bps = 300_000.0  # a fall too deep, as on a way that fluctuates
    told = session.repeat(600_000, 0.4, lacking=False)
    assert 600_000 < max(told) < 1_000_000


def test_a_burst_that_a_shaper_lets_through_is_believed_ever_more_seldom() -> None:
    """A token bucket: probes of 0.25 s pass faster than what lasts does."""
    session = Session(Link(1_000_000))
    session.run(8)
    session.server = Server(layer=1, next_probe=math.inf)
    session.run(6)
    fell: list[float] = []
    while session.now < START + 150:
        session.link.rate_bps = 50_000_000
        session.repeat(1_000_000, 0.25, lacking=False)
        session.run(0.3)
        session.link.rate_bps = 1_000_000
        if (session.estimator.limit_bps or 0) > 1_300_000:
            session.server.layer = 2
            session.run(1.5)
            fell.append(session.now)
            session.server = Server(layer=1, next_probe=math.inf)
        session.run(3.0)
    gaps = [later - at for at, later in itertools.pairwise(fell)]
    assert len(fell) >= 3
    assert gaps[-1] > 25
    assert all(later > gap for gap, later in itertools.pairwise(gaps[:3]))


@pytest.mark.parametrize("loss", [0.02, 0.05])
def test_loss_without_congestion_takes_nothing_away(loss: float) -> None:
    session = Session(Link(5_000_000, loss=loss))
    session.run(120)
    assert session.estimator.limit_bps is None


def test_jitter_is_no_queue() -> None:
    session = Session(Link(5_000_000, jitter_s=0.04))
    session.run(60)
    assert session.estimator.limit_bps is None


def test_a_shallow_buffer_shows_in_loss() -> None:
    session = Session(Link(1_000_000, queue_s=0.03))
    session.run(5)
    assert session.server.layer == 1


def test_key_frames_that_drain_are_no_congestion() -> None:
    session = Session(Link(2_500_000))
    for _ in range(20):
        session.run(2.9)
        session._send(1, 60_000)
        session.run(0.1)
    assert session.estimator.limit_bps is None


def test_values_fall_fast_enough_for_the_server_and_rest_while_it_would_count_nacks() -> None:
    session = Session(Link(1_000_000))
    session.run(12)
    falls = [(at, value) for at, value in session.sent if value < CEILING_BPS]
    began = falls[0][0]
    falling = [value for at, value in falls if at < began + 0.7]
    assert len(falling) >= 12
    assert falling == sorted(falling, reverse=True)
    assert len(set(falling)) == len(falling)
    rising = [value for at, value in falls if began + 1.0 < at < began + 2.0]
    assert len(rising) >= 6
    assert rising == sorted(rising)
    assert not [at for at, _ in falls if began + 2.0 < at < began + 2.9]


def test_a_fall_that_the_server_did_not_take_is_told_again_with_the_same_value() -> None:
    """As where its own probe is under way: falling values end that, and nothing else."""
    session = Session(Link(1_000_000))
    session.server.handle = lambda value, now: None  # type: ignore[method-assign]
    session.run(3.5)
    falls = [(at, value) for at, value in session.sent if value < CEILING_BPS]
    lowest = min(value for _, value in falls)
    told = [at for at, value in falls if value == lowest]
    assert 1.4 < told[1] - told[0] < 2.2
    assert not [value for at, value in falls if told[1] < at < told[1] + 1.5], "silent while the server counts NACKs"


def test_nothing_is_due_before_the_first_packet() -> None:
    assert BandwidthEstimator().poll(START) is None
