"""How the layer controller asks for layers: at once or as a trial, and what is the best use of a bandwidth."""

from dataclasses import replace

from quality.allocation import Allocation, allocate
from quality.controller_state import ControllerState
from quality.evidence import Evidence
from quality.layer_steps import Ceilings, height
from quality.layer_trials import Action, Kind, Trial
from quality.stats import VideoQuality
from quality.switches import MAX_SWITCHES, recent

SETTLE_S = 3  # a switch takes 0.3 to 1.3 s, and then the queue has to drain
LOWERING = frozenset({Kind.FIT, Kind.RELIEVE, Kind.SHARE})

Stepped = tuple[ControllerState, tuple[Action, ...]]


def ask(state: ControllerState, before: Ceilings, now: float, kind: Kind, reason: str, expects: str) -> Stepped:
    """Ask for what `state` holds down and no more, where that is not what was asked for `before`."""
    actions = changes(before, state.asked, kind, reason, expects)
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


def changes(before: Ceilings, wanted: Ceilings, kind: Kind, reason: str, expects: str) -> tuple[Action, ...]:
    """What to ask for, in turn, that was not asked for `before`."""
    changed = sorted((sid for sid in wanted if wanted[sid] != before[sid]), key=lambda sid: _turn(before, wanted, sid))
    return tuple(Action(sid, before[sid], wanted[sid], kind, reason, expects) for sid in changed)


def _turn(before: Ceilings, wanted: Ceilings, sid: str) -> tuple[bool, int, str]:
    """When to ask for it: for less before more, and for the least last.

    What is freed goes to those that lack what was asked for before: were that lowered after it, to what is given by
    then, the server would go on to hold it for lacking, and grant nothing.
    """
    to = height(wanted[sid])
    return to > height(before[sid]), -to, sid


def attempt(
    state: ControllerState, kind: Kind, changed: dict[str, VideoQuality], now: float, reason: str, expects: str
) -> Stepped:
    """Hold those tracks down to those layers, as a trial."""
    before = state.asked
    if kind in LOWERING:
        restless = state.restless(now, MAX_SWITCHES - 1)
        changed = {sid: quality for sid, quality in changed.items() if sid not in restless}
    trial = Trial(kind, now, state.held, state.recent, gains=kind is not Kind.RAISE)
    state = replace(state, raised_at=now if trial.raised else state.raised_at)
    tried, actions = ask(state.holding_also(changed), before, now, kind, reason, expects)
    if not actions:
        return replace(state, quiet_until=now + SETTLE_S), ()
    return replace(tried, trial=replace(trial, changed=frozenset(action.track_sid for action in actions))), actions


def shared_out(state: ControllerState, evidence: Evidence, bandwidth_bps: float) -> tuple[Allocation, float]:
    """The best use of a bandwidth for what can be judged, with no track disabled, and what it is worth."""
    found = allocate(state.judged(evidence), state.within(bandwidth_bps), keep_all=True)
    return found, sum(choice.utility for choice in found.choices)


def kbps(bps: float) -> str:
    """For reasons."""
    return f"{bps / 1000:.0f} kb/s"
