"""Has recordings begin, pause and end as the plan says: feeds `recording_policy.step` and does what it answers."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import replace

import structlog

from agent.errors import RoomhandError
from agent.room.recording_activity import RecordingActivity
from agent.room.recording_plan import RecordingPlan
from agent.room.recording_policy import DECIDED, PolicyAction, PolicyState, RecordingSnapshot, step
from agent.room.room_metadata import RecordWish, record_wish
from agent.room.state import ParticipantState, TrackState
from agent.room.subscription import Candidate, SubscriptionPolicy, decide
from agent.room.tap_values import is_recordable
from agent.tasks import Tasks
from media.clock import SteadyClock
from media.errors import MediaError

log = structlog.get_logger(__name__)

STEP_INTERVAL_S = 1.0
RETRY_AFTER_S = 5.0  # a recording that could not begin is tried again, but not in each second's log


class RecordingControl:
    """Asks `look` how things are and has `act` do what follows. `plan` may be replaced at any time."""

    def __init__(
        self,
        plan: RecordingPlan,
        look: Callable[[], RecordingSnapshot],
        act: Callable[[PolicyAction], Awaitable[None]],
        clock: SteadyClock,
    ) -> None:
        self.plan = plan
        self._look = look
        self._act = act
        self._clock = clock
        self._changed = asyncio.Event()
        self._tasks = Tasks("recording_control")

    def start(self, *, decided: bool = False) -> None:
        """Control recordings from now on. `decided`: what is so now was decided on before we came."""
        self._tasks.start(self._run(DECIDED if decided else PolicyState()), name="run")

    def nudge(self) -> None:
        """Something changed in the room: look now rather than within a second."""
        self._changed.set()

    async def aclose(self) -> None:
        """Control them no more; idempotent."""
        await self._tasks.aclose()

    async def _run(self, state: PolicyState) -> None:
        while True:
            after, action = step(self.plan, state, self._clock.now(), self._look())
            if action is None or await self._carried_out(action):
                state = after
                # Not wait_for: on Python 3.11 it can swallow a cancellation that comes together with the event.
                with suppress(TimeoutError):
                    async with asyncio.timeout(STEP_INTERVAL_S):
                        await self._changed.wait()
                self._changed.clear()
            else:
                await asyncio.sleep(RETRY_AFTER_S)

    async def _carried_out(self, action: PolicyAction) -> bool:
        log.info("recording_trigger", action=type(action).__name__.lower(), why=getattr(action, "reason", ""))
        try:
            await self._act(action)
        except (RoomhandError, MediaError) as error:
            log.exception("recording_trigger_failed", code=error.code, retry_s=RETRY_AFTER_S)
            return False
        return True


class RoomMetadata:
    """Reads the room's metadata when they change; those that make no sense are told in the log, and change nothing."""

    def __init__(self) -> None:
        self._read = ""
        self._wish: RecordWish | None = None

    def wish(self, metadata: str) -> RecordWish | None:
        """What the metadata ask of the recording."""
        if metadata != self._read:
            self._read = metadata
            try:
                self._wish = record_wish(metadata)
            except RoomhandError as error:
                log.warning("room_metadata_invalid", code=error.code, error=str(error))
        return self._wish


def snapshot(
    participants: Sequence[ParticipantState],
    tracks: Sequence[TrackState],
    policy: SubscriptionPolicy,
    activity: RecordingActivity | None,
    wish: RecordWish | None,
    *,
    any_codec: bool = False,
) -> RecordingSnapshot:
    """What is so in a room that we are connected to (pure).

    `activity` is None while nothing is recorded. `any_codec`: what the tap cannot take is recorded too.
    """
    people = {participant.identity: participant for participant in participants}
    candidates = [
        Candidate(people[track.participant_identity], track)
        for track in tracks
        if track.participant_identity in people and (any_codec or is_recordable(track))
    ]
    chosen = {choice.sid for choice in decide(policy, candidates) if choice.subscribe}
    unmuted = [item for item in candidates if item.track.sid in chosen and not item.track.muted]
    return replace(
        cut_off(activity),
        connected=activity is None or activity.connected,
        participants=len(people),
        published=len(chosen),
        unmuted=len(unmuted),
        wish=wish,
    )


def cut_off(activity: RecordingActivity | None) -> RecordingSnapshot:
    """What is known while we are not in the room (pure): what is recorded, and how much of it."""
    if activity is None:
        return RecordingSnapshot(connected=False)
    return RecordingSnapshot(
        connected=False,
        recording=True,
        recording_id=activity.recording_id,
        paused=activity.paused,
        heard=activity.heard,
        packets=activity.packets,
        recorded_s=activity.recorded_s,
        size_bytes=activity.size_bytes,
    )
