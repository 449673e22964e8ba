"""Applying a subscription policy to a room, and keeping what was asked for across reconnects."""

import asyncio
import contextlib
import math
from collections import Counter
from collections.abc import Callable
from itertools import count

import structlog
from livekit import rtc

from agent.errors import InvalidSettings, PermissionDenied, TrackNotFound
from agent.room.consumer import FrameCallback, RemoteSdkTrack
from agent.room.consumers import Consumers
from agent.room.events import (
    ConnectionStateChanged,
    Disconnected,
    MetadataChanged,
    ParticipantDisconnected,
    PermissionsChanged,
    RoomEvent,
    TrackPublished,
    TrackSubscribed,
    TrackSubscriptionFailed,
    TrackUnpublished,
    TrackUnsubscribed,
)
from agent.room.layer_choices import LayerChoices
from agent.room.session import RoomSession
from agent.room.state import ConnectionState, TrackState
from agent.room.subscription import Candidate, Choice, SubscribeAction, SubscriptionPolicy, TrackKey, decide
from agent.room.track_settings import LayerIntent, send_intent
from agent.tasks import Tasks
from quality.content import ContentCounts
from quality.stats import TrackKind, VideoQuality

log = structlog.get_logger(__name__)

RESUBSCRIBE_S = 2.0  # the server's answer to an end takes one round trip
RETRY_S = 5.0  # after the server could not give a track; it may have been a moment of overload


class Subscriber:
    """Subscribes by rules and by hand; both may change at any time.

    People's choices belong to a track's publisher, kind, source and name, so they hold when it is published
    again under another SID; the controller's to that very track. What people choose is asked for at once, what follows
    from the room's events in the event loop's next turn: a full room tells hundreds of them in one.
    """

    def __init__(self, session: RoomSession, policy: SubscriptionPolicy | None = None) -> None:
        self._session = session
        self._policy = _possible(policy or SubscriptionPolicy())
        self._tasks = Tasks("subscriber")
        self._order: dict[TrackKey, int] = {}
        self._ranks = count()
        self._requested: dict[str, bool] = {}
        self._sent: dict[str, LayerIntent] = {}
        self._overrides: dict[TrackKey, SubscribeAction] = {}
        self._given_up: set[str] = set()
        self._layers = LayerChoices()
        self._consumers = Consumers()
        self._kept: Counter[str] = Counter()
        self._awaited_ends: dict[str, asyncio.Event] = {}
        self._applying: asyncio.Handle | None = None
        session.before_leaving("subscriptions", self.aclose)
        session.add_listener(self._on_event)

    @property
    def policy(self) -> SubscriptionPolicy:
        """The policy in force."""
        return self._policy

    def set_policy(self, policy: SubscriptionPolicy) -> None:
        """Put `policy` in force at once. Raises InvalidSettings for what only a recording can have (`max_fps`)."""
        self._policy = _possible(policy)
        log.info("subscription_policy", rules=len(policy.rules), default=policy.default, max_tracks=policy.max_tracks)
        self._apply()

    def override(self, track_sid: str, action: SubscribeAction | None) -> None:
        """Subscribe to a track, or not, whatever the rules say; None gives it back to them."""
        key = TrackKey.of(self._session.track(track_sid))
        self._given_up.discard(track_sid)
        if action is None:
            self._overrides.pop(key, None)
        else:
            self._overrides[key] = action
        self._apply()

    def give_up(self, track_sid: str) -> None:
        """Subscribe to a track no longer, until a person says otherwise or it is published again."""
        self._session.track(track_sid)
        self._given_up.add(track_sid)
        self._apply()

    def wants(self, track_sid: str) -> bool:
        """Whether a track has been asked for."""
        return self._requested.get(track_sid, False)

    async def resubscribe(self, track_sid: str) -> None:
        """Have the server begin a subscription anew. Raises TrackNotFound."""
        if not self._requested.get(track_sid):
            return
        ended = self._awaited_ends[track_sid] = asyncio.Event()
        self._publication(self._session.track(track_sid)).set_subscribed(False)
        with contextlib.suppress(TimeoutError):  # it is asked for again whether or not its end was told
            async with asyncio.timeout(RESUBSCRIBE_S):
                await ended.wait()
        self._awaited_ends.pop(track_sid, None)
        if self._requested.get(track_sid):
            self._publication(self._session.track(track_sid)).set_subscribed(True)

    def subscribed(self) -> tuple[TrackState, ...]:
        """The tracks whose media come."""
        return tuple(track for track, _ in self.received())

    def received(self) -> tuple[tuple[TrackState, RemoteSdkTrack], ...]:
        """The tracks whose media come, each with the SDK's object, for this package only."""
        pairs = ((track, self._sdk_track(track)) for track in self._session.tracks)
        return tuple((track, sdk_track) for track, sdk_track in pairs if sdk_track is not None)

    def sdk_track(self, sid: str) -> RemoteSdkTrack | None:
        """The SDK's object of a subscribed track, for this package only."""
        return self._sdk_track(self._session.track(sid))

    def _sdk_track(self, track: TrackState) -> RemoteSdkTrack | None:
        publication = self._publication(track)
        return publication.track if publication.subscribed else None

    def intent(self, track_sid: str) -> LayerIntent:
        """What is asked of a video track."""
        return self.intent_of(self._session.track(track_sid))

    def intent_of(self, track: TrackState) -> LayerIntent:
        """What is asked of a video track, without a search for it."""
        return self._layers.of(track)

    def sent(self, track: TrackState) -> LayerIntent:
        """What the server was asked for of a track, which may not be there yet."""
        return self._sent.get(track.sid, LayerIntent())

    def ceiling_of(self, track: TrackState) -> VideoQuality:
        """The best layer that the rules allow for a track."""
        return self._layers.ceiling_of(track)

    def set_quality(self, track_sid: str, quality: VideoQuality | None) -> LayerIntent:
        """Pin a video's layer, or with None give it back to the controller."""
        track = self._session.track(track_sid)
        return self._ask(track, self._layers.pin(track, quality))

    def set_dimensions(self, track_sid: str, width: int, height: int) -> LayerIntent:
        """Ask for the layer that suits a picture of that size, and that the rules allow.

        The controller asks for a lower one at need.
        """
        track = self._session.track(track_sid)
        return self._ask(track, self._layers.size(track, width, height))

    def set_enabled(self, track_sid: str, *, enabled: bool) -> LayerIntent:
        """Have a video sent, or not sent though subscribed; also one that the controller withheld."""
        track = self._session.track(track_sid)
        return self._ask(track, self._layers.enable(track, enabled=enabled))

    def choose_quality(self, track_sid: str, quality: VideoQuality | None, *, held: bool = True) -> None:
        """The controller's choice for a video that nobody pinned; None for nothing to be sent.

        `held` says whether it is below what dimensions, where somebody gave any, ask for. The rules bound it.
        """
        track = self._session.track(track_sid)
        if self._layers.choose(track, quality, held=held):
            self._send(track)

    def on_frames(self, track_sid: str, callback: FrameCallback | None) -> None:
        """Have `callback` called with a track's decoded media whenever it is subscribed; None ends that."""
        track = self._session.track(track_sid)
        self._consumers.set_callback(track, callback)
        self._start_consuming(track)

    def feed(self, track_sid: str, callback: FrameCallback) -> Callable[[], None]:
        """Subscribe to a track for `callback`, whatever the rules say; call the result to end that.

        It is for this track alone, also where its publisher has another one of the same source and name, and comes
        before what `on_frames` was told. A little of what is decoded is looked at (`content`).
        """
        track = self._session.track(track_sid)
        end = self._consumers.feed(track_sid, callback)
        self._given_up.discard(track_sid)
        self._start_consuming(track)
        self._apply()

        def end_feed() -> None:
            if end():
                self._apply()

        return end_feed

    def is_fed(self, track_sid: str) -> bool:
        """Whether a track is subscribed to for a `feed`, or kept."""
        return track_sid in self._taken

    @property
    def _taken(self) -> set[str]:
        return {*self._consumers.fed, *self._kept}

    def keep(self, track_sid: str) -> Callable[[], None]:
        """Subscribe to a track, whatever the rules say; call the result, once, to leave it to them again."""
        self._session.track(track_sid)
        self._given_up.discard(track_sid)
        self._kept[track_sid] += 1
        self._apply_soon()

        def end() -> None:
            self._kept -= Counter((track_sid,))
            self._apply_soon()

        return end

    def content(self, track: TrackState) -> ContentCounts | None:
        """What a track that somebody is fed with showed so far; None for the others."""
        return self._consumers.content(track.sid)

    def _ask(self, track: TrackState, intent: LayerIntent) -> LayerIntent:
        self._send(track)
        return intent

    def _send(self, track: TrackState) -> None:
        if track.kind != TrackKind.VIDEO or self._sdk_track(track) is None:
            return
        intent = self.intent_of(track)
        # What a new subscription has anyway needs no call: the native layer aborted in one, once, right after
        # "track subscribed" on a loaded machine (livekit 1.2.1).
        if intent == LayerIntent() and track.sid not in self._sent:
            return
        self._sent[track.sid] = intent
        send_intent(self._publication(track), intent)

    def _publication(self, track: TrackState) -> rtc.RemoteTrackPublication:
        participant = self._session.sdk_room.remote_participants.get(track.participant_identity)
        publication = participant.track_publications.get(track.sid) if participant else None
        if publication is None:
            raise TrackNotFound(f"no track {track.sid!r} is published in this room")
        return publication

    def _on_event(self, event: RoomEvent) -> None:
        match event:
            case TrackPublished(track=track):
                self._order.setdefault(TrackKey.of(track), next(self._ranks))
                self._apply_soon()
            case TrackUnpublished(track=track):
                self._forget(track)
                self._apply_soon()
            case TrackSubscribed(track=track):
                log.info("subscribed", track=track.name, sid=track.sid, participant_identity=track.participant_identity)
                # Here and not on "reconnected", which comes before: a full reconnect begins again at HIGH.
                self._send(track)
                self._start_consuming(track)
            case TrackUnsubscribed(track=track):
                self._consumers.stop(track.sid)
                if ended := self._awaited_ends.get(track.sid):
                    ended.set()
            case TrackSubscriptionFailed(track_sid=sid, error=error):
                log.warning("subscription_failed", sid=sid, error=error)
                self._tasks.start(self._retry(sid), name=f"retry.{sid}")
            case ParticipantDisconnected() if self._session.connection is ConnectionState.CONNECTED:
                self._forget_who_left()  # while we reconnect they may be back
            case MetadataChanged() | PermissionsChanged():
                self._apply_soon()
            case ConnectionStateChanged(state=ConnectionState.CONNECTED):
                self._forget_who_left()
                self._apply()
                self._send_all()
            case Disconnected():
                self._consumers.stop_all()
            case _:
                pass

    def _forget(self, track: TrackState) -> None:
        self._requested.pop(track.sid, None)
        self._given_up.discard(track.sid)
        self._sent.pop(track.sid, None)
        self._consumers.stop(track.sid)
        if self._session.connection is ConnectionState.CONNECTED:  # while we reconnect it may be back
            self._layers.forget(track)

    def _forget_who_left(self) -> None:
        """What is kept of the tracks of those who are gone are people's choices."""
        here = {participant.identity for participant in self._session.participants}
        self._order = {key: rank for key, rank in self._order.items() if key.participant_identity in here}
        self._layers.forget_who_left(here)

    def _send_all(self) -> None:
        for track in self.subscribed():
            self._send(track)

    async def _retry(self, sid: str) -> None:
        await asyncio.sleep(RETRY_S)
        if self._requested.pop(sid, None) and self._session.connection is ConnectionState.CONNECTED:
            self._apply()

    def _apply_soon(self) -> None:
        """Apply once for all that the room tells in this turn of the event loop."""
        if self._applying is None:
            self._applying = asyncio.get_running_loop().call_soon(self._apply)

    def _cancel_applying(self) -> None:
        if self._applying is not None:
            self._applying.cancel()
            self._applying = None

    def _apply(self) -> None:
        """Make the room's subscriptions those that policy and people ask for."""
        self._cancel_applying()
        if self._session.connection is not ConnectionState.CONNECTED:
            return
        candidates = self._candidates()
        tracks = {candidate.track.sid: candidate.track for candidate in candidates}
        # What was given up takes no place that another one could have.
        possible = [candidate for candidate in candidates if candidate.track.sid not in self._given_up]
        given_up = [
            Choice(sid, subscribe=False, quality=self.ceiling_of(track), reason="given up: restarts did not help")
            for sid, track in tracks.items()
            if sid in self._given_up
        ]
        choices = [*decide(self._policy, possible, self._overrides, self._taken), *given_up]
        if any(choice.subscribe for choice in choices):
            try:
                self._session.permissions.require_subscribe()
            except PermissionDenied as error:
                log.warning("subscription_denied", error=str(error))
                return
        for choice in choices:
            track = tracks[choice.sid]
            if self._layers.set_ceiling(track, choice.quality):
                self._send(track)
            if self._requested.get(choice.sid, False) == choice.subscribe:
                continue
            self._requested[choice.sid] = choice.subscribe
            self._publication(track).set_subscribed(choice.subscribe)
            log.info(
                "subscribing" if choice.subscribe else "unsubscribing",
                track=track.name,
                sid=choice.sid,
                participant_identity=track.participant_identity,
                reason=choice.reason,
            )

    def _candidates(self) -> list[Candidate]:
        participants = {participant.identity: participant for participant in self._session.participants}
        tracks = sorted(self._session.tracks, key=lambda track: self._order.get(TrackKey.of(track), math.inf))
        return [
            Candidate(participants[track.participant_identity], track, self._requested.get(track.sid, False))
            for track in tracks
        ]

    def _start_consuming(self, track: TrackState) -> None:
        self._consumers.start(track, self._sdk_track(track))

    async def aclose(self) -> None:
        """Stop reading media; idempotent. Unsubscribing is left to leaving the room."""
        self._cancel_applying()
        await self._tasks.aclose()
        await self._consumers.aclose()


def _possible(policy: SubscriptionPolicy) -> SubscriptionPolicy:
    if any(rule.max_fps is not None for rule in policy.rules):
        raise InvalidSettings("the participant cannot ask for a frame rate; give max_fps in a recording's rules")
    return policy
