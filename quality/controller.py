"""Which layers to ask for over time: limits at once, all else as trials that are judged by what is seen after them.

The server shares out bandwidth by an estimate that it and this end agree on, frame by frame, and is never fought: a
choice here is a ceiling over its own. What is left to do:

- *Limits* (policy, size, capability, CPU, a budget): `quality.allocation` over all videos, at once.
- *Fit*: where the way is full for a second and more and the server does not act on it yet, it is asked for no more than
  comes through, as far as the spacing of packets tells of the way (`quality.way_width`). What it lowers itself it
  lowers better, and is left to it.
- *Relieve*: what stays in trouble for longer than the server needs to act is lowered to what comes through, where whole
  pictures of that are worth more than what is seen.
- *Share*: where the server withholds, and the same bits would be worth more in other layers, the ceilings of those
  that matter less are lowered.
- *Probe*: where the server withholds what the way would carry, it is made to give that: all is asked to be lower for a
  second first. Where nothing tells, and it withholds for long on an idle way, it is made to try a little more, or at
  least to give whole layers that can be raised from there.
- *Steady*: what went down, up and down again within a minute, as it may where the server is made to follow the way
  closely, is asked for a layer lower. It comes back as all that was lowered; the last time in a minute only where the
  way has proved to carry all that is wanted.
- *Raise*: what was lowered comes back, as far as the way is known to carry it, else step by step, once nothing is
  withheld and nothing is wrong but loss of the way's own, which breaks no picture.

Fit, relieve, share, probe and raise are trials: each says what it expects and is judged by what is seen after it (a fit
by whether pictures still break, all others by the worth of what is seen before and after), and is undone where that did
not come (as far as what was there fitted), and where only trials tell what the way carries, as soon as one fills it; it
is then tried again later, twice as late each time.
"""

import math
from dataclasses import replace

from quality.allocation import Limits, Subscription, allocate, constrain
from quality.asking import Stepped, ask, changes, kbps
from quality.controller_state import ControllerState
from quality.evidence import Evidence, gather
from quality.layer_steps import Ceilings, height, lower
from quality.layer_trials import FILLED_WAIT_S, FIRST_WAIT_S, Kind, Trial, longer, shorter
from quality.lowering import fit, judge_fit, relieve, share, steady
from quality.raising import WITHHELD_S, bring_back, probe, probe_on
from quality.stats import VideoQuality
from quality.switches import MAX_SWITCHES
from quality.window import Window

TROUBLE_S = 8  # the server acts within 3 s, and forgets to bring back what is lowered while it withholds
UNBROKEN_S = 10  # of loss: more of it does not break more pictures by itself
JUDGED_S = 4  # by then the effect is there, or not
WHOLE_S = 2  # what was raised came whole for so long, on a way that is known: it has worked


def step(
    state: ControllerState,
    subscriptions: tuple[Subscription, ...],
    windows: tuple[Window, ...],
    now: float,
    limits: Limits | None = None,
    *,
    probes: bool = True,
    others_bps: float = 0.0,
) -> Stepped:
    """Take in the `windows` (about 1 s, ended at `now`) of what is received, and say what to ask for anew.

    `probes` is whether the server has to be made to try more, and the spacing of packets is looked at. Not where this
    end's estimate answers its own probes: it follows the way closely then, and is left to share it out (a ceiling that
    is raised while it withholds does nothing), but for what it goes on to withhold though the way has proved to carry
    all: this, and `others_bps`, which other videos of the connection want.

    Limits work at once, and may disable a track; nothing else does. A track without announced layers is left alone. Of
    a new track its best layer is taken to be asked for, as the server does.
    """
    inputs = tuple(item for item in subscriptions if item.layers), limits or Limits()
    before = state.inputs, state.absent
    state = replace(state, muted=_muted(state.muted, inputs[0], windows))
    if before != (inputs, state.absent):
        state, actions = _limit(state, inputs, now)
        if actions:
            return state, actions
    evidence = gather(inputs[0], windows, state.asked, state.layer_rates, state.before)
    # An estimate that falls is this end's own answer to the trouble: the server is to have time for it.
    answered = not probes and evidence.estimate_fell(state.before)
    known_bps = evidence.available_bps
    proved = not probes and known_bps is not None and known_bps >= state.wanted_bps + others_bps
    asked = state.asked
    state = state.counted(evidence, now, answered=answered, proved=proved, trains=probes)
    reason = f"no more than {MAX_SWITCHES} switches in a minute"
    if worn := changes(asked, state.asked, Kind.STEADY, reason, "no switch by itself"):
        return state, worn
    return _decide(state, evidence, now, probes=probes, proved=proved)


def adopt(state: ControllerState, asked: Ceilings) -> ControllerState:
    """Take over what somebody else asked for of some tracks: what is lower counts as held down, and may come back."""
    own = state.asked
    lowered = {
        sid: quality
        for sid, quality in asked.items()
        if quality is not None and sid in own and height(quality) < height(own[sid])
    }
    return state.holding_also(lowered)


def _decide(state: ControllerState, evidence: Evidence, now: float, *, probes: bool, proved: bool) -> Stepped:
    """What to try, or to undo. `proved`: the way is known to carry all."""
    if state.probing is not None:
        return probe_on(state, state.probing, now)
    if probes and (fitted := fit(state, evidence, now))[1]:
        return fitted
    if state.trial is not None:
        state, actions = _judge(state, state.trial, evidence, now)
        if actions or state.trial is not None:
            return state, actions
    if now < state.quiet_until or not evidence.tracks:
        return state, ()
    if evidence.trouble:
        return _in_trouble(state, evidence, now)
    if evidence.withheld:
        return _withheld(state, evidence, now, probes=probes, proved=proved)
    return bring_back(state, evidence, now, proved=proved)


def _muted(
    before: frozenset[str], subscriptions: tuple[Subscription, ...], windows: tuple[Window, ...]
) -> frozenset[str]:
    """Those that are muted now; a second without statistics changes nothing."""
    told = {window.track_sid: window.muted for window in windows}
    sids = (item.track_sid for item in subscriptions)
    return frozenset(sid for sid in sids if told.get(sid, sid in before))


def _limit(state: ControllerState, inputs: tuple[tuple[Subscription, ...], Limits], now: float) -> Stepped:
    """What the limits leave of each track; what is gone is forgotten, and what cannot be judged any more is undone."""
    subscriptions, limits = inputs
    known = {item.track_sid for item in subscriptions}
    best = {item.track_sid: max(layer.quality for layer in item.layers) for item in subscriptions}
    before = {sid: state.asked.get(sid, best[sid]) for sid in sorted(known)}
    comparable = state.inputs is not None and _apart_from_speakers(state.inputs) == _apart_from_speakers(inputs)
    state = replace(
        state,
        inputs=inputs,
        held=tuple(entry for entry in state.held if entry[0] in known),
        rates=tuple(entry for entry in state.rates if entry[0] in known),
    )
    allowed = tuple(sorted(_fitting(state, limits).items()))
    if comparable and allowed == state.allowed:
        return state, ()
    state = _dropped(replace(state, allowed=allowed, recent=()), now)
    return ask(state, before, now, Kind.LIMIT, "who is seen, or a limit, changed", "the new layers")


def _apart_from_speakers(inputs: tuple[tuple[Subscription, ...], Limits]) -> tuple[tuple[Subscription, ...], Limits]:
    return tuple(replace(item, active_speaker=False) for item in inputs[0]), inputs[1]


def _dropped(state: ControllerState, now: float) -> ControllerState:
    """A trial that cannot be judged: what was lowered for it comes back."""
    trial = state.probing or state.trial
    state = replace(state, trial=None, probing=None)
    if trial is None or trial.kind not in {Kind.PROBE, Kind.SHARE}:
        return state
    return replace(state, waits=longer(state.waits, trial.kind, now)).holding(state.held_before(trial))


def _judge(state: ControllerState, trial: Trial, evidence: Evidence, now: float) -> Stepped:
    """Did the last trial bring what was expected?"""
    if trial.kind is Kind.FIT:
        return judge_fit(state, trial, evidence, now)
    if evidence.tracks:  # a second without statistics says nothing
        trial = replace(trial, after=(*trial.after, evidence))
    state, outcome = replace(state, trial=trial), trial.outcome()
    if outcome is None:
        if now - trial.began < JUDGED_S:
            return state, ()
        reason = f"nothing is known of what became of the {trial.kind} of {now - trial.began:.0f} s ago"
        return ask(_dropped(state, now), state.asked, now, Kind.UNDO, reason, "what was seen before")
    raised = trial.raised and len(trial.after) > 1
    # Where a little too much was asked for, a queue grows for seconds before its end is dropped.
    filled = raised and not outcome.fails and state.is_filled(evidence)
    broken = filled or (raised and outcome.fails)
    whole = trial.raised and outcome.helped and state.clean >= WHOLE_S and state.width.bps is not None
    if now - trial.began < JUDGED_S and not broken and not whole:
        return state, ()
    state = replace(state, trial=None)
    if outcome.helped and not broken:
        # Nothing more was seen after a probe for what comes anyway: its publisher may have no more.
        waited = longer if trial.kind is Kind.PROBE and not trial.gains else shorter
        return replace(state, waits=waited(state.waits, trial.kind, now), widened=trial.raised), ()
    before = state.asked
    held = state.taken_back(trial)
    first_s = FILLED_WAIT_S if filled else FIRST_WAIT_S
    undone = replace(held, waits=longer(state.waits, trial.kind, now, first_s), widened=False)
    reason = f"{trial.kind} of {now - trial.began:.0f} s ago "
    if filled:
        reason += f"fills the way: a queue stands, and {kbps(evidence.received_bps)} come"
    else:
        reason += f"did not help: {outcome.whole.after:.2f} is seen instead of {outcome.whole.before:.2f}"
    return ask(undone, before, now, Kind.UNDO, reason, "what was seen before")


def _in_trouble(state: ControllerState, evidence: Evidence, now: float) -> Stepped:
    """Relieve, after a while; but what loss lowered comes back where the loss stays and breaks no picture."""
    if state.troubled >= TROUBLE_S and (relieved := relieve(state, evidence, now))[1]:
        return relieved
    return bring_back(state, evidence, now, proved=False) if state.unbroken >= UNBROKEN_S else (state, ())


def _withheld(state: ControllerState, evidence: Evidence, now: float, *, probes: bool, proved: bool) -> Stepped:
    """The server is at it; after a while, something may be done."""
    # What is held down comes back in time only where a wider way is noticed, and need not be where it is wide.
    noticed = (not probes or state.width.told) and not state.is_roomy
    if noticed and (steadied := steady(state, evidence, now))[1]:
        return steadied
    if state.unanswered < WITHHELD_S or not (evidence.limited or evidence.below):
        return state, ()
    if probes and (shared := share(state, evidence, now))[1]:
        return shared
    return probe(state, evidence, now, proved=proved)


def _fitting(state: ControllerState, limits: Limits) -> dict[str, VideoQuality | None]:
    """The best ceilings within `limits`. What is muted takes nothing of those, and keeps its ceiling meanwhile."""
    videos, absent, before = state.measured(), state.absent, dict(state.allowed)
    allowed = {item.track_sid: constrain(item, limits)[0] for item in videos}
    best = {sid: layers[-1].quality if layers else None for sid, layers in allowed.items()}
    if math.isinf(min(limits.cpu_cores, limits.bandwidth_bps)):
        return best
    sending = tuple(item for item in videos if item.track_sid not in absent)
    kept = {sid: lower(best[sid], before.get(sid, best[sid])) for sid in best if sid in absent}
    return allocate(sending, limits, keep_all=True).qualities | kept
