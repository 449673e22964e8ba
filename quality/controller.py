"""Which layers to ask for over time: limits at once, all else as trials that are judged by what is seen after them.

The server shares out bandwidth by an estimate that it and this end agree on, frame by frame, and is never fought: a
choice here is a ceiling over its own. What is left to do:

- *Limits* (policy, size, capability, CPU, a budget): `quality.allocation` over all videos, at once.
- *Relieve*: what stays in trouble for longer than the server needs to act is lowered to what comes through, where whole
  pictures of that are worth more than what is seen.
- *Share*: where the server withholds, and the same bits would be worth more in other layers, the ceilings of those
  that matter less are lowered.
- *Probe*: where the server withholds what the way would carry, as far as the spacing of packets tells
  (`quality.way_width`), it is made to give that: it grants what is asked for only where nothing is withheld, so that
  all is asked to be lower for a second first. Where nothing tells, and it withholds for long on an idle way, it is made
  to try a little more, or at least to give whole layers that can be raised from there.
- *Steady*: what went down, up and down again within a minute, as it may where the server is made to follow the way
  closely, is asked for a layer lower. It comes back as all that was lowered; the last time in a minute only where the
  way has proved to carry all that is wanted.
- *Raise*: what was lowered comes back, as far as the spacing of packets says that the way carries it, else step by
  step, once nothing is withheld and nothing is wrong but loss of the way's own, which breaks no picture.

Relieve, share, probe and raise are trials: each says what it expects, is judged by the worth of what is seen before and
after, and is undone where that did not come (as far as what was there fitted); it is then tried again later, twice as
late each time.
"""

import math
from dataclasses import replace

from quality.allocation import Allocation, Limits, Subscription, allocate, constrain
from quality.controller_state import ControllerState, recent
from quality.evidence import Evidence, gather
from quality.layer_steps import Ceilings, bitrate_bps, height, most_worth, steps_up, worth_of
from quality.layer_trials import BETTER, NO_WORSE, Action, Kind, Trial, longer, longer_after_all, shorter, waits
from quality.stats import VideoQuality
from quality.window import Window

TROUBLE_S = 8  # the server acts within 3 s, and forgets to bring back what is lowered while it withholds
WITHHELD_S = 3  # a switch that is under way is over
UNANSWERED_S = 30  # the server's own probes come every 3 to 4 s at first, but it may not know that it is lacking
KNOWN_UNANSWERED_S = 45  # the same where trains of packets say that the way carries no more
PROBE_FITS = 0.75  # of what the way carries, what a probe asks for: scenes vary, sound and repairs come besides
PROBE_GAIN = 1.1  # of the worth that is seen, what a probe for what the way carries has to promise
RAISE_FITS = 0.85  # the same for a raise, which is undone for less
PROVED_UNANSWERED_S = 10  # the same where the way has proved to carry all: two of the server's probes had their answer
WIDER = 1.3  # times what comes: what a probe, and what comes after one that worked, asks for at most
CLEAN_S = 4
PROVED_S = 2  # clean for so long where the way has proved to carry all
WIDENED_S = 3  # clean for so long after a raise that worked
UNBROKEN_S = 10  # of loss: more of it does not break more pictures by itself
UNPROVEN_S = 15  # clean for so long where this end's estimate does not cover the step
KNOWN_UNPROVEN_S = 45  # the same where trains say that the way does not carry it
PROVEN = 0.9  # of a step's bits, or more: the estimate covers it
THROUGH = 0.85  # of what came while there was trouble: the queue has to drain, and scenes vary
RADIO_GAIN = 1.3  # where there is no queue: what is lost by the way, or by radio, is mostly so in any layer
SHARE_GAIN = 1.15  # less is not worth key frames, nor the risk
SETTLE_S = 3  # a switch takes 0.3 to 1.3 s, and then the queue has to drain
JUDGED_S = 4  # by then the effect is there, or not
LATE_S = 20.0  # trouble within this time of a raise that seemed to work is still its doing
SWUNG = 3  # down, up and down again
MAX_SWITCHES = 6  # asked for in a minute, of a track; limits excepted


Stepped = tuple[ControllerState, tuple[Action, ...]]


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
    state = replace(state, muted=frozenset(window.track_sid for window in windows if window.muted))
    if state.inputs != inputs:
        state, actions = _limit(state, inputs, now)
        if actions:
            return state, actions
    evidence = gather(inputs[0], windows, state.asked, state.layer_rates)
    # An estimate that falls is this end's own answer to the trouble: the server is to have time for it.
    answered = not probes and evidence.estimate_fell(state.before)
    known_bps = evidence.available_bps
    proved = not probes and known_bps is not None and known_bps >= state.wanted_bps + others_bps
    state = state.counted(evidence, now, answered=answered, waiting=probes or proved, trains=probes)
    if state.probing is not None:
        return _probe_on(state, state.probing, now)
    if state.trial is not None:
        return _judge(state, state.trial, evidence, now)
    if now < state.quiet_until or not evidence.tracks:
        return state, ()
    if evidence.trouble:
        return _in_trouble(state, evidence, now)
    room_bps = state.width.bps
    roomy = room_bps is not None and RAISE_FITS * room_bps >= state.wanted_bps
    if evidence.withheld:
        # What is held down comes back in time only where a wider way is noticed, and need not be where it is wide.
        if (not probes or state.width.told) and not roomy and (steady := _steady(state, evidence, now))[1]:
            return steady
        return _withheld(state, evidence, now, probes=probes, proved=proved)
    return _raise(state, evidence, now, proved=proved, roomy=roomy)


def adopt(state: ControllerState, asked: Ceilings) -> ControllerState:
    """Take over what somebody else asked for of some tracks: what is lower counts as held down, and may come back."""
    own = state.asked
    lowered = {
        sid: quality
        for sid, quality in asked.items()
        if quality is not None and sid in own and height(quality) < height(own[sid])
    }
    return state.holding({**dict(state.held), **lowered})


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
    return _ask(state, before, now, Kind.LIMIT, "who is seen, or a limit, changed", "the new layers")


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
    if evidence.tracks:  # a second without statistics says nothing
        trial = replace(trial, after=(*trial.after, evidence))
    state, outcome = replace(state, trial=trial), trial.outcome()
    if outcome is None:
        if now - trial.began < JUDGED_S:
            return state, ()
        reason = f"nothing is known of what became of the {trial.kind} of {now - trial.began:.0f} s ago"
        return _ask(_dropped(state, now), state.asked, now, Kind.UNDO, reason, "what was seen before")
    broken = trial.raised and len(trial.after) > 1 and outcome.fails
    if now - trial.began < JUDGED_S and not broken:
        return state, ()
    state = replace(state, trial=None)
    if outcome.helped and not broken:
        # Nothing more was seen after a probe for what comes anyway: its publisher may have no more.
        waited = longer if trial.kind is Kind.PROBE and not trial.gains else shorter
        return replace(state, waits=waited(state.waits, trial.kind, now), widened=trial.raised), ()
    before = state.asked
    held = state.taken_back(trial)
    undone = replace(held, waits=longer(state.waits, trial.kind, now), widened=False)
    reason = (
        f"{trial.kind} of {now - trial.began:.0f} s ago did not help: "
        f"{outcome.whole.after:.2f} is seen instead of {outcome.whole.before:.2f}"
    )
    return _ask(undone, before, now, Kind.UNDO, reason, "what was seen before")


def _in_trouble(state: ControllerState, evidence: Evidence, now: float) -> Stepped:
    """Relieve, after a while; but what loss lowered comes back where the loss stays and breaks no picture."""
    if state.troubled >= TROUBLE_S and (relieved := _relieve(state, evidence, now))[1]:
        return relieved
    return _raise(state, evidence, now, proved=False, roomy=False) if state.unbroken >= UNBROKEN_S else (state, ())


def _relieve(state: ControllerState, evidence: Evidence, now: float) -> Stepped:
    """Ask what is in trouble for no more than comes through, one step down at least, where that is worth more whole."""
    if waits(state.waits, Kind.RELIEVE, now):
        return state, ()
    troubled = {item.track_sid: item.quality for item in evidence.tracks if item.trouble}
    gain = RADIO_GAIN if state.is_idle(evidence) else BETTER
    least = gain * sum(worth for sid, worth in state.suffered if sid in troubled) / state.troubled
    # Loss can go on for hours: what cannot be worth it in any layer needs no allocation each second.
    videos = state.judged(evidence)
    if most_worth(videos, troubled) < least:
        return state, ()
    fits = _shared_out(state, evidence, THROUGH * evidence.received_bps)[0].qualities
    held = {sid: min(quality, fits[sid] or VideoQuality.LOW) for sid, quality in troubled.items()}
    if all(held[sid] == quality for sid, quality in troubled.items()):
        held = {sid: VideoQuality(max(0, quality - 1)) for sid, quality in troubled.items()}
    if worth_of(videos, held) < least:
        return state, ()
    if now - state.raised_at < LATE_S:
        state = replace(state, waits=longer_after_all(state.waits, Kind.RAISE, now), widened=False)
    return _try(state, Kind.RELIEVE, held, now, f"{evidence.trouble}, for {state.troubled} s", "more to be seen")


def _steady(state: ControllerState, evidence: Evidence, now: float) -> Stepped:
    """Have what has switched often enough stay below what it does not keep; later, at what it has now."""
    swung, worn = state.restless(now, SWUNG - 1), state.restless(now, MAX_SWITCHES - 2)
    held = {
        item.track_sid: item.quality if item.track_sid in worn else max(item.quality, VideoQuality(asked - 1))
        for item in evidence.tracks
        if item.track_sid in swung and item.quality < (asked := state.asked[item.track_sid] or VideoQuality.LOW)
    }
    before = state.asked
    reason = f"switched {SWUNG} times or more in a minute"
    steady = state.holding({**dict(state.held), **held})
    return _ask(steady, before, now, Kind.STEADY, reason, "no more switches in it")


def _withheld(state: ControllerState, evidence: Evidence, now: float, *, probes: bool, proved: bool) -> Stepped:
    """The server is at it; after a while, something may be done. `proved`: the way is known to carry all."""
    if state.unanswered < WITHHELD_S or not (evidence.limited or any(item.below for item in evidence.tracks)):
        return state, ()
    if probes and (shared := _share(state, evidence, now))[1]:
        return shared
    if not state.is_idle(evidence) or waits(state.waits, Kind.PROBE, now):
        return state, ()
    withheld = {item.track_sid for item in evidence.tracks if item.withheld}
    room_bps = state.width.bps
    # Where the way was never full, fewer frames are a publisher's own.
    if room_bps is not None and (state.width.full_bps or any(item.below for item in evidence.tracks)):
        found, worth = _shared_out(state, evidence, PROBE_FITS * room_bps)
        if worth >= PROBE_GAIN * evidence.worth:
            lacking = withheld | {item.track_sid for item in evidence.tracks if item.short}
            return _probe(state, evidence, now, lacking, _asked_of(found), why=f" that carries {_kbps(room_bps)}")
    if proved and state.unanswered >= PROVED_UNANSWERED_S:
        wanted = {sid: each for sid, each in state.asked.items() if sid in withheld and each is not None}
        return _probe(state, evidence, now, withheld, wanted)
    if not proved and state.unanswered >= (KNOWN_UNANSWERED_S if state.width.told else UNANSWERED_S):
        wanted, gains = _wider(state, evidence)
        return _probe(state, evidence, now, withheld, wanted, gains=gains)
    return state, ()


def _kbps(bps: float) -> str:
    return f"{bps / 1000:.0f} kb/s"


def _asked_of(found: Allocation) -> dict[str, VideoQuality]:
    return {sid: quality for sid, quality in found.qualities.items() if quality is not None}


def _probe(
    state: ControllerState,
    evidence: Evidence,
    now: float,
    lacking: set[str],
    wanted: dict[str, VideoQuality],
    *,
    gains: bool = True,
    why: str = "",
) -> Stepped:
    """Have all that is `lacking` lowered, to ask for what is `wanted` in a second."""
    below = {item.track_sid: max(0, item.quality - 1) for item in evidence.tracks if item.track_sid in lacking}
    asked = state.asked
    # Two are asked for, one more should it fail, and the server may need one.
    restless = state.restless(now, MAX_SWITCHES - 4)
    if restless & below.keys():
        return state, ()
    held = dict(state.held) | {sid: VideoQuality(quality) for sid, quality in below.items()}
    changed = frozenset(below) | frozenset(wanted)
    probe = Trial(Kind.PROBE, now, state.held, state.recent, changed, wanted=tuple(wanted.items()), gains=gains)
    reason = f"less than was asked for, for {state.unanswered} s, on an idle way{why}"
    lowered = replace(state.holding(held), probing=probe)
    return _ask(lowered, asked, now, Kind.PROBE, reason, "that the server tries more")


def _wider(state: ControllerState, evidence: Evidence) -> tuple[dict[str, VideoQuality], bool]:
    """What would be worth more, for a little more than what comes; else what comes (False), to be raised from there."""
    found, worth = _shared_out(state, evidence, WIDER * evidence.received_bps)
    if worth < BETTER * evidence.worth:
        return {item.track_sid: item.quality for item in evidence.tracks}, False
    return _asked_of(found), True


def _probe_on(state: ControllerState, probe: Trial, now: float) -> Stepped:
    """All was lowered: now ask for what is to be tried."""
    asked = state.asked
    wanted = dict(probe.wanted)
    held = {sid: quality for sid, quality in state.held if sid not in probe.changed} | wanted
    state = replace(state.holding(held), probing=None, trial=replace(probe, began=now), raised_at=now)
    least = (BETTER if probe.gains else NO_WORSE) * probe.worth
    return _ask(state, asked, now, Kind.PROBE, "all was lowered", f"a worth of {least:.2f}")


def _share(state: ControllerState, evidence: Evidence, now: float) -> Stepped:
    """Lower what matters less, where what comes would then be worth more."""
    if waits(state.waits, Kind.SHARE, now):
        return state, ()
    found, worth = _shared_out(state, evidence, evidence.received_bps)
    if worth < SHARE_GAIN * evidence.worth:
        return state, ()
    judged = {item.track_sid: item for item in evidence.tracks}
    # The one that gains is not held down: the server may find some frames more for it.
    held = {
        choice.track_sid: choice.layer.quality
        for choice in found.choices
        if choice.layer and (own := judged.get(choice.track_sid)) and choice.utility < own.worth
    }
    reason = f"{_kbps(evidence.received_bps)} are worth {worth:.2f} otherwise shared, {evidence.worth:.2f} now"
    return _try(state, Kind.SHARE, held, now, reason, f"a worth of {SHARE_GAIN * evidence.worth:.2f}")


def _shared_out(state: ControllerState, evidence: Evidence, bandwidth_bps: float) -> tuple[Allocation, float]:
    """The best use of a bandwidth for what can be judged, with no track disabled, and what it is worth."""
    found = allocate(state.judged(evidence), state.within(bandwidth_bps), keep_all=True)
    return found, sum(choice.utility for choice in found.choices)


def _raise(state: ControllerState, evidence: Evidence, now: float, *, proved: bool, roomy: bool) -> Stepped:
    """The most useful steps of those that are held down.

    `proved`: the way is known to carry all that is wanted; `roomy`: trains of packets say so.
    """
    clean_s = PROVED_S if proved or roomy else WIDENED_S if state.widened else CLEAN_S
    lossy = bool(evidence.trouble)
    if not state.held or not (lossy or state.clean >= clean_s) or waits(state.waits, Kind.RAISE, now):
        return state, ()
    assert state.inputs is not None
    width = state.width
    if width.was_full and not lossy:
        return state, ()
    asked, videos = state.asked, state.judged(evidence)
    # One is asked for; one more should it fail, and the server may need one.
    restless = state.restless(now, MAX_SWITCHES - (1 if proved else 2 if roomy else 3))
    top = {sid: asked[sid] if sid in restless else quality for sid, quality in state.allowed}
    room_bps = None if lossy else width.bps
    budget_bps = WIDER * evidence.received_bps if state.widened else 0.0
    if room_bps is not None:
        budget_bps = RAISE_FITS * room_bps
    wanted = steps_up(videos, asked, top, state.inputs[1], budget_bps)
    covered = wanted != asked
    if not covered:
        wanted = steps_up(videos, asked, top, state.inputs[1], 0.0, least=1)
    needed_bps = bitrate_bps(videos, wanted)
    known = evidence.available_bps
    proven = known is not None and known >= PROVEN * (evidence.received_bps + needed_bps - bitrate_bps(videos, asked))
    patience_s = UNPROVEN_S
    if room_bps is not None and room_bps < needed_bps:
        proven, patience_s = False, KNOWN_UNPROVEN_S
    if wanted == asked or not (proven or covered or lossy or state.clean >= patience_s):
        return state, ()
    held = {sid: quality for sid, quality in wanted.items() if quality is not None}
    calm = f"no picture broke for {state.unbroken} s" if lossy else f"clean for {state.clean} s"
    reason = calm + (f", {_kbps(known)} estimated" if known is not None else "")
    reason += f", on a way that carries {_kbps(room_bps)}" if room_bps is not None else ""
    return _try(state, Kind.RAISE, held, now, reason, "the higher layer, and no trouble")


def _try(
    state: ControllerState, kind: Kind, changed: dict[str, VideoQuality], now: float, reason: str, expects: str
) -> Stepped:
    before = state.asked
    if kind in {Kind.RELIEVE, Kind.SHARE}:
        restless = state.restless(now, MAX_SWITCHES - 1)
        changed = {sid: quality for sid, quality in changed.items() if sid not in restless}
    trial = Trial(kind, now, state.held, state.recent, gains=kind is not Kind.RAISE)
    state = replace(state, raised_at=now if trial.raised else state.raised_at)
    holding = state.holding({**dict(state.held), **changed})
    tried, actions = _ask(holding, before, now, kind, reason, expects)
    if not actions:
        return replace(state, quiet_until=now + SETTLE_S), ()
    return replace(tried, trial=replace(trial, changed=frozenset(action.track_sid for action in actions))), actions


def _ask(state: ControllerState, before: Ceilings, now: float, kind: Kind, reason: str, expects: str) -> Stepped:
    wanted = state.asked
    actions = tuple(
        Action(sid, before[sid], wanted[sid], kind, reason, expects)
        for sid in sorted(wanted)
        if wanted[sid] != before[sid]
    )
    if not actions:
        return state, ()
    return replace(
        state,
        quiet_until=now + SETTLE_S,
        troubled=0,
        suffered=(),
        unanswered=0,
        clean=0,
        unbroken=0,
        switches=recent(state.switches, now) + tuple((action.track_sid, now) for action in actions),
    ), actions


def _fitting(state: ControllerState, limits: Limits) -> dict[str, VideoQuality | None]:
    """The best ceilings within `limits`."""
    videos = state.measured()
    if math.isinf(min(limits.cpu_cores, limits.bandwidth_bps)):
        allowed = [(item.track_sid, constrain(item, limits)[0]) for item in videos]
        return {sid: layers[-1].quality if layers else None for sid, layers in allowed}
    return allocate(videos, limits, keep_all=True).qualities
