"""When a recording begins, pauses and ends by itself (pure).

`step` is called once a second, and whenever the room changes, with what is so now; it answers with at most one
action. What people ask comes to the recording itself, and shows in the next snapshot.

- Each condition of `StopConditions` must hold without a break for its time, counted from the recording's start at the
  earliest. While we are cut off from the room nothing is known, and no time counts; only duration and size end a
  recording then. While the recording is paused only an empty room counts.
- The room's metadata count when they change: who asks otherwise afterwards is obeyed until they change again. That they
  are gone ends nothing: a server that was restarted has forgotten them.
- "First published" counts when tracks come after there were none, so a recording that was ended by hand does
  not begin again at once.
- Where a recording is gone on with, or was stopped before, `DECIDED` is the state to begin with: what is so at first
  was so before, and what people decided of it stands until it changes.
"""

from dataclasses import dataclass, field, replace
from typing import TypeAlias

from agent.room.recording_plan import EndedReason, RecordingPlan, RecordWhen, StopConditions
from agent.room.room_metadata import RecordWish


@dataclass(frozen=True, slots=True)
class RecordingSnapshot:
    """What is so now. `connected`: room and tap can tell.

    `recording`: one runs, paused or not; `recording_id` tells it from the one before. `participants`: others in the
    room. `published`: tracks to be recorded, and `unmuted` how many of them are not muted. `heard`: somebody recorded
    is. `packets`: received for the recording so far. `wish`: what the room's metadata ask.
    """

    connected: bool = True
    recording: bool = False
    recording_id: str = ""
    paused: bool = False
    participants: int = 0
    published: int = 0
    unmuted: int = 0
    heard: bool = False
    packets: int = 0
    recorded_s: float = 0.0
    size_bytes: int = 0
    wish: RecordWish | None = None


@dataclass(frozen=True, slots=True)
class Begin:
    """Begin a recording; `paused`: without media for now."""

    paused: bool = False


@dataclass(frozen=True, slots=True)
class Pause:
    """Pause the recording."""


@dataclass(frozen=True, slots=True)
class Unpause:
    """Go on with the recording."""


@dataclass(frozen=True, slots=True)
class End:
    """Close the recording."""

    reason: EndedReason


PolicyAction: TypeAlias = Begin | Pause | Unpause | End


@dataclass(frozen=True, slots=True)
class PolicyState:
    """What `step` remembers. `held_since`: when each condition began to hold without a break, by reason.

    `unseen`: what published and wish were is still to be taken from the first look.
    """

    recording: bool = False
    recording_id: str = ""
    published: int = 0
    wish: RecordWish | None = None
    packets: int = 0
    at: float | None = None
    held_since: dict[EndedReason, float] = field(default_factory=dict)
    unseen: bool = False


DECIDED = PolicyState(unseen=True)


def step(
    plan: RecordingPlan, state: PolicyState, now: float, seen: RecordingSnapshot
) -> tuple[PolicyState, PolicyAction | None]:
    """The state after `seen` at `now` (seconds of any steady clock), and what to do."""
    if not seen.connected:
        ended = _end(plan.stop, {}, now, seen) if seen.recording else None
        return replace(state, held_since=_moved(state.held_since, now, state.at), at=now), ended
    if state.unseen:
        state = replace(state, published=seen.published, wish=seen.wish)
    action = _asked_by_metadata(plan, state, seen)
    if action is None and not seen.recording and _published_first(plan, state, seen):
        action = Begin()
    held = _held(plan.stop, state, now, seen) if seen.recording else {}
    if action is None and seen.recording:
        action = _end(plan.stop, held, now, seen)
    if isinstance(action, End):
        held = {}  # whatever runs next is another recording, even where it goes on in the same folder
    after = PolicyState(
        recording=seen.recording,
        recording_id=seen.recording_id,
        published=seen.published,
        wish=seen.wish,
        packets=seen.packets,
        at=now,
        held_since=held,
    )
    return after, action


def _moved(held: dict[EndedReason, float], now: float, before: float | None) -> dict[EndedReason, float]:
    """The time that passed while we were cut off counts for no condition."""
    passed = 0.0 if before is None else now - before
    return {reason: since + passed for reason, since in held.items()}


def _asked_by_metadata(plan: RecordingPlan, state: PolicyState, seen: RecordingSnapshot) -> PolicyAction | None:
    if plan.when is not RecordWhen.METADATA or seen.wish is state.wish:
        return None
    if seen.wish is RecordWish.RECORD and seen.paused:
        return Unpause()
    if seen.wish is RecordWish.PAUSED and seen.recording:
        return None if seen.paused else Pause()
    if seen.wish in {RecordWish.RECORD, RecordWish.PAUSED} and not seen.recording:
        return Begin(paused=seen.wish is RecordWish.PAUSED)
    if seen.wish is RecordWish.OFF and seen.recording:
        return End(EndedReason.METADATA)
    return None


def _published_first(plan: RecordingPlan, state: PolicyState, seen: RecordingSnapshot) -> bool:
    return plan.when is RecordWhen.PUBLISHED and state.published == 0 and seen.published > 0


def _held(stop: StopConditions, state: PolicyState, now: float, seen: RecordingSnapshot) -> dict[EndedReason, float]:
    """Since when each condition that holds now has held."""
    new = not state.recording or state.recording_id != seen.recording_id
    holds = {EndedReason.EMPTY: seen.participants == 0}
    if not seen.paused:
        holds |= {
            EndedReason.SILENT: not seen.heard,
            EndedReason.MUTED: seen.published > 0 and seen.unmuted == 0,
            EndedReason.NO_MEDIA: not new and seen.packets == state.packets,
        }
    before = {} if new else state.held_since
    wanted = _times(stop)
    return {reason: before.get(reason, now) for reason, so in holds.items() if so and reason in wanted}


def _times(stop: StopConditions) -> dict[EndedReason, float]:
    times = {
        EndedReason.EMPTY: stop.empty_s,
        EndedReason.MUTED: stop.muted_s,
        EndedReason.NO_MEDIA: stop.no_media_s,
        EndedReason.SILENT: stop.silent_s,
    }
    return {reason: after for reason, after in times.items() if after is not None}


def _end(
    stop: StopConditions, held: dict[EndedReason, float], now: float, seen: RecordingSnapshot
) -> PolicyAction | None:
    if stop.duration_s is not None and seen.recorded_s >= stop.duration_s:
        return End(EndedReason.DURATION)
    if stop.size_bytes is not None and seen.size_bytes >= stop.size_bytes:
        return End(EndedReason.SIZE)
    for reason, after in _times(stop).items():
        if reason in held and now - held[reason] >= after:
            return End(reason)
    return None
