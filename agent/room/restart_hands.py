"""How tracks are restarted: those of the participant's connection, and those of a recording's tap."""

from collections.abc import Callable

from agent.room.publisher import Publisher
from agent.room.quality_monitor import TrackLabel
from agent.room.quality_surroundings import label_of, tap_label_of
from agent.room.recorded_layers import RecordedLayers
from agent.room.session import RoomSession
from agent.room.state import ConnectionState
from agent.room.subscriber import Subscriber
from media.tap.events import LayerQuality
from media.tap.tap import Tap, TapState
from quality import restart
from quality.restart import Health
from quality.stats import Direction, TrackKind, VideoQuality


class ParticipantHands:
    """Subscribes anew to what is received, publishes anew what is sent."""

    def __init__(self, session: RoomSession, subscriber: Subscriber, publisher: Publisher) -> None:
        self._session = session
        self._subscriber = subscriber
        self._publisher = publisher

    @property
    def connection_id(self) -> str:
        """Our participant SID, which a full reconnect changes."""
        connected = self._session.connection is ConnectionState.CONNECTED
        return self._session.sdk_room.local_participant.sid if connected else ""

    def wants(self, label: TrackLabel) -> bool:
        """Whether the rules, or a person, want it, and it is to be sent."""
        sid = label.track_sid
        if not self._subscriber.wants(sid):
            return False
        return label.kind != TrackKind.VIDEO or self._subscriber.intent(sid).sent

    def can_go_lower(self, label: TrackLabel) -> bool:
        """Whether the controller, and no person, asks for more than the lowest layer of a simulcast video."""
        if not any(track.sid == label.track_sid and track.simulcasted for track in self._session.tracks):
            return False
        intent = self._subscriber.intent(label.track_sid)
        return not intent.pinned and intent.quality > VideoQuality.LOW

    def is_recorded(self, label: TrackLabel) -> bool:
        """Whether it is decoded for a recording, or for a program that reads it: as dear."""
        return self._subscriber.is_fed(label.track_sid)

    def lacks_key(self, label: TrackLabel) -> bool:
        """The SDK tells of no track."""
        return False

    def is_encrypted(self, label: TrackLabel) -> bool:
        """As its publisher says."""
        return any(track.sid == label.track_sid and track.encrypted for track in self._session.tracks)

    def missing(self) -> dict[TrackLabel, Health]:
        """What we publish and the server has dropped; not what it dropped as we may not publish it any more."""
        return {
            TrackLabel(item.sid, item.name, item.kind, item.source, self._session.identity, ""): restart.gone(
                Direction.OUTBOUND, TrackKind(item.kind)
            )
            for item in self._publisher.missing()
            if self._session.permissions.may_publish(item.source)
        }

    def awaited(self) -> tuple[TrackLabel, ...]:
        """What the server was asked for and has not given."""
        wanted = [track for track in self._session.tracks if self._subscriber.wants(track.sid) and not track.muted]
        there = {track.sid for track in self._subscriber.subscribed()} if wanted else set()
        return tuple(label_of(track) for track in wanted if track.sid not in there)

    async def restart(self, label: TrackLabel) -> None:
        """The new publication is there before the old one goes; a subscription has to end first."""
        if label.participant_identity == self._session.identity:
            await self._publisher.republish(label.name)
        else:
            await self._subscriber.resubscribe(label.track_sid)

    async def lower_layer(self, label: TrackLabel) -> None:
        """Ask for the layer below."""
        quality = self._subscriber.intent(label.track_sid).quality
        self._subscriber.choose_quality(label.track_sid, VideoQuality(max(0, quality - 1)))

    async def audio_only(self, label: TrackLabel) -> None:
        """Subscribe to the video no longer, until a person does or it is published again."""
        self._subscriber.give_up(label.track_sid)


class TapHands:
    """Subscribes anew on the recording's tap; `subscribed_anew` is told, as a policy may be another one by then."""

    def __init__(self, tap: Tap, layers: RecordedLayers, subscribed_anew: Callable[[], None]) -> None:
        self._tap = tap
        self._layers = layers
        self._subscribed_anew = subscribed_anew

    @property
    def connection_id(self) -> str:
        """The tap's participant SID, which each join changes."""
        return self._tap.participant_sid if self._tap.state is TapState.CONNECTED else ""

    def wants(self, label: TrackLabel) -> bool:
        """Whether it is being recorded."""
        return label.track_sid in self._tap.subscribed

    def can_go_lower(self, label: TrackLabel) -> bool:
        """Whether more than the lowest layer is asked for of a simulcast video, and by no person."""
        found = self._tap.find_track(label.track_sid)
        asked = self._tap.quality(label.track_sid)
        if found is None or not found[1].simulcasted or self._layers.pinned(label.track_sid) is not None:
            return False
        return asked is not None and asked > LayerQuality.LOW

    def is_recorded(self, label: TrackLabel) -> bool:
        """It is there for nothing else."""
        return True

    def lacks_key(self, label: TrackLabel) -> bool:
        """As its frames show."""
        return label.track_sid in self._tap.undecryptable()

    def is_encrypted(self, label: TrackLabel) -> bool:
        """What comes is decrypted here, or known to lack a key."""
        return False

    def missing(self) -> dict[TrackLabel, Health]:
        """A tap publishes nothing."""
        return {}

    def awaited(self) -> tuple[TrackLabel, ...]:
        """What the server was asked for and has given no place to."""
        found = [self._tap.find_track(sid) for sid in self._tap.subscribed - self._tap.given]
        return tuple(tap_label_of(participant, track) for participant, track in filter(None, found) if not track.muted)

    async def restart(self, label: TrackLabel) -> None:
        """End the subscription and begin it again."""
        asked = self._tap.quality(label.track_sid)
        try:
            await self._tap.unsubscribe(label.track_sid)
        finally:
            # Whatever the end met with: the next connection has to know that the track is wanted.
            await self._tap.subscribe(
                label.track_sid,
                LayerQuality.HIGH if asked is None else asked,
                max_fps=self._layers.max_fps(label.track_sid),
            )
            self._subscribed_anew()

    async def lower_layer(self, label: TrackLabel) -> None:
        """Record the layer below from now on, until the track is published again."""
        asked = self._tap.quality(label.track_sid)
        if asked is not None:
            lower = LayerQuality(max(0, asked - 1))
            self._layers.lower(label.track_sid, VideoQuality(lower.value))
            await self._tap.set_quality(label.track_sid, lower)

    async def audio_only(self, label: TrackLabel) -> None:
        """Receive the video no longer; a recording asks for no such thing (`keep_video`)."""
        await self._tap.unsubscribe(label.track_sid)
