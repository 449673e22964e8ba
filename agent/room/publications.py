"""What a publisher keeps of each track it publishes."""

import asyncio
from dataclasses import dataclass, field
from enum import StrEnum

import structlog
from livekit import rtc

from agent.room.feeding import Feed, NativeSource
from agent.room.pre_encoded_feed import PreEncodedFeed
from agent.room.publish_options import TrackPlan
from agent.room.state import PublicationState
from media.sources.source import Source

log = structlog.get_logger(__name__)

PUMP_STOP_TIMEOUT_S = 0.8  # a pump stops within one frame, or one decoding step of a file

LocalTrack = rtc.LocalVideoTrack | rtc.LocalAudioTrack


class PublicationStatus(StrEnum):
    """Where a publication is in its life."""

    PUBLISHED = "published"
    ENDED = "ended"
    FAILED = "failed"
    UNPUBLISHED = "unpublished"


@dataclass(slots=True)
class Publication:
    """One track of ours; the SDK keeps `sdk.sid` right across reconnects.

    Whoever publishes or withdraws it has its `turn`; `leaving` says that somebody waits for that to withdraw it.
    """

    plan: TrackPlan
    track: LocalTrack
    native: NativeSource
    sdk: rtc.LocalTrackPublication
    feed: Feed | None = None
    pumping: asyncio.Task[None] | None = None
    status: PublicationStatus = PublicationStatus.PUBLISHED
    reason: str = ""
    muted: bool = False
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    leaving: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def state(self) -> PublicationState:
        """As the world is told."""
        plan = self.plan
        return PublicationState(
            self.sdk.sid, plan.name, plan.kind, plan.source, self.status, self.muted, reason=self.reason
        )

    def leave(self, status: PublicationStatus, reason: str) -> bool:
        """It is in the room no longer; whether it was until now."""
        before = self.status
        self.status, self.reason = status, reason
        return before is PublicationStatus.PUBLISHED

    def begin(self, track: LocalTrack, sdk: rtc.LocalTrackPublication, plan: TrackPlan, *, muted: bool) -> None:
        """It is `track` from now on, which is `muted` as it was when that began to be published."""
        if self.muted != muted:  # meanwhile
            (track.mute if self.muted else track.unmute)()
        self.track, self.sdk, self.plan = track, sdk, plan

    def published_anew(self) -> None:
        """It is in the room, under another SID."""
        self.status, self.reason = PublicationStatus.PUBLISHED, ""
        if isinstance(self.feed, PreEncodedFeed):
            self.feed.begun_anew()

    def stop(self) -> None:
        """Feed it no more."""
        if self.feed:
            self.feed.stop()

    def set_muted(self, *, muted: bool) -> None:
        """Mute or unmute the track; its source goes on."""
        if muted:
            self.track.mute()
        else:
            self.track.unmute()
        self.note_muted(muted=muted)

    def note_muted(self, *, muted: bool) -> None:
        """The track was muted or unmuted; its source goes on."""
        self.muted = muted
        if self.feed:
            self.feed.set_muted(muted=muted)

    async def stop_pumping(self) -> None:
        """Stop feeding it, and wait until that is so."""
        self.stop()
        task = self.pumping
        if task is None or task is asyncio.current_task():
            return
        done, _ = await asyncio.wait((task,), timeout=PUMP_STOP_TIMEOUT_S)
        if not done:
            log.warning("source_slow_to_stop", track=self.plan.name)
            task.cancel()


@dataclass(slots=True)
class Played:
    """One source and the tracks made of it."""

    source: Source
    publications: list[Publication] = field(default_factory=list)
    pending: set[str] = field(default_factory=set)
    """Names of those that are being published."""
    settled: asyncio.Event = field(default_factory=asyncio.Event)
    """Set once all of it is published, or none."""
