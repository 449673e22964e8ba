"""How to publish a video that machine or way out cannot carry as published. Pure: a second's window in, changes out.

libwebrtc adapts by itself: it shares out the bitrate, leaves out layers, makes a single layer smaller, and the whole
picture where encoding takes too long. What it does badly (measured on livekit 1.2.1) is left to this:
a highest layer that is kept alive on a tenth of its bitrate, highest layers that come and go, a lowest layer that is
alone and leaves half of the way unused, a screen whose frames are dropped at random, or that gets no more of the way
than a camera beside it, and an encoder that is busy all the time. Each change is watched, and undone where it did not
help.
"""

import math
from dataclasses import dataclass, field, replace
from enum import StrEnum
from statistics import fmean

from quality.publish_choice import cheaper, cost_ratio, fitting, higher, layers_again, reduced_rung, yielding
from quality.publish_ladder import (
    Limit,
    Move,
    Published,
    Rung,
    Settings,
    combined,
    fitting_lines,
    least_bps,
    needed_bps,
    one_layer,
    rungs,
    yields,
)
from quality.publish_share import ALONE, Share
from quality.publish_side import Side, Watch
from quality.publish_signs import BUSY, Signs, read_signs
from quality.stats import Direction, TrackKind
from quality.window import Window

START_S = 12.0  # the bandwidth estimate of a new publication takes 8 to 10 s to come up (measured)
SETTLE_S = 6.0  # after a change: a key frame, the layers' rates and the encoder's load have to come to rest
LIMITED_S = 6.0  # trouble for so many seconds, those without it counted off
LONG_S = 4.0  # a look without an answer makes a window of 3 s; in a longer one, that of a reconnect, nobody looked
WATCH_S = 15.0  # what a change did is seen by then; libwebrtc looks at its own load every 5 s
HARDLY_ANY = 0.5  # of a screen's frames
IDLE = 0.5  # of the bandwidth sent: what is coded that easily does not fill the way at another size either
REPUBLISH_EVERY_S = 30.0  # two in a minute at most: each costs whoever watches a key frame
BETTER = 0.1  # of a measure of 0 to about 2: less is noise
NEW_TRACK_BETTER = 0.02  # going back to the track before would cost whoever watches another key frame
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
class PublishState:
    """What `step` remembers of one publication. Begin with `start`."""

    published: Published
    quiet_until: float
    cpu: Side = field(default_factory=lambda: Side.of(Limit.CPU))
    bandwidth: Side = field(default_factory=lambda: Side.of(Limit.BANDWIDTH))
    giving_way: Side = field(default_factory=lambda: Side.of(Limit.BANDWIDTH, gives_way=True))
    republished_at: float = float("-inf")
    had_highest: bool = False
    flaps: tuple[float, ...] = ()

    @property
    def applied(self) -> tuple[Rung, ...]:
        """All that is asked for now."""
        return (*self.cpu.applied, *self.bandwidth.applied, *self.giving_way.applied)

    @property
    def settings(self) -> Settings:
        """What is asked for now."""
        return combined(self.applied)

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


def step(
    state: PublishState, window: Window, now: float, share: Share = ALONE
) -> tuple[PublishState, PublishDecision | None]:
    """Take in one second of the publication: at most one change, and none for `SETTLE_S` after each.

    `share` is what it has of the way out. Nothing is decided for what is muted, wanted by nobody, or not measured, nor
    by a window of over `LONG_S`; that begins the settling anew.
    """
    signs = judged(state, share.of(window))
    if signs is None:
        for side in (state.cpu, state.bandwidth, state.giving_way):
            state = _with(state, replace(side, trouble_s=0.0, room_s=0.0))
        return replace(state, quiet_until=max(state.quiet_until, now + SETTLE_S)), None
    state = _note_flaps(state, signs, now)
    if now < state.quiet_until:
        return state, None
    state = _counted(state, signs, share, window.duration_s, now)
    for side in (state.giving_way, state.bandwidth, state.cpu):
        for decide in (_judge, _down, _up):
            if decide is _down and side is state.bandwidth and share.waits:
                continue
            changed = decide(state, side, signs, now)
            if changed is not None:
                return changed
    return state, None


def refused(before: PublishState, decision: PublishDecision, now: float) -> PublishState:
    """The state where `decision`, for another track and made in the state `before`, was refused at `now`.

    It is as before, and the other track is asked for again later each time.
    """
    gives_way = decision.move is Move.BITRATE
    side = before.giving_way if gives_way else before.cpu if decision.limit is Limit.CPU else before.bandwidth
    if decision.course is Course.DOWN:
        side = side.bar(_refused_rung(before.published, decision), now)
    else:
        # What did not help stays all the same: it goes up where there is room, and further down where there is none.
        side = replace(side.later(), watch=None)
    side = replace(side, trouble_s=0.0, room_s=0.0)
    return replace(_with(before, side), republished_at=now, quiet_until=now + START_S)


def _refused_rung(published: Published, decision: PublishDecision) -> Rung:
    wanted = decision.settings
    match decision.move:
        case Move.CODEC:
            return Rung(Move.CODEC, Settings(codec=wanted.codec))
        case Move.BITRATE:
            return next(rung for rung in yields(published) if rung.settings.max_bitrate_bps == wanted.max_bitrate_bps)
        case _:
            return one_layer(published)


def may_give_way(state: PublishState, signs: Signs, now: float) -> bool:
    """Whether the video can leave more of the way to a screen of ours, or has done so within `WATCH_S`."""
    watch = state.giving_way.watch
    just_now = watch is not None and watch.until - now > REPUBLISH_EVERY_S - WATCH_S
    return just_now or bool(state.giving_way.allowed(_yielding(state, signs), now))


def _yielding(state: PublishState, signs: Signs) -> list[Rung]:
    sent = fmean(each.sent_bps for each in state.bandwidth.recent or (signs,))
    return yielding(state.published, state.giving_way.applied, sent)


def judged(state: PublishState, window: Window) -> Signs | None:
    """What a second says of the video; None where nothing is to be decided by it."""
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


def _counted(state: PublishState, signs: Signs, share: Share, duration_s: float, now: float) -> PublishState:
    troubles = dict(signs.trouble)
    if Limit.BANDWIDTH not in troubles and _flapping(state):
        troubles[Limit.BANDWIDTH] = f"the highest layer went {len(state.flaps)} times in a minute"
    for side in (state.cpu, state.bandwidth):
        room = bool(side.applied) and _room(state, side, signs)
        state = _with(state, side.count(signs, troubles.get(side.limit, ""), duration_s, now, room=room))
    side, screen = state.giving_way, share.screen
    trouble, seen = (screen.trouble, screen.signs) if screen else ("", None)
    room = bool(side.applied) and _room_beside(state, side, signs, share)
    return _with(state, side.count(seen, trouble, duration_s, now, room=room))


def _flapping(state: PublishState) -> bool:
    return state.layered and len(state.flaps) >= FLAPS


def _judge(
    state: PublishState, side: Side, signs: Signs, now: float
) -> tuple[PublishState, PublishDecision | None] | None:
    """Whether the last step down did what was expected of it."""
    watch = side.watch
    if watch is None or now < watch.until:
        return None
    side = replace(side, watch=None)
    if not side.recent:  # the screen that it was for has gone
        return _with(state, side), None
    gained, is_new_track = side.measure(watch.rung.move) - watch.before, watch.rung.move.republishes
    enough = NEW_TRACK_BETTER if is_new_track else BETTER
    if not side.trouble_s and watch.rung.move is not Move.SIMULCAST:
        # Encoded in time, but by fewer frames of a smaller picture than before.
        enough = -BETTER if is_new_track else -math.inf
    if gained >= enough or watch.rung not in side.applied:
        return _with(state, side), None
    side = replace(side.bar(watch.rung, now), applied=watch.kept)
    reason = f"it did not help: {side.trouble if side.trouble_s else 'less is seen than before'}"
    return _changed(state, side, watch.rung, Course.UNDONE, reason, "as before it", now)


def _down(
    state: PublishState, side: Side, signs: Signs, now: float
) -> tuple[PublishState, PublishDecision | None] | None:
    smaller = side.limit is Limit.BANDWIDTH and any(rung.move is Move.LINES for rung in side.applied)
    if smaller and (useless := _useless(state, signs)):
        applied = side.applied
        side = replace(side.later(), applied=(), watch=None)
        return _changed(state, side, applied[-1], Course.UNDONE, *useless, now)
    if side.trouble_s < LIMITED_S or side.watch is not None:
        return None
    if side.raised_at is not None:
        side = replace(side.later(), raised_at=None)
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
    watch = Watch(rung, now + watch_s, side.measure(rung.move), side.applied)
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


def _next_rung(state: PublishState, side: Side, signs: Signs, now: float) -> Rung | None:
    """The first rung below what is asked for; for simulcast layers that starve, the one that fits."""
    current = state.settings
    ladder = _yielding(state, signs) if side.gives_way else rungs(state.published, side.limit)
    lower = [rung for rung in side.allowed(ladder, now) if combined((*state.applied, rung)) != current]
    if now - state.republished_at < REPUBLISH_EVERY_S:
        lower = [rung for rung in lower if not rung.move.republishes]
    if side.gives_way:
        return lower[0] if lower else None
    if side.limit is Limit.CPU:
        return cheaper(lower, current.lines or state.published.lines, side.recent)
    alone = next((rung for rung in lower if rung.move is Move.SIMULCAST), None)
    if signs.lowest_only:
        return alone
    hardly_any = fmean(each.delivered for each in side.recent) < HARDLY_ANY
    if alone and state.published.screen and state.layered and hardly_any:
        # Fewer frames help no layer that gets what the one below leaves: a screen of half its size is not read either.
        return alone
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
        case Move.BITRATE:
            most = (settings.max_bitrate_bps or 0) / 1000
            return f"more of the screen's frames within {WATCH_S:.0f} s, as this video takes {most:.0f} kb/s at most"
    then = "encoded in time" if limit is Limit.CPU else "whole and clear within the bandwidth"
    return f"{what} {then} within {WATCH_S:.0f} s"


def _up(
    state: PublishState, side: Side, signs: Signs, now: float
) -> tuple[PublishState, PublishDecision | None] | None:
    if not side.applied or side.room_s < side.up_after_s:
        return None
    rung = side.applied[-1]
    if rung.move.republishes and now - state.republished_at < REPUBLISH_EVERY_S:
        return None
    if rung.move is Move.SIMULCAST and signs.available_bps is not None:
        above = layers_again(state.published, signs.available_bps, margin=ROOM_MARGIN)
    elif side.gives_way and not side.recent:
        above = None  # the screen has gone
    else:
        above = higher(state.published, side.limit, rung)
    applied = (*side.applied[:-1], *((above,) if above else ()))
    reason = f"room for it for {side.room_s:.0f} s"
    side = replace(side, applied=applied, watch=None, raised_at=now)
    return _changed(state, side, rung, Course.UP, reason, "no trouble from it", now)


def _room(state: PublishState, side: Side, signs: Signs) -> bool:
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


def _room_beside(state: PublishState, side: Side, signs: Signs, share: Share) -> bool:
    """Whether the way out carries the video in its next larger form beside the screen that it gave way to."""
    if share.screen is None or signs.available_bps is None:
        return True
    published, above = state.published, higher(state.published, side.limit, side.applied[-1])
    if above and above.settings.max_bitrate_bps:
        needed = ROOM_MARGIN * above.settings.max_bitrate_bps
    elif published.layered:
        needed = needed_bps(published, published.lines, margin=ROOM_MARGIN)
    else:
        needed = ROOM_MARGIN * least_bps(published.lines)
    return needed <= signs.available_bps or (
        # As in `_room`.
        signs.sent_bps + share.taken_bps < IDLE * (signs.available_bps + share.taken_bps)
    )


def _with(state: PublishState, side: Side) -> PublishState:
    if side.gives_way:
        return replace(state, giving_way=side)
    return replace(state, cpu=side) if side.limit is Limit.CPU else replace(state, bandwidth=side)


def _changed(
    state: PublishState, side: Side, rung: Rung, course: Course, reason: str, expects: str, now: float
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
