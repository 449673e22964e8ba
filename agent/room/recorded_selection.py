"""Which tracks a recording takes: chosen by the policy over what the tap sees (pure), and begun and ended by it."""

import asyncio
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import structlog

from agent.room.decoded_tracks import DecodedTracks, Deliver
from agent.room.decryption import DecryptionWatch
from agent.room.recorded_layers import RecordedLayers
from agent.room.recorded_tracks import RecordedTracks
from agent.room.state import TrackState
from agent.room.subscription import Candidate, Choice, SubscriptionPolicy, decide
from agent.room.tap_values import is_recordable, participant_state, track_state
from media.errors import MediaError
from media.record.entries import GapReason
from media.tap.tap import Tap

RETRY_S = 1.0

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Ended:
    """Record a track no longer; `reason` is told of the gap, should it come again."""

    sid: str
    reason: GapReason


SelectionStep: TypeAlias = Choice | Ended


def select(
    policy: SubscriptionPolicy, candidates: Sequence[Candidate], recordable: Collection[str], open_sids: Collection[str]
) -> tuple[SelectionStep, ...]:
    """What to end and what to record, in this order. `Choice.subscribe` holds in each.

    `candidates` are all that is published, `subscribed` where it is recorded now; `recordable` are the SIDs of those
    that can be had, `open_sids` of those that frames came of.
    """
    present = {item.track.sid for item in candidates}
    # First what is gone: a track that is published again goes on in its place.
    steps: list[SelectionStep] = [Ended(sid, GapReason.UNPUBLISHED) for sid in sorted(set(open_sids) - present)]
    can_be_had = [item for item in candidates if item.track.sid in recordable]
    taken = {item.track.sid for item in candidates if item.subscribed}
    for choice in decide(policy, can_be_had):
        if choice.subscribe:
            steps.append(choice)
        elif choice.sid in taken:
            steps.append(Ended(choice.sid, GapReason.UNSUBSCRIBED))
    # What was asked for and cannot be had now takes no place that another one could have; it may come any time.
    for item in candidates:
        sid = item.track.sid
        if sid in taken and sid not in recordable and not decide(policy, [item])[0].subscribe:
            steps.append(Ended(sid, GapReason.UNSUBSCRIBED))
    return tuple(steps)


class RecordedSelection:
    """Subscribes on the tap to what the policy chooses, or has it decoded, until `follow` is cancelled.

    `policy` may be replaced at any time; `nudge` then has it followed.
    """

    def __init__(
        self,
        policy: SubscriptionPolicy,
        tap: Tap,
        decoded: DecodedTracks | None,
        tracks: RecordedTracks,
        layers: RecordedLayers,
        decryption: DecryptionWatch,
        deliver: Deliver,
        now: Callable[[], float],
    ) -> None:
        """`deliver` is handed what is decoded."""
        self.policy = policy
        self._tap = tap
        self._decoded = decoded
        self._tracks = tracks
        self._layers = layers
        self._decryption = decryption
        self._deliver = deliver
        self._now = now
        self._changed = asyncio.Event()
        self._refused: set[str] = set()
        self._unsupported: set[str] = set()

    def nudge(self) -> None:
        """Something changed: choose anew."""
        self._changed.set()

    def refuse(self, track_sid: str) -> None:
        """The server does not give a track."""
        self._refused.add(track_sid)
        self.nudge()

    def allow(self, track_sid: str) -> None:
        """It can be had again."""
        self._refused.discard(track_sid)
        self.nudge()

    @property
    def sids(self) -> frozenset[str]:
        """SIDs of the tracks that are being recorded."""
        return self._tap.subscribed if self._decoded is None else self._decoded.sids

    async def follow(self) -> None:
        """Choose now and after each nudge."""
        while True:
            try:
                await self._apply()
            except MediaError as error:
                # What is asked for may go meanwhile; whoever joins later is to be recorded all the same.
                log.warning("recording_policy_interrupted", code=error.code, error=str(error))
                await asyncio.sleep(RETRY_S)
                continue
            await self._changed.wait()
            self._changed.clear()

    async def _apply(self) -> None:
        candidates = [
            Candidate(participant_state(participant), track_state(participant, track), track.sid in self.sids)
            for participant in self._tap.participants.values()
            for track in participant.tracks
        ]
        recordable = {item.track.sid for item in candidates if self._recordable(item.track)}
        for step in select(self.policy, candidates, recordable, self.sids | self._tracks.sids):
            if isinstance(step, Ended):
                await self._end(step)
            else:
                await self._begin(step)
        await self._layers.apply(self._now())
        self._decryption.check()

    def _recordable(self, track: TrackState) -> bool:
        if track.sid in self._refused | self._unsupported:
            return False
        if self._decoded is not None or is_recordable(track):
            return self._decryption.may_decrypt(track)
        self._unsupported.add(track.sid)
        log.warning("recording_codec_unsupported", sid=track.sid, mime_type=track.mime_type)
        return False

    async def _begin(self, choice: Choice) -> None:
        first = self._layers.allow(choice.sid, choice.quality, choice.max_fps)
        if choice.sid in self.sids:
            return
        if self._decoded is None:
            await self._tap.subscribe(choice.sid, first, max_fps=self._layers.max_fps(choice.sid))
        elif (found := self._tap.find_track(choice.sid)) is not None:
            self._decoded.start_track(choice.sid, found[1].kind.value, self._deliver)

    async def _end(self, ended: Ended) -> None:
        if self._decoded is not None:
            self._decoded.end_track(ended.sid)
        await self._tap.unsubscribe(ended.sid)
        self._tracks.end(ended.sid, ended.reason)
        self._layers.forget(ended.sid)
