"""One subscriber's room in steps of 0.1 s: publishers, server, link with a queue, receiver. Yields a window a second.

A fluid model: rates, not packets. Pictures wait for what a full queue dropped, a round trip for each time that it is
dropped again; where packets are lost for good they stand still until a key frame has come (W3C counts that as a
freeze): of a layer that is switched to, or one that was asked for. They are late where the queue grows. Each track
draws from a seeded stream of its own, the same number of times at every tick.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from random import Random

from quality.allocation import Subscription, utility
from quality.layer_steps import height
from quality.stats import InboundRtp, TrackKind, TrackSnapshot, TrackSource, VideoLayer, VideoQuality
from quality.window import Window, delta
from tests.simulation.links import TICK_S, Trace
from tests.simulation.receivers import Arrival, Receiver, SdkReceiver
from tests.simulation.server import TEMPORAL_BITS, TEMPORAL_LAYERS, Server, quality_of
from tests.simulation.track import NOTHING_AGAIN, PLI_THROTTLE_S, REPEATS, FrameSize, Track

EPOCH = 1_800_000_000.0
QUEUE_S = 0.3  # RFC 8867: the bottleneck's queue
PROPAGATION_S = 0.05
PACKET_BITS = 1100 * 8
ACCESS_BPS = 8e6  # publishers' ways to the server space packets too
ASSEMBLY_DEVIATION = 0.15  # of a second's assembly times, as seen on a real link
AUDIO_BPS = 96_000.0  # of the whole room
REPAIRED = 0.97  # of packets lost at random come again in time
KEY_FRAME_S = 0.2  # a key frame is as many bits as this much of its layer
UNDECODED_S = 3.0  # without a frame, and libwebrtc asks for a key frame, as seen live
BUFFERED_S = 0.1  # of pictures wait in the jitter buffer
SWITCH_S = (0.3, 1.3)  # from request to the new layer's first key frame, as seen live
PING_S = 2.0  # the SDK measures its round trip this often
USED_LATELY = 0.2  # what a tick counts of
FREEZE_S = 0.25  # W3C: average + 150 ms, at 20 frames a second and more


@dataclass(frozen=True, slots=True)
class Second:
    """What was seen in a second: weighted utility a track (mean over it), qualities forwarded, freezes so far, load."""

    utility: float
    forwarded: tuple[VideoQuality | None, ...]
    freezes: int
    frozen_s: float
    queue_s: float


@dataclass(frozen=True, slots=True)
class Spacing:
    """How far apart packets of a frame come, beside the link's rate.

    A shaper lets so much pass at once as its bucket of tokens has, which is as empty as the link is used (as measured,
    docs/performance.md). `jitter_s` comes between the first and the last packet of each frame.
    """

    bucket_bits: float = 0.0
    jitter_s: float = 0.0


EVEN = Spacing()


@dataclass(slots=True)
class World:
    """Advance with `second()`; tell it what to ask for with `ask()`.

    `subscriptions` have the layers that are sent, `announced` those that were announced, where those are more.
    """

    trace: Trace
    subscriptions: tuple[Subscription, ...]
    seed: int = 0
    tick: int = 0
    queue_bits: float = 0.0
    receiver: Receiver = field(default_factory=SdkReceiver)
    pending: list[tuple[float, str, VideoQuality | None]] = field(default_factory=list)
    was_queued_s: float = 0.0
    round_trip_s: float = 2 * PROPAGATION_S
    weights: tuple[float, ...] = ()
    spacing: Spacing = EVEN
    announced: tuple[Subscription, ...] = ()
    used: float = 0.0  # of the link, lately
    tracks: list[Track] = field(init=False)
    server: Server = field(init=False)
    told: dict[str, tuple[VideoLayer, ...]] = field(init=False)
    snapshots: dict[str, TrackSnapshot] = field(init=False)

    def __post_init__(self) -> None:
        self.told = {
            item.track_sid: tuple(VideoLayer(layer.quality, layer.width, layer.height) for layer in item.layers)
            for item in self.announced or self.subscriptions
        }
        self.tracks = [Track(item, Random(f"{self.seed} {item.track_sid}")) for item in self.subscriptions]
        for track in self.tracks:
            track.measuring = Random(f"{self.seed} {track.subscription.track_sid} assembly")
            track.forwarded = track.switch_to = max(layer.quality for layer in track.subscription.layers)
        rates = {
            item.track_sid: tuple(layer.bitrate_bps for layer in sorted(item.layers, key=lambda layer: layer.quality))
            for item in self.subscriptions
        }
        self.server = Server(rates)
        self.receiver.wanted_bps = sum(max(own) for own in rates.values())
        self.snapshots = {track.subscription.track_sid: self._snapshot(track) for track in self.tracks}

    @property
    def now(self) -> float:
        return self.tick * TICK_S

    def ask(self, wanted: Mapping[str, VideoQuality | None]) -> None:
        """Requests leave now; they are debounced and take half a round trip."""
        self.pending.extend((self.now + 0.1 + PROPAGATION_S, sid, quality) for sid, quality in wanted.items())
        for track in self.tracks:
            quality = wanted.get(track.subscription.track_sid)
            if quality is not None:
                track.requested = quality

    def second(self) -> tuple[tuple[Window, ...], Second]:
        """One second on: each track's window, as a poller sees it, and what a viewer saw."""
        worth = sum(self._tick() for _ in range(round(1 / TICK_S))) * TICK_S
        windows = []
        for track in self.tracks:
            sid = track.subscription.track_sid
            current = self._snapshot(track)
            windows.append(
                replace(delta(self.snapshots[sid], current), available_bandwidth_bps=self.receiver.known_bps)
            )
            self.snapshots[sid] = current
        seen = Second(
            worth,
            tuple(track.forwarded for track in self.tracks),
            sum(track.freezes for track in self.tracks),
            sum(track.frozen_s for track in self.tracks),
            self.was_queued_s,
        )
        return tuple(windows), seen

    def _tick(self) -> float:
        """A tenth of a second; the utility of what was shown in it."""
        capacity, loss = self.trace.capacity_bps[self.tick], self.trace.loss[self.tick]
        self._requests()
        offered = [self._offered(track) for track in self.tracks]
        other = (AUDIO_BPS + self.server.padding_bps + self.receiver.asked_bps) * TICK_S
        total = sum(offered) + other
        carried = min(self.queue_bits + total, capacity * TICK_S)
        queued = self.queue_bits + total - carried
        dropped = max(0.0, queued - QUEUE_S * capacity)
        self.queue_bits = queued - dropped
        congestion = min(1.0, dropped / total) if total else 0.0
        delay = self.queue_bits / capacity
        self.used += USED_LATELY * (carried / (capacity * TICK_S) - self.used)
        # The queue is first in, first out: what comes out of it is shared as what goes in.
        worth = sum(
            self._receive(track, bits, loss, congestion, delay, carried / total)
            for track, bits in zip(self.tracks, offered, strict=True)
        )
        self._feed_back(carried, delay, total, loss + congestion)
        self.tick += 1
        return worth

    def _requests(self) -> None:
        due = [entry for entry in self.pending if entry[0] <= self.now]
        self.pending = [entry for entry in self.pending if entry[0] > self.now]
        for _, sid, quality in due:
            self.server.ask(sid, quality, self.now)
        for track in self.tracks:
            sid = track.subscription.track_sid
            rung = self.server.target[sid]
            target = quality_of(rung)
            if rung >= 0:
                track.temporal = rung % TEMPORAL_LAYERS  # takes no key frame
            latency = track.random.uniform(*SWITCH_S)
            if target != track.switch_to:
                track.switch_to, track.switch_at = target, self.now + (0.0 if target is None else latency)
            if track.switch_at is not None and self.now >= track.switch_at:
                track.key_frame = track.switch_to is not None and track.forwarded != track.switch_to
                track.forwarded, track.switch_at = track.switch_to, None
                if track.key_frame and track.broken_until is not None:
                    self._thaw(track)
            if track.switch_at is None:
                self.server.switching.discard(sid)
            else:
                self.server.switching.add(sid)

    def _offered(self, track: Track) -> float:
        """Bits that the server sends of the track in this tick, retransmissions among them."""
        track.scene += -0.1 * track.scene + track.random.gauss(0.0, 0.03)
        layer = track.layer()
        if layer is None or self._is_lowered_by_server(track):
            track.again_bits = NOTHING_AGAIN
            return 0.0
        track.key_frame_bits = KEY_FRAME_S * layer.bitrate_bps if track.key_frame else 0.0
        track.key_frame = False
        if track.asked_key_frame and self.now >= track.asked_key_frame_at:
            track.again_bits = NOTHING_AGAIN  # the server sends nothing again until the key frame is there
        return layer.bitrate_bps * track.activity * TICK_S + track.key_frame_bits + sum(track.again_bits)

    def _is_lowered_by_server(self, track: Track) -> bool:
        """Whether the server waits for a lower layer's key frame for want of bandwidth.

        Until then it sends nothing of the track, nor anything again. It does not do so where less is asked for.
        """
        sid = track.subscription.track_sid
        awaits_less = track.switch_at is not None and height(track.switch_to) < height(track.forwarded)
        return awaits_less and sid in self.server.lacking

    def _receive(
        self, track: Track, bits: float, loss: float, congestion: float, delay: float, through: float
    ) -> float:
        chance = track.random.random()
        layer = track.layer()
        if layer is None:
            track.broken_until, track.asked_key_frame = None, False
            return 0.0
        if not bits:  # the server waits for a key frame
            self._stand_still(track, self.now + TICK_S)
            return 0.0
        lost = min(1.0, loss + congestion)
        packets = bits / PACKET_BITS
        fresh = bits - sum(track.again_bits)
        came = bits * (1.0 - loss) * through
        sizes = track.frame_sizes()
        packet_bits = sum(share * size for share, size, _ in sizes) / sum(share * number for share, _, number in sizes)
        track.packets += came / packet_bits
        track.lost += bits / packet_bits * lost
        track.bytes += came / 8
        arrived = min(1.0, bits * through / fresh)
        track.again_bits = fresh * lost, *(again * lost for again in track.again_bits[:-1])
        self._break(track, packets, loss, congestion, delay, chance)
        if track.broken_until is not None:
            if self.now < track.broken_until:
                return 0.0
            track.key_frame = track.asked_key_frame
            self._thaw(track)
        frames = layer.fps * TICK_S * came / fresh  # more than are sent, where a queue drains
        track.frames += frames
        track.buffer_s += frames * (0.04 + delay)
        self._assemble(track, sizes, frames, lost, delay)
        weight = self.weights[self.tracks.index(track)] if self.weights else 1.0
        return weight * arrived * utility(layer, track.subscription)

    def _break(self, track: Track, packets: float, loss: float, congestion: float, delay: float, chance: float) -> None:
        """The picture stands still for what is missing: until it comes again, or, where it does not, a key frame."""
        if track.asked_key_frame:
            return
        round_trip = 2 * PROPAGATION_S + delay
        # Where others than the base layer's are missing it shows fewer frames, and goes on.
        needed = packets * TEMPORAL_BITS[0]
        # What radio drops mostly comes again.
        whole = (1.0 - loss * (1.0 - REPAIRED)) ** packets
        gone = 1.0 - whole * (1.0 - congestion ** (REPEATS + 1)) ** needed
        if chance < gone:
            waited_s = UNDECODED_S if chance >= 1.0 - whole else 0.0
            track.pli += 1
            track.asked_key_frame = True
            track.asked_key_frame_at = max(self.now + waited_s, track.asked_key_frame_at + PLI_THROTTLE_S)
            self._stand_still(track, track.asked_key_frame_at + round_trip + KEY_FRAME_S)
            return
        again = next((at for at in range(REPEATS, 0, -1) if chance < 1.0 - (1.0 - congestion**at) ** needed), 0)
        late_s = again * round_trip - BUFFERED_S
        if late_s > TICK_S / 2:
            self._stand_still(track, self.now + late_s)

    def _stand_still(self, track: Track, until: float) -> None:
        if track.broken_until is None:
            track.broken_since, track.broken_until = self.now, until
        track.broken_until = max(track.broken_until, until)

    def _assemble(self, track: Track, sizes: tuple[FrameSize, ...], frames: float, lost: float, delay: float) -> None:
        """Packets of a frame arrive as far apart as the link sends them; one that is lost comes a round trip later."""
        if self.tick % round(1 / TICK_S) == 0:
            track.measured = math.exp(track.measuring.gauss(0.0, ASSEMBLY_DEVIATION))
        rate = min(self.trace.capacity_bps[self.tick], ACCESS_BPS)
        at_once = self.spacing.bucket_bits * max(0.0, 1.0 - self.used)
        track.assembly_s += track.key_frame_bits / rate * track.measured
        for share, size, packets in sizes:
            if packets > 1:
                spaced_s = max(0.0, size * (packets - 1) / packets - at_once) / rate * track.measured
                repaired_s = (1.0 - (1.0 - lost) ** packets) * (2 * PROPAGATION_S + delay)
                track.assembled += frames * share
                track.assembly_s += frames * share * (spaced_s + repaired_s + self.spacing.jitter_s)

    def _thaw(self, track: Track) -> None:
        gap = self.now - track.broken_since
        if gap >= FREEZE_S:
            track.freezes += 1
            track.frozen_s += gap
        track.broken_until, track.asked_key_frame = None, False

    def _feed_back(self, carried: float, delay: float, total: float, lost: float) -> None:
        """The receiver's estimate and its NACKs, to the server. Sound is in neither."""
        padding = (self.server.padding_bps + self.receiver.asked_bps) * TICK_S
        video = total - AUDIO_BPS * TICK_S
        repeated = sum(sum(track.again_bits[1:]) for track in self.tracks) / PACKET_BITS
        self.server.count(video / PACKET_BITS, repeated)
        arrival = Arrival(
            self.now,
            carried * video / total / TICK_S,
            padding / video if video else 0.0,
            delay,
            video / PACKET_BITS,
            lost * video / PACKET_BITS,
        )
        for bps in self.receiver.receive(arrival):
            self.server.estimate(bps, self.now)
        self.server.step(self.now)
        self.was_queued_s = delay
        if self.tick % round(PING_S / TICK_S) == 0:
            self.round_trip_s = 2 * PROPAGATION_S + delay

    def _snapshot(self, track: Track) -> TrackSnapshot:
        layer = track.layer()
        frames = int(track.frames)
        stats = InboundRtp(
            ssrc=7,
            packets_received=int(track.packets),
            packets_lost=int(track.lost),
            bytes_received=int(track.bytes),
            jitter=0.004,
            frames_received=frames,
            frames_decoded=frames,
            frame_width=layer.width if layer else 0,
            frame_height=layer.height if layer else 0,
            freeze_count=track.freezes,
            total_freezes_duration=track.frozen_s,
            pli_count=track.pli,
            jitter_buffer_delay=track.buffer_s,
            jitter_buffer_emitted_count=frames,
            round_trip_time=self.round_trip_s,
            frames_assembled_from_multiple_packets=int(track.assembled),
            total_assembly_time=track.assembly_s,
        )
        return TrackSnapshot(
            track.subscription.track_sid,
            TrackKind.VIDEO,
            TrackSource.CAMERA,
            EPOCH + self.now,
            stats,
            requested_quality=track.requested,
            layers=self.told[track.subscription.track_sid],
        )
