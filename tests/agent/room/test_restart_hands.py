"""What restarts ask for: of the participant's subscriber and publisher, and of a recording's tap."""

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import cast

import pytest

from agent.room import subscriber as module
from agent.room.permissions import Permissions
from agent.room.publisher import Publisher
from agent.room.quality_monitor import TrackLabel
from agent.room.recorded_layers import RecordedLayers
from agent.room.recording_plan import LayerPolicy
from agent.room.restart_hands import ParticipantHands, TapHands
from agent.room.session import RoomSession
from agent.room.state import ConnectionState, PublicationState, TrackState
from agent.room.subscriber import Subscriber
from agent.room.track_settings import LayerIntent
from media.e2ee.frame_decryptor import DecryptionOutcome
from media.errors import TapError
from media.frames import MediaKind
from media.tap.events import LayerQuality, RemoteParticipant, RemoteTrack
from media.tap.tap import Tap, TapState
from quality.restart import Problem
from quality.stats import Direction, TrackKind, TrackSource, VideoQuality
from tests.agent.room.one_publisher import Cameras, Room

LOW, MEDIUM, HIGH = VideoQuality.LOW, VideoQuality.MEDIUM, VideoQuality.HIGH
SID = "TR_1"
VIDEO = TrackLabel(SID, "camera", "video", "camera", "ada", "video/VP9")
OWN = TrackLabel("TR_own", "screen", "video", TrackSource.SCREEN_SHARE, "hand", "")
NOBODYS = replace(VIDEO, track_sid="TR_gone")


class Encrypted(Room):
    """A room with end-to-end encryption."""

    def track(self, sid: str) -> TrackState:
        return replace(super().track(sid), encrypted=True)


class Sent:
    """A publisher of one video that the room has lost."""

    def __init__(self) -> None:
        self.republished: list[str] = []

    def missing(self) -> tuple[PublicationState, ...]:
        return (PublicationState(OWN.track_sid, OWN.name, OWN.kind, OWN.source, "published", muted=False),)

    async def republish(self, which: str) -> None:
        self.republished.append(which)


class Participant:
    """A participant's hands, with what the server is asked for of the one camera in the room."""

    def __init__(self, room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
        self.room = room
        self.asked: list[LayerIntent] = []
        monkeypatch.setattr(module, "send_intent", lambda _publication, intent: self.asked.append(intent))
        self.subscriber = Subscriber(cast("RoomSession", room))
        self.sent = Sent()
        self.hands = ParticipantHands(cast("RoomSession", room), self.subscriber, cast("Publisher", self.sent))

    async def publish(self) -> None:
        await self.room.publish(SID)
        self.room.publications[SID].track = object()


async def test_the_layer_below_is_asked_for_as_the_controllers_choice_until_none_is_left(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    participant = Participant(Cameras(), monkeypatch)
    await participant.publish()
    could = []
    for _ in range(3):
        could.append(participant.hands.can_go_lower(VIDEO))
        await participant.hands.lower_layer(VIDEO)
    assert could == [True, True, False]
    assert participant.asked == [LayerIntent(quality, held=True) for quality in (MEDIUM, LOW, LOW)]


async def test_what_a_person_chose_is_not_lowered(monkeypatch: pytest.MonkeyPatch) -> None:
    participant = Participant(Cameras(), monkeypatch)
    await participant.publish()
    participant.subscriber.set_quality(SID, MEDIUM)
    assert not participant.hands.can_go_lower(VIDEO)
    await participant.hands.lower_layer(VIDEO)
    assert participant.asked == [LayerIntent(MEDIUM, pinned=True)]
    participant.subscriber.set_quality(SID, None)
    assert participant.hands.can_go_lower(VIDEO)


async def test_a_video_without_layers_and_one_that_is_gone_cannot_be_lowered(monkeypatch: pytest.MonkeyPatch) -> None:
    participant = Participant(Room(), monkeypatch)
    await participant.publish()
    assert not participant.hands.can_go_lower(VIDEO)
    assert not participant.hands.can_go_lower(NOBODYS)


async def test_what_is_sent_is_published_anew_and_told_to_be_gone_where_the_room_has_lost_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    participant = Participant(Room(), monkeypatch)
    ((label, health),) = participant.hands.missing().items()
    assert label == OWN
    assert (health.problem, health.direction, health.kind) == (Problem.GONE, Direction.OUTBOUND, TrackKind.VIDEO)
    await participant.hands.restart(label)
    assert participant.sent.republished == [OWN.name]


async def test_what_the_server_dropped_as_it_may_not_be_published_is_not_tried_until_it_may_be(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    participant = Participant(Room(), monkeypatch)
    for forbids in (Permissions(can_publish=False), Permissions(can_publish_sources=(TrackSource.CAMERA,))):
        participant.room.permissions = forbids
        assert participant.hands.missing() == {}
    participant.room.permissions = Permissions(can_publish_sources=(TrackSource.SCREEN_SHARE,))
    assert list(participant.hands.missing()) == [OWN]


async def test_what_a_recording_has_decoded_is_recorded_and_a_publisher_says_what_is_encrypted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    participant = Participant(Cameras(), monkeypatch)
    await participant.publish()
    assert not participant.hands.is_recorded(VIDEO)
    end = participant.subscriber.keep(SID)
    assert participant.hands.is_recorded(VIDEO), "what a program reads is as dear"
    end()
    assert not participant.hands.is_recorded(VIDEO)
    end = participant.subscriber.feed(SID, lambda _media: None)
    assert participant.hands.is_recorded(VIDEO)
    end()
    assert not participant.hands.is_recorded(VIDEO)
    assert not participant.hands.is_encrypted(VIDEO)
    encrypted = Participant(Encrypted(), monkeypatch)
    await encrypted.publish()
    assert encrypted.hands.is_encrypted(VIDEO)
    assert not encrypted.hands.is_encrypted(NOBODYS)


async def test_a_connection_of_the_participant_is_known_by_its_sid_while_it_is_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    participant = Participant(Room(), monkeypatch)
    participant.room.sdk_room.local_participant = SimpleNamespace(sid="PA_hand")
    assert participant.hands.connection_id == "PA_hand"
    participant.room.connection = ConnectionState.RECONNECTING
    assert participant.hands.connection_id == ""


class Asked:
    """A tap that receives one simulcast camera, with what it is asked for."""

    state = TapState.CONNECTED
    participant_sid = "PA_tap"

    def __init__(self) -> None:
        self.qualities = {SID: LayerQuality.HIGH}
        self.given: frozenset[str] = frozenset({SID})
        self.simulcasted = True
        self.muted = False
        self.locked: dict[str, DecryptionOutcome] = {}
        self.refuses = False
        self.asked: list[tuple[object, ...]] = []

    @property
    def subscribed(self) -> frozenset[str]:
        return frozenset(self.qualities)

    def find_track(self, sid: str) -> tuple[RemoteParticipant, RemoteTrack] | None:
        track = RemoteTrack(
            SID,
            "camera",
            MediaKind.VIDEO,
            "camera",
            "video/VP8",
            muted=self.muted,
            simulcasted=self.simulcasted,
            encrypted=False,
        )
        ada = RemoteParticipant("PA_ada", "ada", "Ada", "", {}, active=True, tracks=(track,))
        return (ada, track) if sid == SID else None

    def undecryptable(self) -> dict[str, DecryptionOutcome]:
        return self.locked

    def quality(self, sid: str) -> LayerQuality | None:
        return self.qualities.get(sid)

    async def set_quality(self, sid: str, quality: LayerQuality) -> None:
        self.qualities[sid] = quality
        self.asked.append((sid, quality))

    async def subscribe(self, sid: str, quality: LayerQuality, *, max_fps: int | None = None) -> None:
        self.qualities[sid] = quality
        self.asked.append(("subscribe", sid, quality, max_fps))

    async def unsubscribe(self, sid: str) -> None:
        self.qualities.pop(sid, None)
        self.asked.append(("unsubscribe", sid))
        if self.refuses:
            raise TapError("the signalling connection is gone")


class Recorded:
    """A recording's hands on that tap; its camera is recorded with 15 frames a second."""

    def __init__(self, policy: LayerPolicy | None = None) -> None:
        self.tap = Asked()
        self.layers = RecordedLayers(cast("Tap", self.tap), policy or LayerPolicy(), lambda _event: None)
        self.layers.allow(SID, HIGH, max_fps=15)
        self.told: list[bool] = []
        self.hands = TapHands(cast("Tap", self.tap), self.layers, lambda: self.told.append(SID in self.tap.qualities))


async def test_a_recorded_video_is_lowered_for_good_until_no_layer_is_left() -> None:
    recorded = Recorded()
    could, allowed = [], []
    for _ in range(3):
        could.append(recorded.hands.can_go_lower(VIDEO))
        await recorded.hands.lower_layer(VIDEO)
        allowed.append(recorded.layers.allow(SID, HIGH))
    assert could == [True, True, False]
    lower = [LayerQuality.MEDIUM, LayerQuality.LOW, LayerQuality.LOW]
    assert recorded.tap.asked == [(SID, quality) for quality in lower]
    assert allowed == lower, "the policy does not raise it again"
    recorded.layers.forget(SID)
    assert recorded.layers.allow(SID, HIGH) is LayerQuality.HIGH, "published again"


async def test_what_was_asked_for_and_is_not_there_is_awaited_unless_it_is_muted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    participant = Participant(Cameras(), monkeypatch)
    await participant.room.publish(SID)
    (awaited,) = participant.hands.awaited()
    assert (awaited.track_sid, awaited.participant_identity) == (SID, "ada")
    participant.room.publications[SID].track = object()
    participant.room.publications[SID].subscribed = True
    assert participant.hands.awaited() == ()
    recorded = Recorded()
    assert recorded.hands.awaited() == ()
    recorded.tap.given = frozenset()
    assert recorded.hands.awaited() == (replace(VIDEO, mime_type="video/vp8"),)
    recorded.tap.muted = True
    assert recorded.hands.awaited() == ()
    recorded.tap.muted = False
    recorded.tap.qualities = {"TR_gone": LayerQuality.HIGH}
    assert recorded.hands.awaited() == ()


def test_what_lacks_a_key_is_known_of_a_recording_and_not_of_the_participant(monkeypatch: pytest.MonkeyPatch) -> None:
    recorded = Recorded()
    assert not recorded.hands.lacks_key(VIDEO)
    recorded.tap.locked = {SID: DecryptionOutcome.MISSING_KEY}
    assert recorded.hands.lacks_key(VIDEO)
    assert not Participant(Cameras(), monkeypatch).hands.lacks_key(VIDEO)


def pinned(recorded: Recorded) -> None:
    recorded.layers.pin(SID, HIGH)


def without_layers(recorded: Recorded) -> None:
    recorded.tap.simulcasted = False


def not_recorded(recorded: Recorded) -> None:
    recorded.tap.qualities.clear()


@pytest.mark.parametrize("state", [pinned, without_layers, not_recorded])
async def test_a_recorded_video_that_has_no_lower_layer_to_give_says_so(state: Callable[[Recorded], None]) -> None:
    recorded = Recorded()
    assert recorded.hands.can_go_lower(VIDEO)
    assert not recorded.hands.can_go_lower(NOBODYS)
    state(recorded)
    assert not recorded.hands.can_go_lower(VIDEO)


async def test_what_is_not_recorded_any_more_is_not_lowered() -> None:
    recorded = Recorded()
    not_recorded(recorded)
    await recorded.hands.lower_layer(VIDEO)
    assert recorded.tap.asked == []
    assert recorded.layers.allow(SID, HIGH) is LayerQuality.HIGH


@pytest.mark.parametrize(("policy_fps", "max_fps"), [(None, 15), (10, 10), (20, 15)])
async def test_a_recorded_video_is_subscribed_to_anew_in_its_layer_and_frame_rate(
    policy_fps: int | None, max_fps: int
) -> None:
    recorded = Recorded(LayerPolicy(max_fps=policy_fps))
    await recorded.hands.lower_layer(VIDEO)
    await recorded.hands.restart(VIDEO)
    assert recorded.tap.asked[1:] == [("unsubscribe", SID), ("subscribe", SID, LayerQuality.MEDIUM, max_fps)]


async def test_it_is_subscribed_to_anew_also_where_the_end_before_was_refused() -> None:
    recorded = Recorded()
    recorded.tap.refuses = True
    with pytest.raises(TapError):
        await recorded.hands.restart(VIDEO)
    assert recorded.tap.asked == [("unsubscribe", SID), ("subscribe", SID, LayerQuality.HIGH, 15)]


async def test_the_recording_looks_at_its_policy_once_a_video_is_subscribed_to_anew() -> None:
    """The policy may have let go of it while it was in no list of what is recorded."""
    recorded = Recorded()
    await recorded.hands.restart(VIDEO)
    assert recorded.told == [True]


async def test_a_recorded_video_that_is_given_up_is_not_wanted_any_more() -> None:
    recorded = Recorded()
    assert recorded.hands.wants(VIDEO)
    await recorded.hands.audio_only(VIDEO)
    assert recorded.tap.asked == [("unsubscribe", SID)]
    assert not recorded.hands.wants(VIDEO)


async def test_a_connection_of_the_tap_is_known_by_its_sid_while_it_is_there() -> None:
    recorded = Recorded()
    assert recorded.hands.connection_id == "PA_tap"
    recorded.tap.state = TapState.RECONNECTING
    assert recorded.hands.connection_id == ""
