"""What the layer controller remembers from second to second, and what follows from that alone."""

import math
from collections import Counter
from dataclasses import dataclass, replace

from quality.allocation import Limits, Subscription
from quality.evidence import Evidence, LayerRate, learned
from quality.layer_steps import bitrate_bps, enabled, lower, measured
from quality.layer_trials import SEEN_S, Trial, Wait
from quality.stats import VideoQuality
from quality.switches import Switches, highest_after, recent
from quality.trains import LEAST_BITS, NO_JITTER, Jitter
from quality.way_width import UNKNOWN_WIDTH, WayWidth

IDLE_QUEUE_S = 0.04
CLOSER = 2.0  # times what comes: a second's trains vary by less
ROOMY = 0.9  # of what the way carries may be asked for: scenes vary, sound and repairs come besides
WIDE = 0.5  # of what a wide way carries is all that is wanted
DRAINED = 0.7  # of what a full way carries, and less, comes: no queue stands any more
WHOLE = 0.01  # of the packets lost, at most: what came, came in its time
FILLED = 1.5  # times what comes: less than that carries a way that is full of it, and a second's trains vary
FILLED_S = 2  # a round trip is told every two seconds
ROUND_TRIP_RISE = 0.002  # a second: the least round trip seen is forgotten this slowly


@dataclass(frozen=True, slots=True)
class ControllerState:
    """What `step` remembers. Begin with `ControllerState()`: nothing is held down.

    `allowed` is what the limits leave of each track, `held` what trials lowered further. `recent` is what was seen in
    the last seconds. `troubled`, `unanswered` (the server withholds, and may not find out by itself), `clean` and
    `unbroken` (no queue, and no picture broke, whatever is lost) count seconds on end; `suffered` is the worth of each
    track in the `troubled` ones, added up. `probing` is a probe for which all was lowered; `widened` says that the last
    trial of more worked, `round_trip_s` is the least one. `switches` are those asked for, `seen` those that came, of
    the last minute; `worn` is how far up what switched in it may be asked for. `width` is what trains of packets say
    that the way carries, `jitter` what they take besides.
    """

    inputs: tuple[tuple[Subscription, ...], Limits] | None = None
    allowed: tuple[tuple[str, VideoQuality | None], ...] = ()
    held: tuple[tuple[str, VideoQuality], ...] = ()
    rates: tuple[tuple[str, VideoQuality, LayerRate], ...] = ()
    recent: tuple[Evidence, ...] = ()
    troubled: int = 0
    suffered: tuple[tuple[str, float], ...] = ()
    unanswered: int = 0
    clean: int = 0
    unbroken: int = 0
    trial: Trial | None = None
    probing: Trial | None = None
    widened: bool = False
    round_trip_s: float = math.inf
    waits: tuple[Wait, ...] = ()
    quiet_until: float = -math.inf
    raised_at: float = -math.inf
    switches: Switches = ()
    seen: Switches = ()
    worn: tuple[tuple[str, VideoQuality], ...] = ()
    muted: frozenset[str] = frozenset()
    width: WayWidth = UNKNOWN_WIDTH
    jitter: Jitter = NO_JITTER

    def counted(
        self, evidence: Evidence, now: float, *, answered: bool, proved: bool, trains: bool
    ) -> "ControllerState":
        """This with a second more.

        `answered`: this end told the server of the trouble in it; `proved`: the way is known to carry all that is
        wanted. `trains`: how far apart packets come is looked at, and what the server withholds is for this end to
        bring back; else so only once that is proved.
        """
        state = self
        if trains:
            full = self.is_full(evidence)
            # A lost packet that comes again, and a queue that grows, take their time besides.
            jitter = self.jitter if full or evidence.lost_ratio > WHOLE else self.jitter.after(evidence.trains)
            train = evidence.train.without(jitter.seconds)
            state = replace(self, jitter=jitter, width=self.width.after(train, evidence.received_bps, full=full))
        trouble, withheld = bool(evidence.trouble), evidence.withheld
        # What could not be judged for a second may have been switched in it.
        given = {item.track_sid: item.quality for each in self.recent for item in each.tracks}
        changed = tuple(
            (item.track_sid, now) for item in evidence.tracks if given.get(item.track_sid, item.quality) != item.quality
        )
        seen = recent(self.seen, now) + changed
        is_calm = bool(evidence.tracks) and not (evidence.broken or withheld) and self.is_idle(evidence)
        rates = learned(self.layer_rates, self.before, evidence)
        return replace(
            state,
            recent=(*self.recent, evidence)[-SEEN_S:],
            rates=tuple((sid, quality, rate) for (sid, quality), rate in sorted(rates.items())),
            troubled=(0 if answered else self.troubled) + 1 if trouble else 0,
            suffered=_suffered(() if answered else self.suffered, evidence) if trouble else (),
            unanswered=self.unanswered + 1 if withheld and not trouble and (trains or proved) else 0,
            clean=0 if trouble or withheld else self.clean + (1 if evidence.tracks else 0),
            unbroken=self.unbroken + 1 if is_calm else 0,
            round_trip_s=min(self.round_trip_s + ROUND_TRIP_RISE, evidence.round_trip_s or math.inf),
            seen=seen,
            worn=_worn(dict(self.worn), evidence, seen, now, roomy=state.is_roomy),
        )

    @property
    def asked(self) -> dict[str, VideoQuality | None]:
        """What is asked for of each track with layers."""
        held, top = dict(self.held), self.top
        return {sid: lower(quality, held.get(sid, quality)) for sid, quality in top.items()}

    @property
    def top(self) -> dict[str, VideoQuality | None]:
        """How far up each track may be asked for: what the limits, and the switches of the last minute, leave of it."""
        worn = dict(self.worn)
        return {sid: lower(quality, worn.get(sid, quality)) for sid, quality in self.allowed}

    @property
    def before(self) -> Evidence | None:
        """What was seen in the second before."""
        return self.recent[-1] if self.recent else None

    def holding(self, held: dict[str, VideoQuality]) -> "ControllerState":
        """This with `held` as what is held down; what the limits leave no more of anyway is not."""
        allowed = dict(self.allowed)
        kept = ((sid, quality) for sid, quality in held.items() if sid in allowed and quality != allowed[sid])
        return replace(self, held=tuple(sorted(kept)))

    def holding_also(self, held: dict[str, VideoQuality]) -> "ControllerState":
        """This with `held` besides what is held down of other tracks."""
        return self.holding({**dict(self.held), **held})

    def held_before(self, trial: Trial) -> dict[str, VideoQuality]:
        """What is held down without what `trial` changed, which is as it was before."""
        others = {sid: quality for sid, quality in self.held if sid not in trial.changed}
        return others | {sid: quality for sid, quality in trial.held if sid in trial.changed}

    def taken_back(self, trial: Trial) -> "ControllerState":
        """This as before `trial`; but where the server withheld then, no more of what was lowered than it gave whole.

        After that it grants what is asked for, and does not go back to what it had found to fit.
        """
        before, last = self.holding(self.held_before(trial)), trial.before[-1]
        if trial.raised or not last.withheld:
            return before
        # Frames that are missing where the picture broke may have been lost.
        few = {item.track_sid for each in trial.before for item in each.tracks if item.starved and not item.broken}
        given = {item.track_sid: VideoQuality(max(0, item.quality - (item.track_sid in few))) for item in last.tracks}
        asked = before.asked
        whole = {sid: lower(asked.get(sid), given[sid]) for sid in trial.changed & given.keys()}
        return before.holding_also(enabled(whole))

    def restless(self, now: float, most: int) -> set[str]:
        """Tracks that were switched more than `most` times in the last minute, as asked or as seen."""
        each = (Counter(sid for sid, _ in recent(entries, now)) for entries in (self.switches, self.seen))
        return {sid for counts in each for sid, count in counts.items() if count > most}

    @property
    def layer_rates(self) -> dict[tuple[str, VideoQuality], LayerRate]:
        """`rates` by track and layer."""
        return {(sid, quality): rate for sid, quality, rate in self.rates}

    def measured(self) -> tuple[Subscription, ...]:
        """The subscriptions with bitrates as measured, else as announced, else as these say of LiveKit's presets."""
        assert self.inputs is not None
        return measured(self.inputs[0], {key: rate.bps for key, rate in self.layer_rates.items()})

    @property
    def wanted_bps(self) -> float:
        """The bitrate of all that the limits leave, were nothing held down; what is muted takes nothing."""
        if self.inputs is None:
            return 0.0
        sending = tuple(item for item in self.measured() if item.track_sid not in self.muted)
        return bitrate_bps(sending, dict(self.allowed))

    @property
    def absent(self) -> frozenset[str]:
        """What is muted by its publisher; what the limits leave nothing of seems so too."""
        off = {sid for sid, quality in self.allowed if quality is None}
        return self.muted - off

    def judged(self, evidence: Evidence) -> tuple[Subscription, ...]:
        """The subscriptions that `evidence` tells of: what is muted takes nothing of what comes."""
        return tuple(item for item in self.measured() if item.track_sid in evidence.sids)

    def within(self, bandwidth_bps: float) -> Limits:
        """The limits, with no more bandwidth than that."""
        assert self.inputs is not None
        limits = self.inputs[1]
        return replace(limits, bandwidth_bps=min(limits.bandwidth_bps, bandwidth_bps))

    @property
    def is_roomy(self) -> bool:
        """Whether trains of packets say that the way carries all that is wanted."""
        return self._carries_wanted(ROOMY)

    @property
    def is_wide(self) -> bool:
        """Whether trains of packets say that the way carries twice what is wanted: no raise fails for want of it."""
        return self._carries_wanted(WIDE)

    @property
    def is_rising(self) -> bool:
        """Whether the way becomes wider just now, and what it carries already is not all that is wanted."""
        return self.width.rises and not self.is_roomy

    def _carries_wanted(self, share: float) -> bool:
        return self.width.bps is not None and share * self.width.bps >= self.wanted_bps

    def is_full(self, evidence: Evidence) -> bool:
        """Whether a queue stands on the way, or a picture broke as packets were lost, which is seen sooner.

        A picture may stay broken after that; one that breaks without loss waited for its first frame, or its sender.
        """
        broke = evidence.broken and (self.width.full_s > 0 or evidence.lost_ratio > WHOLE)
        full = (broke and not self._is_drained(evidence)) or not self.is_idle(evidence)
        return bool(evidence.tracks) and full

    def is_filled(self, evidence: Evidence) -> bool:
        """Whether a way of which only trials tell has been full for a while, and of no more than comes."""
        if self.width.told or self.width.full_s < FILLED_S:
            return False
        train = self.width.trains[-1]
        return train.bits >= LEAST_BITS and not train.is_closer_than(FILLED * evidence.received_bps)

    def is_idle(self, evidence: Evidence) -> bool:
        """Whether no queue stands on the way, as far as the round trip tells.

        One that was measured seconds ago is of a queue that may be gone, and a way that became longer has none.
        """
        if evidence.round_trip_s is None or evidence.round_trip_s - self.round_trip_s <= IDLE_QUEUE_S:
            return True
        return self._comes_closer(evidence) or (not evidence.is_measured_anew and self._is_drained(evidence))

    def _comes_closer(self, evidence: Evidence) -> bool:
        """Whether packets come far closer, two seconds on end, than a way full of what comes would space them."""
        if evidence.lost_ratio > WHOLE or not self.width.told:
            return False
        trains = (self.width.trains[-1], evidence.train.without(self.jitter.seconds))
        return all(each.is_closer_than(CLOSER * evidence.received_bps) for each in trains)

    def _is_drained(self, evidence: Evidence) -> bool:
        """Whether far less comes than while a queue stood, and whole: what comes through one is all that fits."""
        return evidence.lost_ratio <= WHOLE and evidence.received_bps < DRAINED * self.width.full_bps


def _worn(
    before: dict[str, VideoQuality], evidence: Evidence, seen: Switches, now: float, *, roomy: bool
) -> tuple[tuple[str, VideoQuality], ...]:
    """How far up each may be asked for that was seen to switch; what cannot be judged now as `before`.

    Only a switch that is seen `now` makes it less: what is known of the way comes and goes.
    """
    counts = Counter(sid for sid, _ in seen)
    worn = dict(before)
    for item in evidence.tracks:
        sid = item.track_sid
        top = highest_after(counts[sid], item.quality, roomy=roomy)
        worn[sid] = top if (sid, now) in seen else max(top, before.get(sid, top))
    return tuple(sorted((sid, top) for sid, top in worn.items() if counts[sid]))


def _suffered(before: tuple[tuple[str, float], ...], evidence: Evidence) -> tuple[tuple[str, float], ...]:
    worth = dict(before)
    return tuple(
        (item.track_sid, worth.get(item.track_sid, 0.0) + item.worth * (1.0 - item.frozen)) for item in evidence.tracks
    )
