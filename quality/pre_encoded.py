"""Which frames of a video that is encoded already are sent, where the way out carries less. Pure: frames in.

Such a video cannot be made smaller. What can be left out are frames that no other refers to, and everything but key
frames; after that nothing is sent before the next key frame. The estimate of the bandwidth grows with what is sent
only, so all is sent again from time to time, later after each time that was too much.
"""

from dataclasses import dataclass, replace
from enum import StrEnum

START_S = 10.0  # a new publication's bandwidth estimate begins at some 300 kb/s and takes seconds to come up (measured)
OVER = 1.25  # times the target: a source's rate swings by as much from second to second
OVER_S = 20.0  # while the estimate comes up, more than its target goes through (measured); what does not is dropped
REFERENCES_GAIN = 0.95  # leaving out unreferenced frames is worth it from 5% on
SPAN_S = 10  # of the source's rates: a few of its groups of pictures
RETRY_S = 10.0
MAX_RETRY_S = 120.0
PROVEN_S = 20.0
KEY_LATE_S = 2.0
BETWEEN_FRAMES = 2  # a look at the statistics falls between two frames


class Mode(StrEnum):
    """What is sent: all frames, those that others refer to, or key frames."""

    ALL = "all"
    REFERENCES = "references"
    KEY_FRAMES = "key_frames"


class Told(StrEnum):
    """What happened, for log and metrics."""

    KEY_FRAME_REQUESTED = "key_frame_requested"
    KEY_FRAME_LATE = "key_frame_late"
    REFERENCES_ONLY = "references_only"
    KEY_FRAMES_ONLY = "key_frames_only"
    ALL_AGAIN = "all_again"
    RATE_NOT_OBEYED = "rate_not_obeyed"


@dataclass(frozen=True, slots=True)
class Frame:
    """An encoded frame. `droppable`: no other frame refers to it."""

    size_bytes: int
    key: bool = False
    droppable: bool = False


@dataclass(frozen=True, slots=True)
class Encoded:
    """Frames that went through the encoder so far, and how many of them are key frames."""

    frames: int
    key_frames: int


@dataclass(frozen=True, slots=True)
class _Second:
    """Bytes that the source gave in one second: all, of frames that are referred to, of key frames."""

    at: int
    all: int = 0
    references: int = 0
    key: int = 0


@dataclass(frozen=True, slots=True)
class PreEncodedState:
    """What is remembered of one publication. Begin with `PreEncodedState()`.

    `all_since`: since when all goes out, and the estimate comes up; None before the key frame that this begins with.
    """

    mode: Mode = Mode.ALL
    needs_key: bool = True
    all_since: float | None = None
    target_bps: float | None = None
    seconds: tuple[_Second, ...] = ()
    over_since: float | None = None
    raised_at: float | None = None
    retry_at: float = 0.0
    retry_s: float = RETRY_S
    requested_at: float | None = None
    late_told: bool = False
    refused_told: bool = False


def begun_anew(state: PreEncodedState) -> PreEncodedState:
    """It was published anew: that begins with a key frame, and its estimate has to come up again."""
    return replace(broken(state), all_since=None, over_since=None, requested_at=None, late_told=False)


def broken(state: PreEncodedState) -> PreEncodedState:
    """A frame went missing (late, muted, refused): nothing is sent before the next key frame."""
    return replace(state, needs_key=True)


def muted(state: PreEncodedState) -> PreEncodedState:
    """It was muted, or is not any more: what was seen before says nothing of now, but for the mode."""
    return replace(broken(state), seconds=(), over_since=None, requested_at=None, late_told=False)


def whole_since_key(before: Encoded | None, given: int, after: Encoded | None) -> bool:
    """Whether the last key frame and what was given after it, `given` frames in all, went through the encoder.

    `before` it and `after` it are what had gone through; None where that is not known.
    """
    if before is None or after is None:
        # A still picture until the next key frame is better than a wrong one, which nobody asks to have mended.
        return False
    return after.key_frames > before.key_frames and given - (after.frames - before.frames) <= BETWEEN_FRAMES


def encoder_dropped(
    state: PreEncodedState, now: float, *, mended: bool = False
) -> tuple[PreEncodedState, tuple[Told, ...]]:
    """libwebrtc dropped frames, as it does where more comes than goes out, and later ones refer to them.

    `mended`: none of these since the last key frame that was sent.
    """
    state = state if mended else broken(state)
    rates, target_bps = rates_bps(state), state.target_bps
    if not rates or target_bps is None or _comes_up(state, now) or rates[state.mode] <= target_bps:
        return state, ()
    return _lower(state, rates, target_bps, now) if state.mode is not Mode.KEY_FRAMES else (state, ())


def admit(state: PreEncodedState, frame: Frame, now: float) -> tuple[PreEncodedState, bool]:
    """Count a frame of the source, and say whether to send it."""
    state = _counted(state, frame, now)
    if frame.key:
        if state.mode is Mode.ALL and state.all_since is None:
            state = replace(state, all_since=now)
        return replace(state, needs_key=False, requested_at=None, late_told=False), True
    if state.needs_key or state.mode is Mode.KEY_FRAMES:
        return replace(state, needs_key=True), False
    return state, not (frame.droppable and state.mode is Mode.REFERENCES)


def _counted(state: PreEncodedState, frame: Frame, now: float) -> PreEncodedState:
    at = int(now)
    *before, last = state.seconds or (_Second(at),)
    if last.at != at:
        before, last = [*before, last], _Second(at)
    size = frame.size_bytes
    last = replace(
        last,
        all=last.all + size,
        references=last.references + (0 if frame.droppable else size),
        key=last.key + (size if frame.key else 0),
    )
    return replace(state, seconds=(*(each for each in before if at - each.at <= SPAN_S), last))


def rates_bps(state: PreEncodedState) -> dict[Mode, float]:
    """What the source would take in each mode, from the last whole seconds; nothing before there are two."""
    whole = state.seconds[:-1]
    if len(whole) < 2:
        return {}
    span = state.seconds[-1].at - whole[0].at
    return {
        Mode.ALL: sum(each.all for each in whole) * 8 / span,
        Mode.REFERENCES: sum(each.references for each in whole) * 8 / span,
        Mode.KEY_FRAMES: sum(each.key for each in whole) * 8 / span,
    }


def feedback(
    state: PreEncodedState, now: float, *, target_bps: float | None = None, key_frame_requested: bool = False
) -> tuple[PreEncodedState, tuple[Told, ...]]:
    """Take in what libwebrtc asks for (None: nothing new), and say what became of it. Call it with each frame."""
    told: list[Told] = []
    if target_bps is not None:
        state = replace(state, target_bps=target_bps)
    if key_frame_requested and not state.needs_key and state.requested_at is None:
        state = replace(state, requested_at=now)
        told.append(Told.KEY_FRAME_REQUESTED)
    if state.requested_at is not None and not state.late_told and now - state.requested_at >= KEY_LATE_S:
        state = replace(state, late_told=True)
        told.append(Told.KEY_FRAME_LATE)
    state, changed = _thinned(state, now)
    return state, (*told, *changed)


def _thinned(state: PreEncodedState, now: float) -> tuple[PreEncodedState, tuple[Told, ...]]:
    rates, target_bps = rates_bps(state), state.target_bps
    if not rates or target_bps is None or _comes_up(state, now):
        return state, ()
    if state.mode is not Mode.ALL and (now >= state.retry_at or rates[Mode.ALL] <= target_bps):
        needs_key = state.needs_key or state.mode is Mode.KEY_FRAMES
        raised = replace(state, mode=Mode.ALL, needs_key=needs_key, raised_at=now, over_since=None)
        return replace(raised, all_since=None if needs_key else now, refused_told=False), (Told.ALL_AGAIN,)
    if rates[state.mode] <= OVER * target_bps:
        proven = state.raised_at is not None and now - state.raised_at >= PROVEN_S
        retry_s = RETRY_S if proven and state.mode is Mode.ALL else state.retry_s
        return replace(state, over_since=None, retry_s=retry_s), ()
    over_since = now if state.over_since is None else state.over_since
    state = replace(state, over_since=over_since)
    if now - over_since < OVER_S:
        return state, ()
    if state.mode is Mode.KEY_FRAMES:
        return replace(state, refused_told=True), () if state.refused_told else (Told.RATE_NOT_OBEYED,)
    return _lower(state, rates, target_bps, now)


def _comes_up(state: PreEncodedState, now: float) -> bool:
    """Whether all goes out for too short a time to say that it is too much: the estimate grows with what is sent."""
    return state.mode is Mode.ALL and (state.all_since is None or now - state.all_since < START_S)


def _lower(
    state: PreEncodedState, rates: dict[Mode, float], target_bps: float, now: float
) -> tuple[PreEncodedState, tuple[Told, ...]]:
    references = rates[Mode.REFERENCES]
    enough = references <= OVER * target_bps and references < REFERENCES_GAIN * rates[Mode.ALL]
    mode = Mode.REFERENCES if enough and state.mode is Mode.ALL else Mode.KEY_FRAMES
    retry_s = state.retry_s if state.raised_at is None else min(MAX_RETRY_S, state.retry_s * 2)
    lowered = replace(state, mode=mode, over_since=None, retry_at=now + retry_s, retry_s=retry_s)
    return lowered, (Told.REFERENCES_ONLY if mode is Mode.REFERENCES else Told.KEY_FRAMES_ONLY,)
