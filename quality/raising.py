"""What the layer controller asks for more for: what the server withholds, and what was lowered."""

from dataclasses import replace

from quality.asking import Stepped, ask, attempt, kbps, shared_out
from quality.controller_state import ROOMY, ControllerState
from quality.evidence import Evidence
from quality.layer_steps import above, bitrate_bps, enabled, lower, steps_up, worth_of
from quality.layer_trials import BETTER, NO_WORSE, Kind, Trial, waits
from quality.stats import VideoQuality
from quality.switches import MAX_SWITCHES

WITHHELD_S = 3  # a switch that is under way is over
UNANSWERED_S = 30  # the server's own probes come every 3 to 4 s at first, but it may not know that it is lacking
KNOWN_UNANSWERED_S = 45  # the same where trains of packets say that the way carries no more
PROVED_UNANSWERED_S = 10  # the same where the way has proved to carry all: two of the server's probes had their answer
PROBE_FITS = 0.75  # of what the way carries, what a probe asks for: scenes vary, sound and repairs come besides
NOT_GRANTED_S = 8  # since a raise whose layers do not come: the server withholds something, and grants nothing
PROBE_GAIN = 1.1  # of the worth that is seen, what a probe for what the way carries has to promise
WIDER = 1.3  # times what comes: what a probe, and what comes after one that worked, asks for at most
CLEAN_S = 4
PROVED_S = 2  # clean for so long where it is known what the way carries
WIDENED_S = 3  # clean for so long after a raise that worked
UNPROVEN_S = 15  # clean for so long where this end's estimate does not cover the step
KNOWN_UNPROVEN_S = 90  # the same where trains say that the way does not carry it
TIGHT = 0.95  # of what it carries, and more: it hardly does
PROVEN = 0.9  # of a step's bits, or more: the estimate covers it


def probe(state: ControllerState, evidence: Evidence, now: float, *, proved: bool) -> Stepped:
    """What the server withholds though the way may carry it. `proved`: it is known to carry all.

    All that is lacking is lowered for a second: the server grants what is asked for only where it withholds nothing.
    """
    width = state.width
    withheld = {item.track_sid for item in evidence.tracks if item.withheld}
    # All is lowered before more is asked for.
    restless = state.restless(now, MAX_SWITCHES - 1 - _spare(state))
    if withheld & restless or not state.is_idle(evidence) or state.is_rising:
        return state, ()
    if waits(state.waits, Kind.PROBE, now) and not width.wider:
        return state, ()
    # Where the way was never full, fewer frames are a publisher's own.
    if width.bps is not None and (width.full_bps or evidence.below):
        lacking = withheld | {item.track_sid for item in evidence.tracks if item.short}
        if (
            now - state.raised_at < NOT_GRANTED_S
            and (again := _ask_again(state, evidence, now, width.bps, restless))[1]
        ):
            return again
        found, worth = shared_out(state, evidence, PROBE_FITS * width.bps)
        if worth >= PROBE_GAIN * evidence.worth and not lacking & restless:
            return _lower(
                state, evidence, now, lacking, enabled(found.qualities), why=f" that carries {kbps(width.bps)}"
            )
    if proved and state.unanswered >= PROVED_UNANSWERED_S:
        wanted = {sid: each for sid, each in enabled(state.asked).items() if sid in withheld}
        return _lower(state, evidence, now, withheld, wanted)
    if not proved and state.unanswered >= (KNOWN_UNANSWERED_S if width.told else UNANSWERED_S):
        wanted, gains = _a_little_more(state, evidence)
        return _lower(state, evidence, now, withheld, wanted, gains=gains)
    return state, ()


def probe_on(state: ControllerState, probe: Trial, now: float) -> Stepped:
    """All was lowered: now ask for what is to be tried."""
    asked = state.asked
    wanted = dict(probe.wanted)
    held = {sid: quality for sid, quality in state.held if sid not in probe.changed} | wanted
    state = replace(state.holding(held), probing=None, trial=replace(probe, began=now), raised_at=now)
    least = (BETTER if probe.gains else NO_WORSE) * probe.worth
    return ask(state, asked, now, Kind.PROBE, "all was lowered", f"a worth of {least:.2f}")


def bring_back(state: ControllerState, evidence: Evidence, now: float, *, proved: bool) -> Stepped:
    """The most useful steps of those that are held down. `proved`: the way is known to carry all that is wanted."""
    lossy = bool(evidence.trouble)
    room_bps = None if lossy else state.width.bps
    if not _may_raise(state, now, known=proved or room_bps is not None, lossy=lossy):
        return state, ()
    assert state.inputs is not None
    asked, videos = state.asked, state.judged(evidence)
    top = _highest(state, now, 1 if proved else _spare(state))
    budget_bps = WIDER * evidence.received_bps if state.widened else 0.0
    if room_bps is not None:
        budget_bps = ROOMY * room_bps
    wanted = steps_up(videos, asked, top, state.inputs[1], budget_bps)
    covered = wanted != asked
    if not covered:
        wanted = steps_up(videos, asked, top, state.inputs[1], 0.0, least=1)
    if wanted == asked:
        return state, ()
    more_bps = bitrate_bps(videos, wanted) - bitrate_bps(videos, asked)
    fits = room_bps is None or TIGHT * room_bps >= bitrate_bps(videos, wanted)
    known_bps = evidence.available_bps
    proven = fits and known_bps is not None and known_bps >= PROVEN * (evidence.received_bps + more_bps)
    patience_s = UNPROVEN_S if fits else KNOWN_UNPROVEN_S
    if not (covered or proven or lossy or state.clean >= patience_s):
        return state, ()
    calm = f"no picture broke for {state.unbroken} s" if lossy else f"clean for {state.clean} s"
    reason = calm + (f", {kbps(known_bps)} estimated" if known_bps is not None else "")
    reason += f", on a way that carries {kbps(room_bps)}" if room_bps is not None else ""
    return attempt(state, Kind.RAISE, enabled(wanted), now, reason, "the higher layer, and no trouble")


def _may_raise(state: ControllerState, now: float, *, known: bool, lossy: bool) -> bool:
    """Whether something is held down, and all was well for long enough; `known`: what the way carries."""
    width = state.width
    clean_s = PROVED_S if known else WIDENED_S if state.widened else CLEAN_S
    if not state.held or not (lossy or state.clean >= clean_s):
        return False
    if (waits(state.waits, Kind.RAISE, now) and not width.wider) or (width.was_full and not lossy):
        return False
    return lossy or not state.is_rising


def _highest(state: ControllerState, now: float, spare: int) -> dict[str, VideoQuality | None]:
    """How far up each may go: each layer is a switch, and `spare` of the minute's are to be left."""
    none, one = state.restless(now, MAX_SWITCHES - spare), state.restless(now, MAX_SWITCHES - spare - 1)
    top = state.top
    return {
        sid: lower(above(quality, most=0 if sid in none else 1 if sid in one else 2), top[sid])
        for sid, quality in state.asked.items()
    }


def _spare(state: ControllerState) -> int:
    """Switches of the minute that have to be left for more to be asked for.

    One is that itself, one more is for its failure, and the server may need one; neither is expected on a wide way.
    """
    return 1 if state.is_wide else 2 if state.is_roomy else 3


def _ask_again(state: ControllerState, evidence: Evidence, now: float, way_bps: float, restless: set[str]) -> Stepped:
    """What was asked for a moment ago and fits, but was not granted. All is lowered for it that can be.

    What that frees lets the server complete what is in the lowest layer already, so that it withholds nothing more.
    """
    asked, videos = enabled(state.asked), state.judged(evidence)
    lowered = {item.track_sid for item in evidence.tracks if item.withheld or item.quality > VideoQuality.LOW}
    fits = bitrate_bps(videos, state.asked) <= ROOMY * way_bps
    if lowered & restless or not fits or worth_of(videos, asked) < PROBE_GAIN * evidence.worth:
        return state, ()
    return _lower(state, evidence, now, lowered, asked, why=f" that carries {kbps(way_bps)}")


def _lower(
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
    lacks = (item for item in evidence.tracks if item.track_sid in lacking)
    below = {item.track_sid: VideoQuality(max(0, item.quality - 1)) for item in lacks}
    changed = frozenset(below) | frozenset(wanted)
    trial = Trial(Kind.PROBE, now, state.held, state.recent, changed, wanted=tuple(wanted.items()), gains=gains)
    reason = f"less than was asked for, for {state.unanswered} s, on an idle way{why}"
    lowered = replace(state.holding_also(below), probing=trial)
    return ask(lowered, state.asked, now, Kind.PROBE, reason, "that the server tries more")


def _a_little_more(state: ControllerState, evidence: Evidence) -> tuple[dict[str, VideoQuality], bool]:
    """What would be worth more, for a little more than what comes; else what comes (False), to be raised from there."""
    found, worth = shared_out(state, evidence, WIDER * evidence.received_bps)
    if worth < BETTER * evidence.worth:
        return {item.track_sid: item.quality for item in evidence.tracks}, False
    return enabled(found.qualities), True
