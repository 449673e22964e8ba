"""The publisher's shell where publishing anew meets withdrawing, leaving, itself and a failed restore."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from unittest.mock import AsyncMock

import numpy as np
import pytest
from livekit.rtc._proto.stats_pb2 import OutboundRtpStreamStats, RtcStats, SentRtpStreamStats
from livekit.rtc.participant import PublishTrackError
from structlog.testing import capture_logs

from agent.errors import ConnectionLost, InvalidSettings, PermissionDenied, PublishFailed, TrackNotFound
from agent.room import offers, overlap, own_metadata
from agent.room import publisher as module
from agent.room.events import (
    ConnectionStateChanged,
    Disconnected,
    LocalTrackPublished,
    LocalTrackUnpublished,
    PermissionsChanged,
)
from agent.room.live_source import LiveSource
from agent.room.metadata import decode_track_metadata
from agent.room.permissions import Permissions
from agent.room.publications import Played, Publication, PublicationStatus
from agent.room.publish_options import PlanChange, PublishOptions, VideoCodec, plan_video
from agent.room.publisher import Publisher
from agent.room.pump import Pump, PumpedFeed
from agent.room.session import RoomSession
from agent.room.state import ConnectionState
from media.sources.file import FileSource
from media.sources.pacer import Pacer
from media.sources.source import AudioFormat, Source, VideoFormat
from quality.stats import TrackSource
from tests.agent.room.pass_through import DELTA, KEY, PassThrough, feed_into, give
from tests.media.sources.clips import damaged_from, remuxed, write_pattern

NAME = "camera"


@dataclass
class Local:
    """The SDK's local participant, as far as a publisher sees it, with what was done in order."""

    track_publications: dict[str, Any] = field(default_factory=dict)
    attributes: dict[str, str] = field(default_factory=dict)
    done: list[str] = field(default_factory=list)
    takes_s: float = 0.0
    answers_attributes_s: float = 0.0
    refuses: bool = False
    gone: bool = False
    loses: bool = False
    subscribed: asyncio.Event = field(default_factory=asyncio.Event)
    published: int = 0
    packets_sent: int = 1
    frames_encoded: int = 0
    asked: int = 0

    async def get_stats(self) -> list[RtcStats]:
        self.asked += 1
        if self.asked == 1:
            raise Exception("no statistics yet")  # noqa: TRY002 - as the SDK does
        sent = SentRtpStreamStats(packets_sent=self.packets_sent)
        outbound = OutboundRtpStreamStats(frames_encoded=self.frames_encoded, key_frames_encoded=1)
        return [
            RtcStats(outbound_rtp=RtcStats.OutboundRtp(sent=sent, outbound=outbound if self.frames_encoded else None))
        ]

    async def publish_track(self, track: Any, _options: object) -> object:
        await asyncio.sleep(self.takes_s)
        if self.refuses:
            raise PublishTrackError("timeout")
        if self.loses:
            raise ConnectionLost("not in the room")
        self.published += 1
        return self.add(f"TR_{self.published}", getattr(track, "native", None))

    async def unpublish_track(self, sid: str) -> None:
        await asyncio.sleep(self.takes_s)
        self.track_publications.pop(sid, None)
        self.done.append(f"-{sid}")

    def add(self, sid: str, native: object = None) -> object:
        found = self.track_publications[sid] = SimpleNamespace(
            sid=sid, wait_for_subscription=self.subscribed.wait, native=native
        )
        self.done.append(f"+{sid}")
        return found


class Session:
    """A joined session as a publisher sees it."""

    def __init__(self, local: Local) -> None:
        self.local = local
        self.permissions = Permissions(can_update_metadata=True)
        self.listeners: list[Callable[[object], None]] = []

    @property
    def sdk_room(self) -> Any:
        if self.local.gone:
            raise ConnectionLost("not in the room")
        return SimpleNamespace(local_participant=self.local)

    def before_leaving(self, _name: str, _step: object) -> None:
        """It is not left."""

    def add_listener(self, listener: Callable[[object], None]) -> None:
        self.listeners.append(listener)

    def emit(self, event: object) -> None:
        for listener in self.listeners:
            listener(event)

    async def set_attributes(self, changes: dict[str, str]) -> None:
        self.permissions.require_update_metadata()
        await asyncio.sleep(self.local.answers_attributes_s)
        after = {**self.local.attributes, **changes}
        self.local.attributes = {key: value for key, value in after.items() if value}


class Native:
    """A native source that says when it is closed, and with what still in the room."""

    def __init__(self, local: Local) -> None:
        self._local = local

    async def aclose(self) -> None:
        fed = [track.native for track in self._local.track_publications.values()]
        assert self._local.gone or self not in fed, "closed under a track that is in the room aborts the process"
        self._local.done.append("closed")


@asynccontextmanager
async def publishing(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[Publisher, Local, Publication]]:
    """A publisher with one video in the room, TR_0."""
    local = Local()
    native = Native(local)

    def track_of(native: Native, _plan: object = None) -> Any:
        return SimpleNamespace(mute=lambda: None, unmute=lambda: None, get_stats=local.get_stats, native=native)

    monkeypatch.setattr(offers, "sdk_track", track_of)
    monkeypatch.setattr(module, "native_source", lambda _source, _plan: Native(local))
    publisher = Publisher(cast("RoomSession", Session(local)))
    publication = Publication(
        plan_video(PublishOptions(), 1280, 720, 30.0),
        track_of(native),
        cast("Any", native),
        cast("Any", local.add("TR_0", native)),
    )
    played = Played(source(), [publication])
    played.settled.set()
    publisher._playing.append(played)
    yield publisher, local, publication
    await publisher.aclose()
    assert local.track_publications == {}
    assert local.done[-1] == "closed"


def allow(publisher: Publisher, *, can_publish: bool) -> None:
    """A moderator changes what the server lets us do."""
    cast("Any", publisher._session).permissions = Permissions(can_publish=can_publish)


def source(*, audio: AudioFormat | None = None) -> Source:
    """Something to publish."""
    return cast("Source", SimpleNamespace(video=VideoFormat(1280, 720, 30.0), audio=audio, close=lambda: None))


def fed_by(monkeypatch: pytest.MonkeyPatch, run: Callable[[], Awaitable[bool]] | None = None) -> None:
    """All that is published from now on is fed by `run`, or with nothing until it is stopped."""

    def feed_of(*_args: object, **_options: object) -> object:
        stopped = asyncio.Event()

        async def until_stopped() -> bool:
            await stopped.wait()
            return False

        return SimpleNamespace(run=run or until_stopped, stop=stopped.set, set_muted=lambda **_: None)

    monkeypatch.setattr(module, "feed_of", feed_of)


async def change(publisher: Publisher, permissions: Permissions) -> None:
    """A moderator changes what the server lets us do, and the server tells us."""
    session = cast("Session", publisher._session)
    session.permissions = permissions
    session.emit(PermissionsChanged(permissions))
    await asyncio.sleep(0.05)


def events_of(publisher: Publisher) -> list[object]:
    """All that is told from now on."""
    told: list[object] = []
    cast("Session", publisher._session).add_listener(told.append)
    return told


async def reconnect(publisher: Publisher) -> None:
    """The connection comes back, and what is missing then has been published again, or has not."""
    for connection in (ConnectionState.RECONNECTING, ConnectionState.CONNECTED):
        publisher._on_event(ConnectionStateChanged(connection))
    await asyncio.sleep(0.05)


async def test_of_two_that_are_published_at_once_under_one_name_the_second_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fed_by(monkeypatch)
    async with publishing(monkeypatch) as (publisher, local, first):
        local.takes_s = 0.02
        await publisher.unpublish(first.sdk.sid)
        published, refused = await asyncio.gather(
            *(publisher.publish(source()) for _ in range(2)), return_exceptions=True
        )
        assert isinstance(refused, InvalidSettings)
        assert not isinstance(published, BaseException)
        assert [each.name for each in publisher.publications] == ["camera"]


async def test_metadata_that_do_not_fit_are_refused_before_anything_is_published(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with publishing(monkeypatch) as (publisher, local, _):
        local.attributes = {"other": "x" * 40_000}
        both = source(audio=AudioFormat())
        with pytest.raises(InvalidSettings, match="65536 are allowed"):
            await publisher.publish(both, PublishOptions(name="stage", metadata={"notes": "x" * 20_000}))
        assert local.done == ["+TR_0"]
        assert [each.name for each in publisher.publications] == [NAME]


async def test_metadata_of_all_tracks_of_a_source_are_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    fed_by(monkeypatch)
    async with publishing(monkeypatch) as (publisher, local, _):
        await publisher.publish(source(audio=AudioFormat()), PublishOptions(name="stage", metadata={"seat": 2}))
        for name in ("stage", "stage-audio"):
            assert decode_track_metadata(local.attributes, name) == {"seat": 2}


async def test_whatever_ends_the_feeding_of_a_track_it_does_not_stay_in_the_room(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def broken() -> bool:
        raise ValueError("data length must be a multiple of 2")

    fed_by(monkeypatch, broken)
    async with publishing(monkeypatch) as (publisher, local, _):
        told = events_of(publisher)
        with capture_logs() as lines:
            await publisher.publish(source(), PublishOptions(name="stage"))
            await asyncio.sleep(0.05)
        assert list(local.track_publications) == ["TR_0"]
        assert [each.name for each in publisher.publications] == [NAME]
        (gone,) = (event for event in told if isinstance(event, LocalTrackUnpublished))
        assert "data length must be a multiple of 2" in gone.reason
        (line,) = (line for line in lines if line["event"] == "feed_failed")
        assert (line["track"], line["exc_info"]) == ("stage", True)
        assert [line["status"] for line in lines if line["event"] == "unpublished"] == [PublicationStatus.FAILED]


async def test_what_is_being_published_as_the_room_is_left_is_refused_and_withdrawn(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fed_by(monkeypatch)
    for first_is_there in (False, True):
        async with publishing(monkeypatch) as (publisher, local, _):
            local.takes_s = 0.02
            anew = asyncio.create_task(publisher.publish(source(audio=AudioFormat()), PublishOptions(name="stage")))
            published: asyncio.Queue[object] = asyncio.Queue()
            cast("Session", publisher._session).add_listener(published.put_nowait)
            await (published.get() if first_is_there else asyncio.sleep(0))
            await publisher.aclose()
            with pytest.raises(PublishFailed, match="being left"):
                await anew
            assert (publisher.publications, local.track_publications) == ((), {})
        with pytest.raises(PublishFailed, match="being left"):
            await publisher.publish(source())


async def test_what_the_server_does_not_answer_does_not_hold_up_leaving(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SETTLE_TIMEOUT_S", 0.05)
    async with publishing(monkeypatch) as (publisher, local, first):
        await publisher.unpublish(first.sdk.sid)
        local.takes_s = 10.0
        anew = asyncio.create_task(publisher.publish(source()))
        await asyncio.sleep(0)
        async with asyncio.timeout(1):
            await publisher.aclose()
            with pytest.raises(PublishFailed, match="being left"):
                await anew


async def test_what_is_published_as_the_room_is_gone_is_not_half_there(monkeypatch: pytest.MonkeyPatch) -> None:
    fed_by(monkeypatch)
    async with publishing(monkeypatch) as (publisher, local, _):
        local.takes_s = 0.02
        anew = asyncio.create_task(publisher.publish(source(), PublishOptions(name="stage")))
        await asyncio.sleep(0.01)
        local.gone = True
        with pytest.raises(ConnectionLost):
            await anew
        assert [each.name for each in publisher.publications] == [NAME]
        local.gone = False
        local.track_publications.pop("TR_1")


async def test_a_publication_that_is_refused_is_told_to_its_caller_and_to_nobody_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with publishing(monkeypatch) as (publisher, local, _):
        local.refuses = True
        local.takes_s = 0.01
        with capture_logs() as lines:
            with pytest.raises(PublishFailed):
                await publisher.publish(source(), PublishOptions(name="stage"))
            cancelled = asyncio.create_task(publisher.publish(source(), PublishOptions(name="stage")))
            await asyncio.sleep(0.005)
            cancelled.cancel()
            await asyncio.sleep(0.05)
        assert [line["event"] for line in lines] == ["publication_refused"]


async def test_who_pushes_into_a_source_learns_that_the_room_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    fed_by(monkeypatch)
    live = LiveSource(audio=AudioFormat(8_000))
    async with publishing(monkeypatch) as (publisher, _, _):
        await publisher.publish(live)
        pushing = asyncio.create_task(live.push_audio(np.ones(16_000, np.int16)))
        await asyncio.sleep(0.05)
        assert not pushing.done()
        publisher._on_event(Disconnected("room_deleted"))
        async with asyncio.timeout(10):
            assert not await pushing


async def test_a_source_is_played_by_one_publication(monkeypatch: pytest.MonkeyPatch) -> None:
    fed_by(monkeypatch)
    live = LiveSource(audio=AudioFormat(8_000))
    async with publishing(monkeypatch) as (publisher, _, _):
        await publisher.publish(live)
        with pytest.raises(InvalidSettings, match="already"):
            await publisher.publish(live, PublishOptions(name="again"))
        assert not live.ended, "the first one goes on"
    assert live.ended


async def test_a_file_that_cannot_be_decoded_on_fails_with_its_reason(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    async with publishing(monkeypatch) as (publisher, _, first):
        await publisher.unpublish(first.sdk.sid)
        whole = write_pattern(tmp_path / "whole.mp4", seconds=4.0, audio=AudioFormat())
        source = FileSource(damaged_from(remuxed(whole, tmp_path / "clip.m4a", "audio"), 0.3))
        pacer = Pacer(start=asyncio.get_running_loop().time() - 100)  # all of it is due
        pump = Pump(name="microphone", read=source.read_audio, send=AsyncMock(), pacer=pacer)
        monkeypatch.setattr(module, "feed_of", lambda *_args, **_options: PumpedFeed(pump))
        told = events_of(publisher)
        await publisher.publish(source)
        (publication,) = publisher._all()
        async with asyncio.timeout(10):
            await cast("Any", publication.pumping)
        assert publication.status == PublicationStatus.FAILED
        assert f"{tmp_path}/clip.m4a is damaged" in publication.reason
        gone = next(event for event in told if isinstance(event, LocalTrackUnpublished))
        assert gone.reason == publication.reason
        assert publisher.publications == ()


async def test_the_new_track_is_there_before_the_old_one_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overlap, "OVERLAP_S", 0.05)
    async with publishing(monkeypatch) as (publisher, local, _):
        local.subscribed.set()
        state = await publisher.republish(NAME, PlanChange(video_codec=VideoCodec.H264))
        assert (state.sid, local.done) == ("TR_1", ["+TR_0", "+TR_1", "-TR_0"])


async def test_the_old_track_stays_until_the_new_one_sends_but_not_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, seconds in (("OVERLAP_S", 0.05), ("SENDS_EVERY_S", 0.01), ("OVERLAP_LIMIT_S", 0.5)):
        monkeypatch.setattr(overlap, name, seconds)
    async with publishing(monkeypatch) as (publisher, local, _):
        local.subscribed.set()
        local.packets_sent = 0
        anew = asyncio.create_task(publisher.republish(NAME))
        await asyncio.sleep(0.2)
        assert local.done == ["+TR_0", "+TR_1"]
        assert local.asked > 2
        local.packets_sent = 7
        await anew
        assert local.done == ["+TR_0", "+TR_1", "-TR_0"]
        local.packets_sent = 0
        await publisher.republish(NAME)
        assert local.done[3:] == ["+TR_2", "-TR_1"]


@pytest.mark.parametrize("after_s", [0.05, 0.3], ids=["before the new track is there", "while both are there"])
async def test_withdrawing_a_track_that_is_being_published_anew_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch, after_s: float
) -> None:
    async with publishing(monkeypatch) as (publisher, local, publication):
        local.takes_s = 0.1
        anew = asyncio.create_task(publisher.republish(NAME))
        await asyncio.sleep(after_s)
        state = await publisher.unpublish(NAME)
        await asyncio.gather(anew, return_exceptions=True)
        assert (publisher.publications, local.track_publications) == ((), {})
        assert (state.status, publication.status) == (PublicationStatus.UNPUBLISHED,) * 2
        with pytest.raises(TrackNotFound):
            await publisher.republish(NAME)


async def test_two_who_publish_anew_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overlap, "OVERLAP_S", 0.05)
    async with publishing(monkeypatch) as (publisher, local, publication):
        local.takes_s = 0.1
        local.subscribed.set()
        await asyncio.gather(
            publisher.republish(NAME, PlanChange(video_codec=VideoCodec.H264)), publisher.republish(NAME)
        )
        assert list(local.track_publications) == [publication.sdk.sid] == ["TR_2"]
        assert publication.plan.video_codec is VideoCodec.H264


async def test_one_that_is_cancelled_in_the_overlap_takes_the_old_track_away(monkeypatch: pytest.MonkeyPatch) -> None:
    async with publishing(monkeypatch) as (publisher, local, _):
        anew = asyncio.create_task(publisher.republish(NAME))
        await asyncio.sleep(0.05)
        anew.cancel()
        await asyncio.gather(anew, return_exceptions=True)
        assert list(local.track_publications) == ["TR_1"]


async def test_what_could_not_be_restored_once_can_be_published_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overlap, "OVERLAP_S", 0.05)
    async with publishing(monkeypatch) as (publisher, local, publication):
        local.track_publications.clear()
        local.refuses = True
        await reconnect(publisher)
        assert (publication.status, len(publisher.missing())) == (PublicationStatus.FAILED, 1)
        with pytest.raises(PublishFailed, match="did not take"):
            await publisher.republish(NAME)
        local.refuses = False
        local.subscribed.set()
        state = await publisher.republish(NAME)
        assert (state.status, publisher.missing()) == (PublicationStatus.PUBLISHED, ())
        assert list(local.track_publications) == [state.sid]


@pytest.mark.parametrize("by", ["republish", "restore"])
async def test_what_the_server_dropped_and_may_not_be_published_again_has_failed_at_once(
    monkeypatch: pytest.MonkeyPatch, by: str
) -> None:
    monkeypatch.setattr(overlap, "OVERLAP_LIMIT_S", 0.05)
    async with publishing(monkeypatch) as (publisher, local, _):
        told = events_of(publisher)
        allow(publisher, can_publish=False)
        local.track_publications.clear()
        local.takes_s = 10.0  # the SDK's own time for a publication that is not allowed
        async with asyncio.timeout(1):
            if by == "republish":
                with pytest.raises(PermissionDenied):
                    await publisher.republish(NAME)
            else:
                await reconnect(publisher)
        (state,) = publisher.publications
        assert state.status == PublicationStatus.FAILED
        assert "does not allow publishing" in state.reason
        assert [event.reason for event in told if isinstance(event, LocalTrackUnpublished)] == [state.reason]
        local.takes_s = 0.0
        allow(publisher, can_publish=True)
        state = await publisher.republish(NAME)
        assert (state.status, state.reason) == (PublicationStatus.PUBLISHED, "")


async def test_what_a_moderator_does_not_allow_any_more_has_failed_until_it_is_allowed_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The server tells us of the permission only: to the SDK what was published is there as before."""
    async with publishing(monkeypatch) as (publisher, local, publication):
        told = events_of(publisher)
        publication.muted = True
        for number in range(1, 3):
            await change(publisher, Permissions(can_publish_sources=(TrackSource.MICROPHONE,)))
            (state,) = publisher.publications
            assert (state.status, local.track_publications) == (PublicationStatus.FAILED, {})
            assert "allows publishing only microphone" in state.reason
            gone: object = LocalTrackUnpublished(state.sid, NAME, "video", "camera", state.reason)
            assert told[-1] == gone
            assert [each.name for each in publisher.missing()] == [NAME]
            await change(publisher, Permissions())
            (state,) = publisher.publications
            assert (state.sid, state.status, state.muted) == (f"TR_{number}", PublicationStatus.PUBLISHED, True)
            assert list(local.track_publications) == [state.sid]
            assert told[-1] == LocalTrackPublished(state.sid, NAME, "video", "camera", f"TR_{number - 1}")
        assert len(told) == 8, "four changes of permissions, and four of the track"


async def test_a_permission_that_is_taken_and_given_back_at_once_has_the_track_published_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with publishing(monkeypatch) as (publisher, local, _):
        session = cast("Session", publisher._session)
        for permissions in (Permissions(can_publish=False), Permissions()):
            session.permissions = permissions
            session.emit(PermissionsChanged(permissions))
        await asyncio.sleep(0.05)
        (state,) = publisher.publications
        assert (state.sid, state.status) == ("TR_1", PublicationStatus.PUBLISHED)
        assert list(local.track_publications) == ["TR_1"]
        assert publisher.missing() == ()


async def test_a_permission_that_is_taken_while_a_track_is_published_refuses_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fed_by(monkeypatch)
    async with publishing(monkeypatch) as (publisher, local, _):
        local.takes_s = 0.02
        anew = asyncio.create_task(publisher.publish(source(), PublishOptions(name="stage")))
        await asyncio.sleep(0.01)
        allow(publisher, can_publish=False)
        with pytest.raises(PermissionDenied):
            await anew
        assert list(local.track_publications) == ["TR_0"]


async def test_a_connection_that_is_lost_while_a_track_is_restored_has_it_restored_after_the_next_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with publishing(monkeypatch) as (publisher, local, _):
        told = events_of(publisher)
        local.track_publications.clear()
        local.takes_s = 0.02
        with capture_logs() as lines:
            back = asyncio.create_task(reconnect(publisher))
            await asyncio.sleep(0.01)
            local.loses = True
            await back
            (state,) = publisher.publications
            assert (state.status, state.reason) == (PublicationStatus.FAILED, "not in the room")
            (gone,) = (event for event in told if isinstance(event, LocalTrackUnpublished))
            assert gone.reason == state.reason
            local.loses = False
            await reconnect(publisher)
        (state,) = publisher.publications
        assert (state.status, list(local.track_publications)) == (PublicationStatus.PUBLISHED, [state.sid])
        assert not [line for line in lines if line["event"] == "task_failed"]


async def test_what_is_said_of_a_track_goes_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    fed_by(monkeypatch)
    async with publishing(monkeypatch) as (publisher, local, _):
        local.attributes = {"role": "host"}
        await publisher.publish(source(), PublishOptions(name="stage", metadata={"seat": 2}))
        assert len(local.attributes) == 2
        await publisher.unpublish("stage")
        assert local.attributes == {"role": "host"}


async def test_what_could_not_be_taken_back_is_not_said_of_the_next_track_of_that_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fed_by(monkeypatch)
    async with publishing(monkeypatch) as (publisher, local, _):
        session = cast("Session", publisher._session)
        for name in ("said", "unsaid"):
            await publisher.publish(source(), PublishOptions(name=name, metadata={"seat": 2}))
        session.permissions = Permissions(can_update_metadata=False)
        with capture_logs() as lines:
            for name in ("said", "unsaid"):
                await publisher.unpublish(name)
        assert [line["track"] for line in lines if line["event"] == "track_metadata_left"] == ["said", "unsaid"]
        session.permissions = Permissions(can_update_metadata=True)
        await publisher.publish(source(), PublishOptions(name="unsaid"))
        await publisher.publish(source(), PublishOptions(name="said", metadata={"seat": 3}))
        assert decode_track_metadata(local.attributes, "said") == {"seat": 3}
        assert decode_track_metadata(local.attributes, "unsaid") is None


async def test_what_is_said_is_taken_back_for_a_moment_only_and_not_as_the_room_is_left(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(own_metadata, "FORGET_TIMEOUT_S", 0.05)
    fed_by(monkeypatch)
    async with publishing(monkeypatch) as (publisher, local, _):
        for name in ("stage", "hall"):
            await publisher.publish(source(), PublishOptions(name=name, metadata={"seat": 2}))
        local.answers_attributes_s = 10.0
        async with asyncio.timeout(1):
            await publisher.unpublish("stage")
        local.answers_attributes_s = 0.0
        await publisher.aclose()
        assert decode_track_metadata(local.attributes, "hall") == {"seat": 2}


async def test_what_the_server_dropped_and_does_not_take_again_has_failed_until_the_sdk_brings_it_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with publishing(monkeypatch) as (publisher, local, publication):
        local.track_publications.clear()
        local.refuses = True
        with pytest.raises(PublishFailed):
            await publisher.republish(NAME)
        (state,) = publisher.publications
        assert (state.status, state.reason) == (
            PublicationStatus.FAILED,
            "the server did not take track 'camera': timeout",
        )
        publication.sdk = cast("Any", local.add("TR_9"))
        publisher._on_event(LocalTrackPublished("TR_9", NAME, "video", "camera", "TR_0"))
        (state,) = publisher.publications
        assert (state.status, state.reason) == (PublicationStatus.PUBLISHED, "")


async def test_where_another_is_refused_the_old_one_is_published_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    async with publishing(monkeypatch) as (publisher, local, _):
        local.refuses = True
        with pytest.raises(PublishFailed):
            await publisher.republish(NAME, PlanChange(video_codec=VideoCodec.H264))
        (state,) = publisher.publications
        assert (state.sid, state.status, state.reason) == ("TR_0", PublicationStatus.PUBLISHED, "")
        left = await publisher.unpublish(NAME)
        assert (left.status, left.reason) == (PublicationStatus.UNPUBLISHED, "withdrawn")


@pytest.mark.parametrize("by", ["republish", "restore", "the SDK"])
async def test_a_video_that_is_encoded_already_begins_with_a_key_frame_where_it_is_published_anew(
    monkeypatch: pytest.MonkeyPatch, by: str
) -> None:
    monkeypatch.setattr(overlap, "OVERLAP_LIMIT_S", 0.05)
    async with publishing(monkeypatch) as (publisher, local, publication):
        native = PassThrough()
        feed = publication.feed = feed_into(native)
        await give(feed, key=True)
        await give(feed)
        match by:
            case "republish":
                await publisher.republish(NAME)
            case "restore":
                local.track_publications.clear()
                await reconnect(publisher)
            case _:
                publication.sdk = cast("Any", local.add("TR_9"))
                local.track_publications.pop("TR_0")
                publisher._on_event(LocalTrackPublished("TR_9", NAME, "video", "camera", "TR_0"))
        await give(feed)
        await give(feed, key=True)
        await give(feed)
        assert native.taken == [KEY, DELTA, KEY, DELTA]


async def test_what_an_encoder_dropped_is_held_against_what_it_encoded_since_the_last_key_frame(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with publishing(monkeypatch) as (publisher, local, publication):
        native = PassThrough()
        feed = publication.feed = feed_into(native, partial(module._encoded, publication))
        local.asked = 1
        await give(feed, key=True)
        await give(feed, 9)
        for frames_encoded, taken in ((10, 11), (6, 11)):
            local.frames_encoded = frames_encoded
            publisher.note_encoder_dropped(NAME)
            await asyncio.sleep(0.01)
            await give(feed)
            assert len(native.taken) == taken
        assert publisher.counters().pre_encoded == {"encoder_dropped": 2, "frames_left_out": 1}
