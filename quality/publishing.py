"""How to publish a video that machine or way out cannot carry as published. Pure: a second's window in, changes out.

libwebrtc adapts by itself: it shares out the bitrate, leaves out layers, makes a single layer smaller, and the whole
picture where encoding takes too long. What it does badly (measured on livekit 1.2.1) is left to this:
a highest layer that is kept alive on a tenth of its bitrate, highest layers that come and go, a lowest layer that is
alone and leaves half of the way unused, a screen whose frames are dropped at random, and an encoder that is busy all
the time. Each change is watched, and undone where it did not help.
"""

import math
from dataclasses import dataclass, field, replace
from enum import StrEnum
from statistics import fmean

from quality.publish_choice import cheaper, cost_ratio, fitting, higher, layers_again, reduced_rung
from quality.publish_ladder import (
    Limit,
    Move,
    Published,
    Rung,
    Settings,
    combined,
    fitting_lines,
    needed_bps,
    one_layer,
    rungs,
)
from quality.publish_signs import BUSY, Signs, read_signs
from quality.stats import Direction, TrackKind
from quality.window import Window

START_S = 12.0  # the bandwidth estimate of a new publication takes 8 to 10 s to come up (measured)
SETTLE_S = 6.0  # after a change: a key frame, the layers' rates and the encoder's load have to come to rest
LIMITED_S = 6.0  # trouble for so many seconds, those without it counted off
LONG_S = 4.0  # a look without an answer makes a window of 3 s; in a longer one, that of a reconnect, nobody looked
WATCH_S = 15.0  # what a change did is seen by then; libwebrtc looks at its own load every 5 s
UP_AFTER_S = {Limit.BANDWIDTH: 10.0, Limit.CPU: 30.0}
MAX_UP_AFTER_S = 300.0
IDLE = 0.5  # of the bandwidth sent: what is coded that easily does not fill the way at another size either
BACKOFF = 2.0
PROVEN_S = 60.0  # a change up that held for so long ends the back-off
BARRED_S = 60.0  # what did not help is not tried again for so long, twice as long each time
MAX_BARRED_S = 600.0
REPUBLISH_EVERY_S = 30.0  # two in a minute at most: each costs whoever watches a key frame
BETTER = 0.1  # of a measure of 0 to about 2: less is noise
NEW_TRACK_BETTER = 0.02  # going back to the track before would cost whoever watches another key frame
SEEN_S = 5  # seconds whose mean counts as "before" and "after": an encoder in need does well for one now and then
ROOM_MARGIN = 1.5  # times the least for the highest layer: more than what it is given up at
FLAPS, FLAPPING_S = 3, 60.0  # the highest layer went so often in so long


class Course(StrEnum):
    """Which way a decision goes; `undone`: the change before did not help."""

    DOWN = "down"
    UP = "up"
    UNDONE = "undone"


@dataclass(frozen=True, slots=True)
class PublishDecision:
    """Publish with `settings` in place of `from_settings`. `reason` and `expects` are for people, and for the log."""

    limit: Limit
    move: Move
    course: Course
    settings: Settings
    from_settings: Settings
    reason: str
    expects: str


@dataclass(frozen=True, slots=True)
class _Watch:
    """A step down whose effect is judged at `until`; before it the measure was `before` and the rungs were `kept`."""

    rung: Rung
    until: float
    before: float
    kept: tuple[Rung, ...]


@dataclass(frozen=True, slots=True)
class _Side:
    """What is remembered of one limit. `trouble` is the last one seen, `trouble_s` counts seconds with it, those
    without it off; `recent` are the last seconds, both since it changed something. `barred`: until when each rung is
    not tried, and how often it failed."""

    limit: Limit
    up_after_s: float
    applied: tuple[Rung, ...] = ()
    trouble: str = ""
    trouble_s: float = 0.0
    room_s: float = 0.0
    recent: tuple[Signs, ...] = ()
    watch: _Watch | None = None
    raised_at: float | None = None
    barred: tuple[tuple[Rung, float, int], ...] = ()

    def measure(self, move: Move) -> float:
        """How well it went lately as to what `move` is to help."""
        return fmean(signs.measure(self.limit, move) for signs in self.recent)


def _side(limit: Limit) -> _Side:
    return _Side(limit, UP_AFTER_S[limit])


@dataclass(frozen=True, slots=True)
class PublishState:
    """What `step` remembers of one publication. Begin with `start`."""

    published: Published
    quiet_until: float
    cpu: _Side = field(default_factory=lambda: _side(Limit.CPU))
    bandwidth: _Side = field(default_factory=lambda: _side(Limit.BANDWIDTH))
    republished_at: float = float("-inf")
    had_highest: bool = False
    flaps: tuple[float, ...] = ()

    @property
    def settings(self) -> Settings:
        """What is asked for now."""
        return combined((*self.cpu.applied, *self.bandwidth.applied))

    @property
    def layered(self) -> bool:
        """Whether simulcast layers are asked for now."""
        return self.published.layered and self.settings.simulcast is None


def start(published: Published, now: float) -> PublishState:
    """The state of a video that is published as wanted at `now` (Unix seconds)."""
    return PublishState(published, quiet_until=now + START_S)


def begun_anew(state: PublishState, now: float) -> PublishState:
    """The same video on another track (published anew) from `now` on: its bandwidth has to come up again."""
    return replace(state, quiet_until=max(state.quiet_until, now + START_S), had_highest=False, flaps=())


def step(state: PublishState, window: Window, now: float) -> tuple[PublishState, PublishDecision | None]:
    """Take in one second of the publication: at most one change, and none for `SETTLE_S` after each.

    Nothing is decided for what is muted, wanted by nobody, or not measured, nor by a window of over `LONG_S`; that
    begins the settling anew.
    """
    signs = _judgeable(state, window)
    if signs is None:
        quiet = max(state.quiet_until, now + SETTLE_S)
        cpu, bandwidth = (replace(side, trouble_s=0.0, room_s=0.0) for side in (state.cpu, state.bandwidth))
        return replace(state, quiet_until=quiet, cpu=cpu, bandwidth=bandwidth), None
    state = _note_flaps(state, signs, now)
    if now < state.quiet_until:
        return state, None
    state = _counted(state, signs, window.duration_s, now)
    for side in (state.bandwidth, state.cpu):
        for decide in (_judge, _down, _up):
            changed = decide(state, side, signs, now)
            if changed is not None:
                return changed
    return state, None


def refused(before: PublishState, decision: PublishDecision, now: float) -> PublishState:
    """The state where `decision`, for another track and made in the state `before`, was refused at `now`.

    It is as before, and the other track is asked for again later each time.
    """
    side = before.cpu if decision.limit is Limit.CPU else before.bandwidth
    if decision.course is Course.DOWN:
        codec = Rung(Move.CODEC, Settings(codec=decision.settings.codec))
        side = _bar(side, codec if decision.move is Move.CODEC else one_layer(before.published), now)
    else:
        # What did not help stays all the same: it goes up where there is room, and further down where there is none.
        side = replace(side, watch=None, up_after_s=_longer(side))
    side = replace(side, trouble_s=0.0, room_s=0.0)
    return replace(_with(before, side), republished_at=now, quiet_until=now + START_S)


def _bar(side: _Side, rung: Rung, now: float) -> _Side:
    """`rung` did not help, or could not be had: not again for a while, twice as long each time."""
    failed = 1 + next((times for each, _, times in side.barred if each == rung), 0)
    until = now + min(MAX_BARRED_S, BARRED_S * BACKOFF ** (failed - 1))
    return replace(side, barred=(*(each for each in side.barred if each[0] != rung), (rung, until, failed)))


def _judgeable(state: PublishState, window: Window) -> Signs | None:
    if window.kind is not TrackKind.VIDEO or window.direction is not Direction.OUTBOUND:
        return None
    if window.muted or window.was_muted or window.duration_s > LONG_S:
        return None
    return read_signs(state.published, state.settings, window)


def _note_flaps(state: PublishState, signs: Signs, now: float) -> PublishState:
    flaps = tuple(at for at in state.flaps if now - at < FLAPPING_S)
    if state.had_highest and not signs.highest_sent:
        flaps += (now,)
    return replace(state, had_highest=signs.highest_sent, flaps=flaps)


def _counted(state: PublishState, signs: Signs, duration_s: float, now: float) -> PublishState:
    def count(side: _Side) -> _Side:
        trouble = signs.trouble.get(side.limit, "")
        if not trouble and side.limit is Limit.BANDWIDTH and _flapping(state):
            trouble = f"the highest layer went {len(state.flaps)} times in a minute"
        room = bool(side.applied) and _room(state, side, signs)
        proven = side.raised_at is not None and now - side.raised_at >= PROVEN_S and not trouble
        return replace(
            side,
            trouble=trouble or side.trouble,
            trouble_s=max(0.0, side.trouble_s + (duration_s if trouble else -duration_s)),
            room_s=side.room_s + duration_s if room and not trouble else 0.0,
            recent=(*side.recent, signs)[-SEEN_S:],
            up_after_s=UP_AFTER_S[side.limit] if proven else side.up_after_s,
            raised_at=None if proven else side.raised_at,
        )

    return replace(state, cpu=count(state.cpu), bandwidth=count(state.bandwidth))


def _flapping(state: PublishState) -> bool:
    return state.layered and len(state.flaps) >= FLAPS


def _judge(
    state: PublishState, side: _Side, signs: Signs, now: float
) -> tuple[PublishState, PublishDecision | None] | None:
    """Whether the last step down did what was expected of it."""
    watch = side.watch
    if watch is None or now < watch.until:
        return None
    side = replace(side, watch=None)
    gained, is_new_track = side.measure(watch.rung.move) - watch.before, watch.rung.move.republishes
    enough = NEW_TRACK_BETTER if is_new_track else BETTER
    if not side.trouble_s and watch.rung.move is not Move.SIMULCAST:
        # Encoded in time, but by fewer frames of a smaller picture than before.
        enough = -BETTER if is_new_track else -math.inf
    if gained >= enough or watch.rung not in side.applied:
        return _with(state, side), None
    side = replace(_bar(side, watch.rung, now), applied=watch.kept)
    reason = f"it did not help: {side.trouble if side.trouble_s else 'less is seen than before'}"
    return _changed(state, side, watch.rung, Course.UNDONE, reason, "as before it", now)


def _down(
    state: PublishState, side: _Side, signs: Signs, now: float
) -> tuple[PublishState, PublishDecision | None] | None:
    smaller = side.limit is Limit.BANDWIDTH and any(rung.move is Move.LINES for rung in side.applied)
    if smaller and (useless := _useless(state, signs)):
        applied = side.applied
        side = replace(side, applied=(), watch=None, up_after_s=_longer(side))
        return _changed(state, side, applied[-1], Course.UNDONE, *useless, now)
    if side.trouble_s < LIMITED_S or side.watch is not None:
        return None
    if side.raised_at is not None:
        side = replace(side, up_after_s=_longer(side), raised_at=None)
    rung = _next_rung(state, side, signs, now)
    if rung is None:
        return _with(state, replace(side, trouble_s=0.0)), None
    kept = tuple(each for each in side.applied if each.move is not rung.move)
    if rung.move is Move.SIMULCAST:
        kept = tuple(each for each in kept if each.move is not Move.LINES)  # it has a size of its own
    if rung.move is Move.CODEC and (small := reduced_rung(state.published, signs)):
        # Of a new track libwebrtc begins with the whole picture, and may take minutes to make it as small again.
        kept = (*(each for each in kept if each.move is not Move.LINES), small)
    watch_s = REPUBLISH_EVERY_S if rung.move.republishes else WATCH_S
    watch = _Watch(rung, now + watch_s, side.measure(rung.move), side.applied)
    side = replace(side, applied=(*kept, rung), watch=watch)
    return _changed(replace(state, flaps=()), side, rung, Course.DOWN, side.trouble, _expected(side.limit, rung), now)


def _useless(state: PublishState, signs: Signs) -> tuple[str, str] | None:
    """Why a smaller picture is no good, and what is expected of the size as published; None where it may be."""
    if _left_to_encoder(state, signs):
        # Not even the smaller picture fits: as published, libwebrtc leaves out the highest layer, and the two below do.
        return "the highest layer is left out in this size too", "the lower layers as published"
    if signs.unsent:
        # libwebrtc sends fewer layers of a small picture: what is wanted may be one that it leaves out.
        return "the layer that is wanted is not sent in this size", "the layers as published"
    return None


def _left_to_encoder(state: PublishState, signs: Signs) -> bool:
    if signs.highest_sent or signs.available_bps is None:
        return False
    return fitting_lines(state.published, signs.available_bps) is None


def _next_rung(state: PublishState, side: _Side, signs: Signs, now: float) -> Rung | None:
    """The first rung below what is asked for; for simulcast layers that starve, the one that fits."""
    barred = {rung for rung, until, _ in side.barred if now < until}
    current = state.settings
    lower = [
        rung
        for rung in rungs(state.published, side.limit)
        if rung not in barred and combined((*state.cpu.applied, *state.bandwidth.applied, rung)) != current
    ]
    if now - state.republished_at < REPUBLISH_EVERY_S:
        lower = [rung for rung in lower if not rung.move.republishes]
    if side.limit is Limit.CPU:
        return cheaper(lower, current.lines or state.published.lines, side.recent)
    if signs.lowest_only:
        return next((rung for rung in lower if rung.move is Move.SIMULCAST), None)
    if state.published.screen or not state.layered or signs.available_bps is None:
        return next((rung for rung in lower if rung.move is not Move.SIMULCAST), None)
    return fitting(lower, state.published, signs.available_bps)


def _expected(limit: Limit, rung: Rung) -> str:
    settings = rung.settings
    match rung.move:
        case Move.FPS:
            what = f"at most {settings.max_fps:g} frames a second"
        case Move.LINES:
            what = f"a picture of {settings.lines} lines"
        case Move.CODEC:
            what = f"{settings.codec}, which is cheaper to encode,"
        case Move.SIMULCAST:
            return f"one layer that has all of the bandwidth, larger or smoother within {REPUBLISH_EVERY_S:.0f} s"
    then = "encoded in time" if limit is Limit.CPU else "whole and clear within the bandwidth"
    return f"{what} {then} within {WATCH_S:.0f} s"


def _up(
    state: PublishState, side: _Side, signs: Signs, now: float
) -> tuple[PublishState, PublishDecision | None] | None:
    if not side.applied or side.room_s < side.up_after_s:
        return None
    rung = side.applied[-1]
    if rung.move.republishes and now - state.republished_at < REPUBLISH_EVERY_S:
        return None
    if rung.move is Move.SIMULCAST and signs.available_bps is not None:
        above = layers_again(state.published, signs.available_bps, margin=ROOM_MARGIN)
    else:
        above = higher(state.published, side.limit, rung)
    applied = (*side.applied[:-1], *((above,) if above else ()))
    reason = f"room for it for {side.room_s:.0f} s"
    side = replace(side, applied=applied, watch=None, raised_at=now)
    return _changed(state, side, rung, Course.UP, reason, "no trouble from it", now)


def _room(state: PublishState, side: _Side, signs: Signs) -> bool:
    rung = side.applied[-1]
    above = higher(state.published, side.limit, rung)
    if side.limit is Limit.CPU:
        return not signs.cpu_limited and signs.load * cost_ratio(state.published, rung, above) < BUSY
    if signs.available_bps is None:
        return True
    if state.published.layered:
        if rung.move is Move.SIMULCAST:
            enough = fitting_lines(state.published, signs.available_bps, margin=ROOM_MARGIN) is not None
        else:
            lines = above.settings.lines if above and above.settings.lines else state.published.lines
            enough = needed_bps(state.published, lines, margin=ROOM_MARGIN) <= signs.available_bps
        # A way that is never filled is never known to be wider.
        return enough or signs.sent_bps < IDLE * signs.available_bps
    return signs.sent_bps < signs.available_bps / ROOM_MARGIN and signs.delivered > 0.9


def _longer(side: _Side) -> float:
    return min(MAX_UP_AFTER_S, side.up_after_s * BACKOFF)


def _with(state: PublishState, side: _Side) -> PublishState:
    return replace(state, cpu=side) if side.limit is Limit.CPU else replace(state, bandwidth=side)


def _changed(
    state: PublishState, side: _Side, rung: Rung, course: Course, reason: str, expects: str, now: float
) -> tuple[PublishState, PublishDecision | None]:
    before = state.settings
    side = replace(side, trouble_s=0.0, room_s=0.0, recent=())
    if _with(state, side).settings == before:  # the other limit asks for as little
        return _with(state, side), None
    after = replace(_with(state, side), quiet_until=now + SETTLE_S)
    if rung.move.republishes:
        after = replace(after, republished_at=now, quiet_until=now + START_S)
    decision = PublishDecision(side.limit, rung.move, course, after.settings, before, reason, expects)
    return after, decision
