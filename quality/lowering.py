"""What the layer controller asks for less for: a way that became narrow, trouble, other layers, peace."""

from dataclasses import replace

from quality.asking import Stepped, ask, attempt, kbps, shared_out
from quality.controller_state import ControllerState
from quality.evidence import Evidence
from quality.layer_steps import bitrate_bps, enabled, height, most_worth, worth_of
from quality.layer_trials import (
    BETTER,
    FILLED_WAIT_S,
    FIRST_WAIT_S,
    Kind,
    Trial,
    longer,
    longer_after_all,
    shorter,
    waits,
)
from quality.stats import VideoQuality

FITS = 0.95  # of what comes through a full way: the queue has to drain
OVER = 1.25  # times what comes, and more than that is asked for: scenes vary
OVER_ALONE = 1.6  # the same of one video: half of its frames, with 0.6 of its bits, are worth more than a layer below
SURE_S = 2  # a way is full for so long before less is asked for: its first second is partly of the time before
SOON_S = 6.0  # a way that is full within this time of a raise is so by it, even where it came whole at first
BRIM_S = 5  # a queue that stands for so long: a little more than comes is asked for
LOST = 0.2  # of the packets, where no queue is known of: a fifth of what is asked for did not come
FIT_JUDGED_S = 4  # the queue is gone by then
LOSSY_S = 8  # pictures that break for so long without a queue break by loss
THROUGH = 0.85  # of what came while there was trouble: the queue has to drain, and scenes vary
RADIO_GAIN = 1.3  # where there is no queue: what is lost by the way, or by radio, is mostly so in any layer
SHARE_GAIN = 1.15  # less is not worth key frames, nor the risk
LATE_S = 20.0  # trouble within this time of a raise that seemed to work is still its doing
SWUNG = 3  # down, up and down again


def fit(state: ControllerState, evidence: Evidence, now: float) -> Stepped:
    """Where the way has become full and the server does not act on it yet, ask for no more than comes through."""
    fitting = state.trial is not None and state.trial.kind is Kind.FIT
    brimming = _is_brimming(state, evidence, now)
    if now < state.quiet_until or not (brimming or _is_too_narrow(state, evidence)):
        return state, ()
    # Without a queue that is known of it may be loss, which is not tried twice.
    idle = state.is_idle(evidence)
    if idle and (fitting or waits(state.waits, Kind.FIT, now)):
        return state, ()
    comes_bps = state.width.full_bps
    fits = enabled(shared_out(state, evidence, FITS * comes_bps)[0].qualities)
    less = {sid: quality for sid, quality in fits.items() if height(quality) < height(state.asked[sid])}
    if state.trial is not None and not fitting:
        state = replace(state, waits=longer(state.waits, state.trial.kind, now), widened=False)
    elif brimming or now - state.raised_at < SOON_S:
        first_s = FILLED_WAIT_S if brimming else FIRST_WAIT_S
        state = replace(state, waits=longer_after_all(state.waits, Kind.RAISE, now, first_s), widened=False)
    reason = f"{f'{evidence.lost_ratio:.0%} lost' if idle else 'a queue stands'}, and {kbps(comes_bps)} come"
    return attempt(replace(state, trial=None), Kind.FIT, less, now, reason, "neither from then on")


def _is_too_narrow(state: ControllerState, evidence: Evidence) -> bool:
    """Whether the way is full, and of less than is asked for.

    A way that became longer is no narrower: packets come as close as before. Loss of a few percent is the way's own.
    """
    if not state.width.told or not state.is_full(evidence) or state.width.full_s < SURE_S or _server_acts(evidence):
        return False
    asked_bps = bitrate_bps(state.judged(evidence), state.asked)
    if asked_bps <= (OVER if len(evidence.tracks) > 1 else OVER_ALONE) * state.width.full_bps:
        return False
    if state.is_idle(evidence):  # round trips are measured every few seconds
        return evidence.lost_ratio >= LOST
    return not state.width.trains[-1].is_closer_than(asked_bps)


def _server_acts(evidence: Evidence) -> bool:
    """Whether the server gives less than it is asked for: it lowers better than it can be asked to.

    Until a lower layer's key frame it sends nothing more of a video that it lowers itself, and nothing of it again;
    where less is asked for it goes on with both, and the way stays full for seconds (livekit-server, `forwarder.go`).
    """
    # Frames that are missing where a picture broke may have been lost.
    return evidence.below or (evidence.withheld and not evidence.broken)


def _is_brimming(state: ControllerState, evidence: Evidence, now: float) -> bool:
    """Whether a raise fills a way that a bucket hides, so slowly that it was taken for one that worked."""
    late = state.width.full_s >= BRIM_S and now - state.raised_at < LATE_S
    return late and not evidence.broken and state.is_filled(evidence)


def judge_fit(state: ControllerState, trial: Trial, evidence: Evidence, now: float) -> Stepped:
    """Where pictures go on to break without a queue, what was lowered for it comes back: a lower layer does not help.

    A queue that still stands is no failure: more is lowered where more than comes is asked for.
    """
    lossy = evidence.broken and state.is_idle(evidence)
    if now - trial.began < (LOSSY_S if lossy else FIT_JUDGED_S):
        return state, ()
    ended = replace(state, trial=None)
    if not lossy:
        return replace(ended, waits=shorter(state.waits, Kind.FIT, now)), ()
    undone = replace(ended.taken_back(trial), waits=longer(state.waits, Kind.FIT, now), widened=False)
    reason = f"less was asked for {now - trial.began:.0f} s ago, and pictures break without a queue"
    return ask(undone, state.asked, now, Kind.UNDO, reason, "what was seen before")


def relieve(state: ControllerState, evidence: Evidence, now: float) -> Stepped:
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
    fits = shared_out(state, evidence, THROUGH * evidence.received_bps)[0].qualities
    held = {sid: min(quality, fits[sid] or VideoQuality.LOW) for sid, quality in troubled.items()}
    if all(held[sid] == quality for sid, quality in troubled.items()):
        held = {sid: VideoQuality(max(0, quality - 1)) for sid, quality in troubled.items()}
    if worth_of(videos, held) < least:
        return state, ()
    if now - state.raised_at < LATE_S:
        state = replace(state, waits=longer_after_all(state.waits, Kind.RAISE, now), widened=False)
    return attempt(state, Kind.RELIEVE, held, now, f"{evidence.trouble}, for {state.troubled} s", "more to be seen")


def steady(state: ControllerState, evidence: Evidence, now: float) -> Stepped:
    """Have what has switched often enough stay below what it does not keep."""
    swung = state.restless(now, SWUNG - 1)
    held = {
        item.track_sid: max(item.quality, VideoQuality(asked - 1))
        for item in evidence.tracks
        if item.track_sid in swung and item.quality < (asked := state.asked[item.track_sid] or VideoQuality.LOW)
    }
    before = state.asked
    reason = f"switched {SWUNG} times or more in a minute"
    return ask(state.holding_also(held), before, now, Kind.STEADY, reason, "no more switches in it")


def share(state: ControllerState, evidence: Evidence, now: float) -> Stepped:
    """Lower what matters less, where what comes would then be worth more."""
    if waits(state.waits, Kind.SHARE, now):
        return state, ()
    found, worth = shared_out(state, evidence, evidence.received_bps)
    if worth < SHARE_GAIN * evidence.worth:
        return state, ()
    judged = {item.track_sid: item for item in evidence.tracks}
    # The one that gains is not held down: the server may find some frames more for it.
    held = {
        choice.track_sid: choice.layer.quality
        for choice in found.choices
        if choice.layer and (own := judged.get(choice.track_sid)) and choice.utility < own.worth
    }
    reason = f"{kbps(evidence.received_bps)} are worth {worth:.2f} otherwise shared, {evidence.worth:.2f} now"
    return attempt(state, Kind.SHARE, held, now, reason, f"a worth of {SHARE_GAIN * evidence.worth:.2f}")
