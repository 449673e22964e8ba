"""Which layers to ask for over time: what the link is believed to carry, spent by `quality.allocation`, and checked.

A choice is a ceiling over the server's own allocator, which is never fought. The rules:

- *Full* (a queue that does not drain): ask for what fits into what came through. Where much is lost, first for the
  lowest layers: the queue drains soonest, and the server, which would lower everything two seconds later, finds
  nothing to do.
- *Clean*: ask for what the link is known to carry; beyond that try the next step, and wait twice as long after each
  that failed. A step that worked where one had failed is followed by the next: the link has become wider.
- *Withheld*: where the server gives less than was asked for, it probes with padding and raises by itself: left alone.
- *Estimated*: where this end tells the server an estimate, the server lowers by it in a second, and is let do so.

Loss without a queue is not congestion: lower layers are tried once, and taken back if as much is lost with them.
"""

import math
from collections import Counter
from dataclasses import dataclass, replace

from quality.allocation import Limits, Subscription, allocate, constrain
from quality.evidence import Evidence, gather
from quality.layer_steps import Ceilings, bitrate_bps, height, learned, lower, lowered, measured, steps_up
from quality.link_belief import HEADROOM, UNLIMITED, LinkBelief
from quality.stats import VideoQuality
from quality.window import Window

BAD_LOSS_RATIO = 0.06  # the server calls video with more than 6% lost POOR
CLEAN_LOSS_RATIO = 0.02  # and up to 2% EXCELLENT
HEAVY_LOSS_RATIO = 0.15  # so much lost in a queue makes the server lower everything, and takes longest to drain
TRIAL_DELAY_S = 0.04  # a queue that grows after a raise: the raise is over before anything is lost
CALM_DELAY_S = 0.03  # with more, the link is as good as full
LONG_DELAY_S = 0.08  # a standing queue: far above what jitter adds, far below the 0.3 s at which links drop
FULL_QUEUE_S = 0.15  # no second sample is waited for
BAD_SAMPLES = 2
LOSS_ALONE_SAMPLES = 5  # loss without delay is more often radio than congestion, and bursts of it pass
DRAINING = 0.9  # of the delay a second ago, and nothing lost: the queue is on its way down
USUAL_DELAY_S = 0.1  # of a jitter buffer on an idle link at most, before anything was seen
SETTLE_S = 3.0  # a switch takes 0.3 to 1.3 s, and then the queue has to drain
DRAIN_S = 6.0  # so long a queue may stand that loses nothing any more
TRIAL_S = 2.0  # a raise that is clean for so long has worked
THERE = 0.9  # of what was asked for: the new layer was received all the second
LATEST_S = 4.0  # a trial is judged by now, there or not: publishers may send less than they announced
LATE_S = 8.0  # congestion within this time of a raise is still its doing
CLEAN_S = 2.0
SERVER_S = 15.0  # within this time the server has acted on an estimate that this end tells it
BEAR_S = 60.0  # how long loss that lowering did not end is borne before it is tried again; twice as long each time
MAX_BEAR_S = 960.0
SWITCH_WINDOW_S = 60.0
MAX_SWITCHES = 6  # asked for in a minute, of a track
MAX_SWITCHES_TO_RAISE = 4  # in the last minute, of a track, as asked or as seen: with the raise and one down, 6
MAX_SWITCHES_TO_TRY = 3  # beyond what failed: the rest is for when the link changes


@dataclass(frozen=True, slots=True)
class Action:
    """Ask for `to_quality` of `track_sid` (None: disabled). `reason` and `expects` are for people, and for the log."""

    track_sid: str
    from_quality: VideoQuality | None
    to_quality: VideoQuality | None
    reason: str
    expects: str


@dataclass(frozen=True, slots=True)
class Trial:
    """An action whose effect is awaited: what was asked for before, and the loss that it is to end (lowering only)."""

    raised: bool
    began: float
    before: tuple[tuple[str, VideoQuality | None], ...]
    loss_before: float = 0.0


@dataclass(frozen=True, slots=True)
class ControllerState:
    """What `step` remembers. Begin with `ControllerState()`: nothing is known to be limited.

    `switches` are those asked for, `seen` those that windows show. Tuples of pairs are in the order of the track SIDs
    or of time.
    """

    asked: tuple[tuple[str, VideoQuality | None], ...] = ()
    inputs: tuple[tuple[Subscription, ...], Limits] | None = None
    link: LinkBelief = UNLIMITED
    trial: Trial | None = None
    quiet_until: float = -math.inf
    raised_at: float = -math.inf
    lowered_at: float = -math.inf
    bear_until: float = -math.inf
    bear_s: float = BEAR_S
    borne_loss: float = 0.0
    bad_samples: int = 0
    bad_since: float | None = None
    lossy_samples: int = 0
    clean_since: float | None = None
    estimated: bool = False
    idle_delay_s: float = USUAL_DELAY_S
    delay_s: float = 0.0
    rates_bps: tuple[tuple[str, VideoQuality, float], ...] = ()
    switches: tuple[tuple[str, float], ...] = ()
    given: tuple[tuple[str, VideoQuality], ...] = ()
    seen: tuple[tuple[str, float], ...] = ()


def step(
    state: ControllerState,
    subscriptions: tuple[Subscription, ...],
    windows: tuple[Window, ...],
    now: float,
    limits: Limits | None = None,
) -> tuple[ControllerState, tuple[Action, ...]]:
    """Take in the `windows` (about 1 s, ended at `now`) of what is received, and say what to ask for anew.

    `limits.bandwidth_bps` is a budget by policy; the estimated one lies within it. Bandwidth lowers a track to its
    lowest layer; only where all are there and the link still is too narrow is the least useful one disabled. Other
    limits work at once. A track without announced layers is left alone.
    """
    known = tuple(item for item in subscriptions if item.layers)
    inputs = (known, limits or Limits())
    if state.inputs != inputs:
        # What is asked of a new track is the server's default, its best layer.
        asked = tuple(sorted((item.track_sid, _asked(state, item)) for item in known))
        state = replace(state, inputs=inputs, asked=asked, trial=None)
        wanted = _fitting(state, state.link.budget_bps, _silent(windows))
        if wanted != dict(state.asked):
            return _ask(state, wanted, now, "who is seen, or a limit, changed", "the new layers", policy=True)
    evidence = gather(windows, dict(state.asked), state.idle_delay_s)
    if evidence is None:
        return replace(state, bad_samples=0, lossy_samples=0, clean_since=None), ()
    draining = evidence.delay_s < DRAINING * state.delay_s
    state = _count(_watch(_learn(state, windows, evidence), evidence, now), evidence, now)
    trouble = "" if draining else _trouble(state, evidence)
    if state.trial is not None:
        return _check(state, state.trial, evidence, now, trouble)
    if now < state.quiet_until or (trouble and _drains(state, evidence, now)):
        return state, ()
    if trouble:
        return (state, ()) if _server_acts(state, evidence, now) else _lower(state, evidence, now, trouble)
    if evidence.withheld:
        return state, ()
    return _raise(state, now, _silent(windows))


def _asked(state: ControllerState, subscription: Subscription) -> VideoQuality | None:
    best = max(layer.quality for layer in subscription.layers)
    return dict(state.asked).get(subscription.track_sid, best)


def _silent(windows: tuple[Window, ...]) -> frozenset[str]:
    """Tracks that send nothing: their layers are not touched, and cost nothing."""
    return frozenset(window.track_sid for window in windows if window.muted or window.was_muted)


def _count(state: ControllerState, evidence: Evidence, now: float) -> ControllerState:
    """How long it has been bad, lossy or clean."""
    borne = state.borne_loss if now < state.bear_until else 0.0
    bad = evidence.delay_s > LONG_DELAY_S or (evidence.stuck and not borne)
    lossy = evidence.loss_ratio > BAD_LOSS_RATIO + 1.5 * borne
    clean = evidence.delay_s <= CALM_DELAY_S
    return replace(
        state,
        borne_loss=borne,
        bad_samples=state.bad_samples + 1 if bad else 0,
        bad_since=(now if state.bad_since is None else state.bad_since) if bad else None,
        lossy_samples=state.lossy_samples + 1 if lossy else 0,
        clean_since=(now if state.clean_since is None else state.clean_since) if clean else None,
        estimated=state.estimated or evidence.available_bps is not None,
        idle_delay_s=evidence.idle_delay_s,
        delay_s=evidence.delay_s,
    )


def _trouble(state: ControllerState, evidence: Evidence) -> str:
    """What is wrong, in words; empty where nothing is."""
    if evidence.stuck and not state.borne_loss:
        return f"no frames, {evidence.loss_ratio:.0%} of packets lost"
    lossy = evidence.loss_ratio > CLEAN_LOSS_RATIO
    full = evidence.delay_s > FULL_QUEUE_S or (evidence.delay_s > LONG_DELAY_S and lossy)
    if full or state.bad_samples >= BAD_SAMPLES:
        return f"a queue of {evidence.delay_s * 1000:.0f} ms, {evidence.loss_ratio:.0%} of packets lost"
    if state.lossy_samples >= LOSS_ALONE_SAMPLES:
        return f"{evidence.loss_ratio:.0%} of packets lost for {state.lossy_samples} s"
    return ""


def _check(
    state: ControllerState, trial: Trial, evidence: Evidence, now: float, trouble: str
) -> tuple[ControllerState, tuple[Action, ...]]:
    """Did the last action do what was expected?"""
    if trial.raised:
        return _check_raise(state, trial, evidence, now, trouble)
    if evidence.loss_ratio > BAD_LOSS_RATIO and evidence.delay_s > LONG_DELAY_S:
        state = replace(state, link=replace(state.link, carries_bps=evidence.received_bps))
    if now - trial.began < SETTLE_S and evidence.delay_s > CALM_DELAY_S:
        return state, ()
    lossy = evidence.loss_ratio > BAD_LOSS_RATIO and evidence.delay_s <= LONG_DELAY_S and not evidence.stuck
    if lossy and evidence.loss_ratio > 0.7 * trial.loss_before:
        state = replace(
            state,
            trial=None,
            link=UNLIMITED,
            bear_until=now + state.bear_s,
            bear_s=min(MAX_BEAR_S, 2 * state.bear_s),
            borne_loss=evidence.loss_ratio,
        )
        reason = f"{evidence.loss_ratio:.0%} of packets are lost at the lower layers as well"
        return _ask(state, dict(trial.before), now, reason, "no more loss than there is")
    if trouble and not _drains(state, evidence, now):
        return _lower(replace(state, trial=None), evidence, now, trouble)
    return replace(state, trial=None) if not trouble else state, ()


def _server_acts(state: ControllerState, evidence: Evidence, now: float) -> bool:
    """Whether this end told the server of a limit, and the server is to be given time."""
    return state.estimated and state.bad_since is not None and now - state.bad_since < SERVER_S


def _drains(state: ControllerState, evidence: Evidence, now: float) -> bool:
    """Whether a queue may still be that of before the last action."""
    lossy = evidence.loss_ratio > BAD_LOSS_RATIO and not state.borne_loss
    return not lossy and not evidence.stuck and now < state.lowered_at + DRAIN_S


def _check_raise(
    state: ControllerState, trial: Trial, evidence: Evidence, now: float, trouble: str
) -> tuple[ControllerState, tuple[Action, ...]]:
    blind = _spent(state) > state.link.carries_bps
    if not trouble and evidence.delay_s > (TRIAL_DELAY_S if blind else LONG_DELAY_S):
        trouble = f"a queue of {evidence.delay_s * 1000:.0f} ms"
    if trouble:
        return _undo(state, trial, evidence, now, f"the raise brought {trouble}")
    there = evidence.received_bps >= THERE * _spent(state)
    if now - trial.began < (TRIAL_S if there else LATEST_S):
        return state, ()
    if evidence.withheld:
        return replace(state, trial=None), ()  # the server probes for it
    if evidence.delay_s > CALM_DELAY_S:
        return state, ()  # not yet clear
    return replace(state, trial=None, link=state.link.carried(_spent(state))), ()


def _undo(
    state: ControllerState, trial: Trial, evidence: Evidence, now: float, reason: str
) -> tuple[ControllerState, tuple[Action, ...]]:
    """Back to what was before the raise; lower, where not even that comes through."""
    before = dict(trial.before)
    needed = bitrate_bps(_measured(state), before)
    link = state.link.failed(_spent(state), now)
    link = replace(
        link, carries_bps=max(evidence.received_bps, 0.0 if math.isinf(link.carries_bps) else link.carries_bps)
    )
    if evidence.received_bps < HEADROOM * needed and evidence.delay_s > LONG_DELAY_S:
        link = replace(link, carries_bps=evidence.received_bps)
        before = {sid: lower(before[sid], quality) for sid, quality in _fitting(state, link.budget_bps).items()}
    return _ask(replace(state, trial=None, link=link, lowered_at=now), before, now, reason, "what was before the raise")


def _lower(
    state: ControllerState, evidence: Evidence, now: float, trouble: str
) -> tuple[ControllerState, tuple[Action, ...]]:
    """Spend no more than came through; at least one step down."""
    before, spent = dict(state.asked), _spent(state)
    if now - state.lowered_at < LATE_S:
        # What filled it was asked for before, and is already judged; only, it carries less than was thought.
        link = replace(state.link, carries_bps=evidence.received_bps)
    else:
        link = state.link.full(evidence.received_bps, spent, now)
    heavy = evidence.loss_ratio > HEAVY_LOSS_RATIO and evidence.delay_s > LONG_DELAY_S
    budget = 0.0 if heavy else min(link.budget_bps, spent - 1.0)
    given: Ceilings = {**before, **dict(evidence.given)}
    lowest = _fitting(state, 0.0)
    wanted = lowered(before, given, _fitting(state, budget))
    if all(height(given[sid]) <= height(lowest[sid]) for sid in before):
        # All are at their lowest, and still it is too much: the least useful goes, for the others to be seen.
        wanted = lowered(before, given, _fitting(state, link.budget_bps, disable=True))
    state = replace(state, link=link, clean_since=None, raised_at=-math.inf, lowered_at=now)
    if wanted == before:
        return replace(state, quiet_until=now + SETTLE_S), ()
    trial = Trial(False, now, state.asked, evidence.loss_ratio)
    return _ask(replace(state, trial=trial), wanted, now, trouble, "no queue and less loss")


def _raise(
    state: ControllerState, now: float, silent: frozenset[str] = frozenset()
) -> tuple[ControllerState, tuple[Action, ...]]:
    """Take what fits into the link as it is known; else try the most useful step up."""
    clean_s = -1.0 if state.clean_since is None else now - state.clean_since
    before = dict(state.asked)
    if clean_s < 0:
        return state, ()
    wanted = _fitting(state, state.link.budget_bps, silent)
    if any(height(wanted[sid]) < height(before[sid]) for sid in before) or _restless(state, now):
        wanted = _steps(state, before, state.link.budget_bps, now, silent)
    if wanted == before:
        wanted = _steps(state, before, 0.0, now, silent, least=1)
        if clean_s < CLEAN_S or state.link.waits(bitrate_bps(_measured(state), wanted), now):
            return state, ()
    if wanted == before:
        return state, ()
    expects = f"these layers, and no queue within {TRIAL_S:.0f} s"
    state = replace(state, trial=Trial(True, now, state.asked), raised_at=now)
    return _ask(state, wanted, now, f"clean for {clean_s:.0f} s", expects)


def _steps(
    state: ControllerState,
    before: Ceilings,
    budget_bps: float,
    now: float,
    silent: frozenset[str] = frozenset(),
    least: int = 0,
) -> dict[str, VideoQuality | None]:
    """Steps up from `before`, of tracks that are neither restless nor silent."""
    assert state.inputs is not None
    trying = least > 0 and bool(state.link.failures) and not state.link.widened
    kept = _restless(state, now, MAX_SWITCHES_TO_TRY if trying else MAX_SWITCHES_TO_RAISE) | silent
    top = {sid: before[sid] if sid in kept else quality for sid, quality in _fitting(state, math.inf).items()}
    recent = Counter(sid for sid, at in state.seen if at > now - SWITCH_WINDOW_S)
    return steps_up(_measured(state), before, top, state.inputs[1], budget_bps, least, recent)


def _watch(state: ControllerState, evidence: Evidence, now: float) -> ControllerState:
    """Remember which tracks changed their layer, by the server's will as by ours."""
    before = dict(state.given)
    changed = tuple((sid, now) for sid, quality in evidence.given if before.get(sid, quality) != quality)
    seen = tuple(entry for entry in state.seen if entry[1] > now - SWITCH_WINDOW_S)
    return replace(state, given=evidence.given, seen=seen + changed)


def _restless(
    state: ControllerState, now: float, most: int = MAX_SWITCHES_TO_RAISE, *only: tuple[tuple[str, float], ...]
) -> set[str]:
    """Tracks that switched more than `most` times in the last minute, as asked or as seen."""
    recent = (
        Counter(sid for sid, at in each if at > now - SWITCH_WINDOW_S) for each in only or (state.switches, state.seen)
    )
    return {sid for each in recent for sid, count in each.items() if count > most}


def _ask(
    state: ControllerState, wanted: Ceilings, now: float, reason: str, expects: str, *, policy: bool = False
) -> tuple[ControllerState, tuple[Action, ...]]:
    before = dict(state.asked)
    if not policy:  # what was switched so often is left to the server
        restless = _restless(state, now, MAX_SWITCHES - 1, state.switches)
        wanted = {sid: before[sid] if sid in restless else quality for sid, quality in wanted.items()}
    actions = tuple(
        Action(sid, before[sid], wanted[sid], reason, expects) for sid in sorted(wanted) if wanted[sid] != before[sid]
    )
    switches = tuple(entry for entry in state.switches if entry[1] > now - SWITCH_WINDOW_S)
    return replace(
        state,
        asked=tuple(sorted(wanted.items())),
        quiet_until=now + SETTLE_S,
        bad_samples=0,
        lossy_samples=0,
        clean_since=None,
        switches=switches + tuple((action.track_sid, now) for action in actions),
    ), actions


def _measured(state: ControllerState) -> tuple[Subscription, ...]:
    """The subscriptions with bitrates as measured where they are, else as announced, else LiveKit's presets."""
    assert state.inputs is not None
    return measured(state.inputs[0], state.rates_bps)


def _fitting(
    state: ControllerState, budget_bps: float, silent: frozenset[str] = frozenset(), *, disable: bool = False
) -> dict[str, VideoQuality | None]:
    """The best ceilings within `budget_bps`; it disables a track only where told so. Silent tracks keep theirs."""
    assert state.inputs is not None
    subscriptions, limits = _measured(state), state.inputs[1]
    if not silent and math.isinf(min(budget_bps, limits.cpu_cores, limits.bandwidth_bps)):
        allowed = [(item.track_sid, constrain(item, limits)[0]) for item in subscriptions]
        return {sid: layers[-1].quality if layers else None for sid, layers in allowed}
    if not disable:
        lowest = [min(layer.bitrate_bps for layer in item.layers) for item in subscriptions]
        budget_bps = max(budget_bps, sum(map(math.ceil, lowest)))
    limits = replace(limits, bandwidth_bps=min(limits.bandwidth_bps, max(0.0, budget_bps)))
    found = allocate(subscriptions, limits, keep_all=not disable)
    best = {choice.track_sid: choice.layer.quality if choice.layer else None for choice in found.choices}
    return best | {sid: quality for sid, quality in state.asked if sid in silent}


def _spent(state: ControllerState) -> float:
    return bitrate_bps(_measured(state), dict(state.asked))


def _learn(state: ControllerState, windows: tuple[Window, ...], evidence: Evidence) -> ControllerState:
    """What each layer takes, from seconds that it was there before and after, and in which nothing was wrong."""
    if evidence.loss_ratio > CLEAN_LOSS_RATIO or evidence.delay_s > CALM_DELAY_S:
        return state
    steady = frozenset(evidence.given) & frozenset(state.given)
    received = {window.track_sid: window.bitrate_bps for window in windows if window.frames > 0}
    return replace(state, rates_bps=learned(_measured(state), state.rates_bps, steady, received))
