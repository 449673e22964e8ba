"""Which layers to ask for over time: a budget estimated from windows, spent by `quality.allocation`, and checked.

A choice is a ceiling over the server's own allocator, which is never fought: what the link is known to carry is left to
the server's probes; where more was asked for, or layers swing, the ceilings follow what it gives. Each action says what
it expects. A raise that brings congestion, or no better picture, is undone and the next one waits longer; lowering that
does not end the trouble (loss that comes at any rate) is undone, and that trouble is borne for a while.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

from quality.allocation import Limits, Subscription, allocate, constrain
from quality.evidence import Evidence, gather
from quality.layer_steps import bitrate_bps, lower, steps_up, with_bitrates
from quality.stats import VideoQuality
from quality.window import Window

BAD_LOSS_RATIO = 0.06  # the server calls video with more than 6% lost POOR
CLEAN_LOSS_RATIO = 0.02  # and up to 2% EXCELLENT
CALM_DELAY_S = 0.03  # with more, the link is as good as full
LONG_DELAY_S = 0.08  # a standing queue: far above what jitter adds, far below the 0.3 s at which links drop
FULL_QUEUE_S = 0.15  # no second sample is waited for
BAD_SAMPLES = 2
LOSS_ALONE_SAMPLES = 5  # loss without delay is more often radio than congestion, and bursts of it pass
USUAL_DELAY_S = 0.1  # of a jitter buffer on an idle link at most, before anything was seen
DRAINING = 0.9  # of the delay a second ago, and nothing lost: the queue is on its way down
HEADROOM = 0.85  # of what came through while the link was full: the queue has to drain, and scenes vary
SETTLE_S = 3.0  # a switch takes 0.3 to 1.3 s; the rest is the queue's and the server's
TRIAL_S = 3.0  # a raise that is clean for so long has worked
LATE_S = 10.0  # congestion within this time of a raise is still its doing
RAISE_AFTER_S = 5.0
RESTORE_AFTER_S = 2.0  # what worked before passing trouble is asked for again as soon as that is over
RAMP_FACTOR = 1.5  # after a raise that worked the next follows at once, and larger
BACKOFF_FACTOR = 2.0
MAX_RAISE_AFTER_S = 120.0
BEAR_S = 60.0  # how long trouble that lowering did not end is borne before it is tried again; twice as long each time
MAX_BEAR_S = 960.0
SWITCH_WINDOW_S = 60.0
MAX_SWITCHES_TO_RAISE = 3  # in the last minute, of a track: with the raise and two layers down again, at most 6
MAX_SWITCHES_SEEN = 4  # the server's own among them
RATE_WEIGHT = 0.2  # of the newest second in a layer's measured bitrate

Ceilings = Mapping[str, VideoQuality | None]


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
    """An action whose effect is awaited: what was asked for before, and the loss that it is to end."""

    raised: bool
    began: float
    before: tuple[tuple[str, VideoQuality | None], ...]
    budget_before_bps: float
    loss_before: float


@dataclass(frozen=True, slots=True)
class ControllerState:
    """What `step` remembers. Begin with `ControllerState()`: nothing is known to be limited.

    `budget_bps` is what the way here is believed to carry of video: infinite while nothing speaks against it.
    `link_bps` is what came through when last a queue stood, `failed_bps` what the last raise that failed asked for.
    `restore` is what is to be asked for once trouble has passed that was not the want of a budget. `switches` are those
    asked for, `seen` those that windows show. Tuples of pairs are in the order of the track SIDs or of time.
    """

    asked: tuple[tuple[str, VideoQuality | None], ...] = ()
    inputs: tuple[tuple[Subscription, ...], Limits] | None = None
    budget_bps: float = math.inf
    trial: Trial | None = None
    quiet_until: float = -math.inf
    raised_at: float = -math.inf
    failed_at: float = -math.inf
    bear_until: float = -math.inf
    bear_s: float = BEAR_S
    borne_loss: float = 0.0
    bad_samples: int = 0
    lossy_samples: int = 0
    clean_since: float | None = None
    raise_after_s: float = RAISE_AFTER_S
    growth: float = 1.0
    ramping: bool = False
    restore: tuple[tuple[str, VideoQuality | None], ...] = ()
    idle_delay_s: float = USUAL_DELAY_S
    link_bps: float = math.inf
    failed_bps: float = math.inf
    delay_s: float = 0.0
    last_queued_at: float = -math.inf
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
    limits work at once.
    """
    limits = limits or Limits()
    inputs = (subscriptions, limits)
    if state.inputs != inputs:
        # What is asked of a new track is the server's default, its best layer.
        asked = tuple(sorted((item.track_sid, _asked(state, item)) for item in subscriptions))
        state = replace(state, inputs=inputs, asked=asked, trial=None, restore=())
        wanted = _ceilings(state, state.budget_bps)
        if wanted != dict(state.asked):
            return _ask(state, wanted, now, "who is seen, or a limit, changed", "the new layers")
    evidence = gather(windows, dict(state.asked), state.idle_delay_s)
    if evidence is None:
        return replace(state, bad_samples=0, lossy_samples=0, clean_since=None), ()
    draining = evidence.delay_s < DRAINING * state.delay_s and evidence.loss_ratio <= CLEAN_LOSS_RATIO
    state = _watch(state, evidence, now)
    state = _count(replace(state, idle_delay_s=evidence.idle_delay_s, delay_s=evidence.delay_s), evidence, now)
    if state.trial is not None:
        return _check(state, state.trial, evidence, now)
    if now < state.quiet_until:
        return state, ()
    trouble = _trouble(state, evidence)
    if trouble:
        return (state, ()) if draining else _lower(state, evidence, now, trouble)
    if evidence.withheld:
        # What the link is known to carry the server's own probes will bring back.
        above = _spent(state) > state.link_bps or _restless(state, now)
        return _follow(state, evidence, now) if above else (state, ())
    state = _learn(state, windows, evidence)
    clean_s = -1.0 if state.clean_since is None else now - state.clean_since
    if state.restore and clean_s >= RESTORE_AFTER_S:
        return _restore(state, now)
    return _raise(state, now, clean_s)


def _asked(state: ControllerState, subscription: Subscription) -> VideoQuality | None:
    best = max((layer.quality for layer in subscription.layers), default=VideoQuality.HIGH)
    return dict(state.asked).get(subscription.track_sid, best)


def _count(state: ControllerState, evidence: Evidence, now: float) -> ControllerState:
    """How long it has been bad, lossy or clean."""
    borne = state.borne_loss if now < state.bear_until else 0.0
    bad = evidence.delay_s > LONG_DELAY_S or (evidence.stuck and not borne)
    lossy = evidence.loss_ratio > BAD_LOSS_RATIO + 1.5 * borne
    clean = evidence.delay_s <= CALM_DELAY_S and evidence.loss_ratio <= CLEAN_LOSS_RATIO + 1.5 * borne
    since = (now if state.clean_since is None else state.clean_since) if clean else None
    return replace(
        state,
        borne_loss=borne,
        last_queued_at=now if bad else state.last_queued_at,
        bad_samples=state.bad_samples + 1 if bad else 0,
        lossy_samples=state.lossy_samples + 1 if lossy else 0,
        clean_since=since,
    )


def _trouble(state: ControllerState, evidence: Evidence) -> str:
    """What is wrong, in words; empty where nothing is."""
    lossy = evidence.loss_ratio > CLEAN_LOSS_RATIO
    if evidence.stuck and not state.borne_loss:
        return f"no frames, {evidence.loss_ratio:.0%} of packets lost"
    full = evidence.delay_s > FULL_QUEUE_S or (evidence.delay_s > LONG_DELAY_S and lossy)
    if full or state.bad_samples >= BAD_SAMPLES:
        return f"a queue of {evidence.delay_s * 1000:.0f} ms, {evidence.loss_ratio:.0%} of packets lost"
    if state.lossy_samples >= LOSS_ALONE_SAMPLES:
        return f"{evidence.loss_ratio:.0%} of packets lost for {state.lossy_samples} s"
    return ""


def _check(
    state: ControllerState, trial: Trial, evidence: Evidence, now: float
) -> tuple[ControllerState, tuple[Action, ...]]:
    """Did the last action do what was expected?"""
    if trial.raised:
        return _check_raise(state, trial, evidence, now)
    if now - trial.began < SETTLE_S:
        return state, ()
    state = replace(state, trial=None)
    lossy = evidence.loss_ratio > BAD_LOSS_RATIO and evidence.delay_s <= LONG_DELAY_S
    if lossy and evidence.loss_ratio > 0.7 * trial.loss_before:
        state = replace(
            state,
            budget_bps=trial.budget_before_bps,
            bear_until=now + state.bear_s,
            bear_s=min(MAX_BEAR_S, BACKOFF_FACTOR * state.bear_s),
            borne_loss=evidence.loss_ratio,
        )
        reason = f"{evidence.loss_ratio:.0%} of packets are lost at the lower layers as well"
        return _ask(state, dict(trial.before), now, reason, "no more loss than there is")
    trouble = _trouble(state, evidence)
    return _lower(state, evidence, now, trouble) if trouble else (state, ())


def _check_raise(
    state: ControllerState, trial: Trial, evidence: Evidence, now: float
) -> tuple[ControllerState, tuple[Action, ...]]:
    trouble = _trouble(state, evidence)
    if not trouble and evidence.loss_ratio > BAD_LOSS_RATIO + 1.5 * state.borne_loss:
        trouble = f"{evidence.loss_ratio:.0%} of packets lost"
    if not trouble and now - trial.began < TRIAL_S:
        return state, ()
    if not trouble and not evidence.withheld and _spent(state) <= state.link_bps < math.inf:
        return replace(state, trial=None), ()
    if not trouble and not evidence.withheld:
        return replace(
            state,
            trial=None,
            ramping=True,
            growth=state.growth * RAMP_FACTOR,
            raise_after_s=RAISE_AFTER_S if _spent(state) >= state.failed_bps else state.raise_after_s,
            link_bps=math.inf,
        ), ()
    reason = f"the raise brought {trouble}" if trouble else "the server withholds what the raise asked for"
    failed_bps = _spent(state)
    state = replace(state, trial=None, budget_bps=trial.budget_before_bps, failed_bps=failed_bps, restore=trial.before)
    state = _back_off(_see_link(state, evidence), now)
    return _ask(state, dict(trial.before), now, reason, "what was before the raise")


def _lower(
    state: ControllerState, evidence: Evidence, now: float, trouble: str
) -> tuple[ControllerState, tuple[Action, ...]]:
    """Spend no more than came through; at least one step down."""
    if now - state.raised_at < LATE_S and state.failed_at < state.raised_at:
        state = _back_off(state, now)
    elif now - state.failed_at >= LATE_S:
        state = replace(state, raise_after_s=RAISE_AFTER_S, ramping=False, growth=1.0, restore=())
    state = _see_link(state, evidence)
    before = dict(state.asked)
    spent = _spent(state)
    budget = min(HEADROOM * evidence.received_bps, spent - 1.0)
    wanted = {sid: lower(before[sid], quality) for sid, quality in _ceilings(state, budget).items()}
    if wanted == before:
        # All are at their lowest, and still it is too much: the least useful has to go for the others to be seen.
        wanted = {sid: lower(before[sid], quality) for sid, quality in _ceilings(state, budget, 1).items()}
    trial = Trial(False, now, state.asked, state.budget_bps, evidence.loss_ratio)
    state = replace(state, budget_bps=budget, clean_since=None)
    if wanted == before:
        return replace(state, quiet_until=now + SETTLE_S), ()
    return _ask(replace(state, trial=trial), wanted, now, trouble, "no queue and less loss")


def _follow(state: ControllerState, evidence: Evidence, now: float) -> tuple[ControllerState, tuple[Action, ...]]:
    """Ask for what the server gives, so that it withholds nothing and raises are ours to try."""
    wanted = {**dict(state.asked), **dict(evidence.given)}
    queued = evidence.delay_s > LONG_DELAY_S or state.last_queued_at > now - LATE_S
    # Without a queue it was loss that made the server give less, and that is not for want of bandwidth.
    restore = state.restore or (() if queued else state.asked)
    state = replace(state, ramping=False, growth=1.0, restore=restore)
    state, actions = _ask(state, wanted, now, "the server gives no more", "nothing withheld")
    return replace(state, budget_bps=min(state.budget_bps, _spent(state))), actions


def _restore(state: ControllerState, now: float) -> tuple[ControllerState, tuple[Action, ...]]:
    restless = _restless(state, now)
    wanted = {**dict(state.asked), **{sid: quality for sid, quality in state.restore if sid not in restless}}
    state = replace(state, restore=())
    if wanted == dict(state.asked):
        return state, ()
    trial = Trial(True, now, state.asked, state.budget_bps, 0.0)
    state, actions = _ask(
        replace(state, trial=trial, raised_at=now), wanted, now, "the trouble has passed", "what was before it"
    )
    return replace(state, budget_bps=max(state.budget_bps, _spent(state))), actions


def _raise(state: ControllerState, now: float, clean_s: float) -> tuple[ControllerState, tuple[Action, ...]]:
    """Take what fits into the link as it was seen; else try the most useful step up, several after ones that worked."""
    if clean_s < RESTORE_AFTER_S:
        return state, ()
    before = dict(state.asked)
    subscriptions, limits = _measured(state)
    restless = _restless(state, now)
    top = {sid: before[sid] if sid in restless else quality for sid, quality in _ceilings(state, math.inf).items()}
    known_bps = HEADROOM * state.link_bps if math.isfinite(state.link_bps) else 0.0
    wanted = steps_up(subscriptions, before, top, limits, known_bps)
    if wanted == before:
        wanted = steps_up(subscriptions, before, top, limits, _spent(state) * state.growth, least=1)
        over = bitrate_bps(subscriptions, wanted) / max(1.0, state.link_bps)
        wait_s = (
            RAISE_AFTER_S if over <= 1.0 and state.link_bps < math.inf else state.raise_after_s * max(1.0, over) ** 2
        )
        if clean_s < wait_s and not state.ramping:
            return state, ()
    if wanted == before:
        return state, ()
    trial = Trial(True, now, state.asked, state.budget_bps, 0.0)
    expects = f"these layers, and no queue within {TRIAL_S:.0f} s"
    state, actions = _ask(
        replace(state, trial=trial, raised_at=now), wanted, now, f"clean for {clean_s:.0f} s", expects
    )
    return replace(state, budget_bps=_spent(state)), actions


def _watch(state: ControllerState, evidence: Evidence, now: float) -> ControllerState:
    """Remember which tracks changed their layer, by the server's will as by ours."""
    before = dict(state.given)
    changed = tuple((sid, now) for sid, quality in evidence.given if before.get(sid, quality) != quality)
    seen = tuple(entry for entry in state.seen if entry[1] > now - SWITCH_WINDOW_S)
    return replace(state, given=evidence.given, seen=seen + changed)


def _restless(state: ControllerState, now: float) -> set[str]:
    """Tracks that have switched too often to be raised, as asked or as seen."""
    found: set[str] = set()
    for switches, most in ((state.switches, MAX_SWITCHES_TO_RAISE), (state.seen, MAX_SWITCHES_SEEN)):
        recent = [sid for sid, at in switches if at > now - SWITCH_WINDOW_S]
        found.update(sid for sid in recent if recent.count(sid) > most)
    return found


def _ask(
    state: ControllerState, wanted: Ceilings, now: float, reason: str, expects: str
) -> tuple[ControllerState, tuple[Action, ...]]:
    before = dict(state.asked)
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


def _see_link(state: ControllerState, evidence: Evidence) -> ControllerState:
    """What comes through while a queue stands is what the link carries."""
    full = evidence.delay_s > LONG_DELAY_S and (evidence.loss_ratio > CLEAN_LOSS_RATIO or math.isinf(state.link_bps))
    return replace(state, link_bps=evidence.received_bps) if full or evidence.stuck else state


def _back_off(state: ControllerState, now: float) -> ControllerState:
    wait_s = min(MAX_RAISE_AFTER_S, state.raise_after_s * BACKOFF_FACTOR)
    return replace(state, raise_after_s=wait_s, ramping=False, growth=1.0, failed_at=now)


def _measured(state: ControllerState) -> tuple[tuple[Subscription, ...], Limits]:
    """The subscriptions with bitrates as measured where they are, else as announced; and the limits."""
    assert state.inputs is not None
    return with_bitrates(state.inputs[0], state.rates_bps), state.inputs[1]


def _ceilings(state: ControllerState, budget_bps: float, disable: int = 0) -> dict[str, VideoQuality | None]:
    """The best ceilings within `budget_bps`; what only bandwidth would disable keeps its lowest layer."""
    subscriptions, limits = _measured(state)
    limits = replace(limits, bandwidth_bps=min(limits.bandwidth_bps, max(0.0, budget_bps)))
    found = allocate(subscriptions, limits)
    ceilings: dict[str, VideoQuality | None] = {}
    for item, choice in zip(subscriptions, found.choices, strict=True):
        allowed = constrain(item, limits)[0]
        lowest = allowed[0].quality if allowed and not disable and math.isinf(limits.cpu_cores) else None
        ceilings[item.track_sid] = choice.layer.quality if choice.layer else lowest
    return ceilings


def _layer_rates(state: ControllerState) -> dict[tuple[str, VideoQuality], float]:
    return {(item.track_sid, layer.quality): layer.bitrate_bps for item in _measured(state)[0] for layer in item.layers}


def _spent(state: ControllerState) -> float:
    return bitrate_bps(_measured(state)[0], dict(state.asked))


def _learn(state: ControllerState, windows: tuple[Window, ...], evidence: Evidence) -> ControllerState:
    """What each layer takes, from seconds in which nothing was wrong."""
    rates = _layer_rates(state)
    received = {window.track_sid: window.bitrate_bps for window in windows if window.frames > 0}
    known = {(sid, quality): bps for sid, quality, bps in state.rates_bps}
    if evidence.loss_ratio <= CLEAN_LOSS_RATIO and evidence.delay_s <= LONG_DELAY_S:
        for key in evidence.given:
            if key in rates and key[0] in received:
                known[key] = rates[key] + RATE_WEIGHT * (received[key[0]] - rates[key])
    return replace(state, rates_bps=tuple((sid, quality, bps) for (sid, quality), bps in sorted(known.items())))
