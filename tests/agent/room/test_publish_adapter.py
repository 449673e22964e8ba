"""The publish adapter's shell: what is decided is applied, told and counted; what is refused begins anew."""

import asyncio
import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import cast

from structlog.testing import capture_logs

from agent.errors import PublishFailed, TrackNotFound
from agent.room.events import PublishAdapted
from agent.room.publish_adapter import PublishAdapter
from agent.room.publish_options import (
    AS_THE_SDK_CHOOSES,
    PlanChange,
    PublishOptions,
    TrackPlan,
    VideoCodec,
    plan_audio,
    plan_pre_encoded,
    plan_video,
)
from agent.room.publisher import Publisher
from agent.room.quality_monitor import JudgedTrack, QualityTick, TrackLabel
from media.sources.source import VideoFormat
from quality import judge
from quality.judge import Coding, Judgement
from quality.publish_ladder import Move, Published, Rung, Settings
from quality.publish_side import BARRED_S
from quality.stats import OutboundRtp, TrackKind, TrackSnapshot, TrackSource
from quality.video_model import VideoCodec as SentCodec
from tests.quality.sent_video import Machine
from tests.quality.shared_way import CAMERA, NEEDED_BPS, SCREEN, Way
from tests.quality.traces import EPOCH

PLAN = plan_video(PublishOptions(), 1280, 720, 30.0)
NARROW = Machine(1_050_000)


@dataclass
class Publishing:
    """A publisher as far as an adapter sees it."""

    plan: TrackPlan = PLAN
    sid: str = "TR_camera"
    limits: list[tuple[float | None, int | None]] = field(default_factory=list)
    republished: list[PlanChange] = field(default_factory=list)
    refuses: bool = False
    answers: asyncio.Event | None = None
    withdrawn: bool = False
    dropped: int = 0

    def note_encoder_dropped(self, which: str) -> None:
        assert which == self.plan.name
        self.dropped += 1

    @property
    def local_tracks(self) -> tuple[tuple[str, TrackPlan, object, bool], ...]:
        sound = plan_audio(PublishOptions(), with_video=True)
        video = () if self.withdrawn else ((self.sid, self.plan, object(), False),)
        return (*video, ("TR_sound", sound, object(), False))

    def limit(self, which: str, *, max_fps: float | None = None, lines: int | None = None) -> None:
        assert which == self.plan.name
        if self.withdrawn:
            raise TrackNotFound("nothing is published as that")
        self.limits.append((max_fps, lines))

    async def republish(self, which: str, change: PlanChange) -> None:
        assert which == self.plan.name
        self.republished.append(change)
        if self.answers:
            await self.answers.wait()
        if self.refuses:
            raise PublishFailed("not now")
        self.plan, self.sid = change.applied_to(self.plan), self.sid + "2"


def judged(window_of: Machine, published: Published, settings: Settings) -> Judgement:
    snapshot = TrackSnapshot("TR_camera", TrackKind.VIDEO, TrackSource.CAMERA, EPOCH, (OutboundRtp(),))
    _, judgement = judge.step(judge.start(snapshot, Coding()), snapshot, EPOCH)
    return replace(judgement, window=window_of.second(published, settings))


async def run(adapter: PublishAdapter, room: Publishing, machine: Machine, seconds: range) -> None:
    published = Published(1280, 720, 30.0, SentCodec(room.plan.video_codec.value))
    for at in seconds:
        label = TrackLabel(room.sid, room.plan.name, "video", "camera", "hand", "")
        judgement = judged(machine, published, adapter.settings(room.plan.name))
        adapter.on_tick(QualityTick("participant", EPOCH + at, (JudgedTrack(label, judgement),), ()))
        await asyncio.sleep(0)


def adapter_of(room: Publishing, told: list[PublishAdapted]) -> PublishAdapter:
    return PublishAdapter(cast("Publisher", room), told.append)


async def test_another_video_of_the_same_name_is_held_down_as_the_one_before_it_was() -> None:
    """A playlist: one ends and the next begins between two looks."""
    room = Publishing()
    adapter = adapter_of(room, [])
    await run(adapter, room, NARROW, range(60))
    room.sid = "TR_next"
    room.limits.clear()
    await run(adapter, room, NARROW, range(60, 61))
    assert room.limits == [(None, 540)]
    assert adapter.settings(PLAN.name) == Settings(lines=540)


async def test_another_video_of_the_same_name_in_another_codec_begins_anew() -> None:
    room = Publishing()
    adapter = adapter_of(room, [])
    await run(adapter, room, NARROW, range(60))
    room.sid, room.plan = "TR_next", replace(PLAN, video_codec=VideoCodec.H264)
    await run(adapter, room, NARROW, range(60, 61))
    assert adapter.settings(PLAN.name) == Settings()


async def test_a_decision_is_applied_told_and_counted() -> None:
    room, told = Publishing(), list[PublishAdapted]()
    adapter = adapter_of(room, told)
    await run(adapter, room, NARROW, range(60))
    assert room.limits == [(None, 540)]
    (event,) = told
    assert (event.limit, event.move, event.course, event.lines) == ("bandwidth", "lines", "down", 540)
    assert event.track_sid == "TR_camera"
    assert adapter.counters().publish_decisions == {"bandwidth/lines/down": 1}
    assert room.republished == []
    await adapter.aclose()


async def test_what_is_not_to_be_adapted_is_left_alone() -> None:
    plan = plan_video(PublishOptions(adaptive=False), 1280, 720, 30.0)
    room, told = Publishing(plan=plan), list[PublishAdapted]()
    adapter = adapter_of(room, told)
    await run(adapter, room, NARROW, range(60))
    assert (room.limits, told) == ([], [])
    await adapter.aclose()


async def test_frames_that_a_pass_through_did_not_get_are_told_and_no_setting_changes() -> None:
    plan = plan_pre_encoded(PublishOptions(), VideoFormat(1280, 720, 30.0), "h264", 1e6)
    room, told = Publishing(plan=plan), list[PublishAdapted]()
    adapter = adapter_of(room, told)
    await run(adapter, room, Machine(), range(5))
    assert room.dropped == 0
    await run(adapter, room, NARROW, range(5, 10))
    assert room.dropped == 5
    assert (room.limits, told) == ([], [])
    await adapter.aclose()


async def test_a_cheaper_codec_publishes_the_track_anew_and_a_refusal_begins_anew() -> None:
    plan = plan_video(PublishOptions(video_codec=VideoCodec.AV1), 1280, 720, 30.0)
    swamped = Machine(cores=2.5)
    for refuses in (False, True):
        room, told = Publishing(plan=plan, refuses=refuses), list[PublishAdapted]()
        adapter = adapter_of(room, told)
        await run(adapter, room, swamped, range(150))
        assert room.republished[0] == PlanChange(VideoCodec.VP8, simulcast=True, max_bitrate_bps=AS_THE_SDK_CHOOSES)
        assert room.plan.video_codec is (VideoCodec.AV1 if refuses else VideoCodec.VP8)
        await adapter.aclose()


async def test_one_layer_in_place_of_several_publishes_the_track_anew_and_the_layers_come_back_with_the_way() -> None:
    room, told = Publishing(), list[PublishAdapted]()
    adapter = adapter_of(room, told)
    await run(adapter, room, Machine(300_000), range(60))
    assert room.republished == [PlanChange(VideoCodec.VP8, simulcast=False, max_bitrate_bps=AS_THE_SDK_CHOOSES)]
    assert [(event.move, event.course, event.simulcast, event.track_sid) for event in told] == [
        ("simulcast", "down", False, "TR_camera")
    ]
    assert adapter.settings(PLAN.name) == Settings(lines=360, simulcast=False), "the new track is the same video"
    await run(adapter, room, Machine(), range(60, 120))
    assert room.plan == PLAN
    assert [event.simulcast for event in told] == [False, None]
    assert adapter.settings(PLAN.name) == Settings()
    await adapter.aclose()


async def test_where_one_layer_is_refused_the_layers_stay_and_it_is_asked_for_again_later() -> None:
    room = Publishing(refuses=True)
    adapter = adapter_of(room, [])
    await run(adapter, room, Machine(300_000), range(60))
    assert (len(room.republished), room.plan, adapter.settings(PLAN.name)) == (1, PLAN, Settings())
    await run(adapter, room, Machine(300_000), range(60, 120))
    assert len(room.republished) == 2
    await adapter.aclose()


async def test_where_the_cheaper_codec_is_refused_all_else_goes_up_again_once_there_is_room() -> None:
    plan = plan_video(PublishOptions(video_codec=VideoCodec.AV1), 1280, 720, 30.0)
    room, told = Publishing(plan=plan, refuses=True), list[PublishAdapted]()
    adapter = adapter_of(room, told)
    await run(adapter, room, Machine(cores=2.5), range(150))
    assert room.republished
    assert room.limits[-1] != (None, None)
    await run(adapter, room, Machine(cores=0.05), range(150, 900))
    assert (room.limits[-1], adapter.settings(plan.name)) == ((None, None), Settings())
    await adapter.aclose()


async def until_tried(tries: int, adapter: PublishAdapter, room: Publishing, seconds: Iterator[int]) -> int:
    """The second in which another codec was asked for so often, on a machine that is too slow."""
    while len(room.republished) < tries:
        at = next(seconds)
        await run(adapter, room, Machine(cores=2.5), range(at, at + 1))
    return at


async def test_another_try_is_counted_from_the_refusal_however_long_that_took() -> None:
    plan = plan_video(PublishOptions(video_codec=VideoCodec.AV1), 1280, 720, 30.0)
    room = Publishing(plan=plan, refuses=True, answers=asyncio.Event())
    adapter = adapter_of(room, [])
    seconds = itertools.count()
    asked = await until_tried(1, adapter, room, seconds)
    await run(adapter, room, Machine(cores=2.5), range(next(seconds), asked + 11))
    assert room.answers is not None
    room.answers.set()
    seconds = itertools.count(asked + 11)
    assert await until_tried(2, adapter, room, seconds) >= asked + 10 + BARRED_S
    await adapter.aclose()


async def test_a_video_that_is_withdrawn_while_another_codec_waits_for_its_turn_is_let_go() -> None:
    plan = plan_video(PublishOptions(video_codec=VideoCodec.AV1), 1280, 720, 30.0)
    room = Publishing(plan=plan, refuses=True, answers=asyncio.Event())
    adapter = adapter_of(room, [])
    seconds = itertools.count()
    await until_tried(1, adapter, room, seconds)
    room.withdrawn = True
    assert room.answers is not None
    room.answers.set()
    with capture_logs() as lines:
        await asyncio.sleep(0.01)
    assert [(line["event"], line["log_level"]) for line in lines] == [("publish_decision_refused", "warning")]
    await run(adapter, room, Machine(), range(at := next(seconds), at + 1))
    assert adapter.settings(plan.name) == Settings()
    await adapter.aclose()


async def test_another_video_of_the_same_name_begins_anew() -> None:
    room, told = Publishing(), list[PublishAdapted]()
    adapter = adapter_of(room, told)
    await run(adapter, room, NARROW, range(60))
    room.plan = plan_video(PublishOptions(), 1920, 1080, 30.0)
    await run(adapter, room, NARROW, range(60, 61))
    assert adapter.settings("camera") == Settings()
    await adapter.aclose()


SCREEN_PLAN = plan_video(PublishOptions(source=TrackSource.SCREEN_SHARE, simulcast=False), 1920, 1080, 15.0)


@dataclass
class CameraAndScreen(Publishing):
    """A screen is published as well, and never published anew."""

    @property
    def local_tracks(self) -> tuple[tuple[str, TrackPlan, object, bool], ...]:
        return (*super().local_tracks, ("TR_screen", SCREEN_PLAN, object(), False))


async def share_way(adapter: PublishAdapter, room: Publishing, total_bps: float, seconds: range) -> None:
    names = {CAMERA: PLAN.name, SCREEN: SCREEN_PLAN.name}
    judgement = judged(Machine(), Published(1280, 720, 30.0), Settings())
    for at in seconds:
        way = Way()
        for each, name in names.items():
            asked = replace(way.states[each].giving_way, applied=(Rung(Move.BITRATE, adapter.settings(name)),))
            way.states[each] = replace(way.states[each], giving_way=asked)
        own = way.second(total_bps, NEEDED_BPS)
        tracks = tuple(
            JudgedTrack(
                TrackLabel(sid, names[each], "video", "", "hand", ""), replace(judgement, window=own[each].window)
            )
            for each, sid in ((CAMERA, room.sid), (SCREEN, "TR_screen"))
        )
        adapter.on_tick(QualityTick("participant", EPOCH + at, tracks, ()))
        await asyncio.sleep(0)


async def test_a_camera_beside_a_screen_that_starves_is_published_anew_with_fewer_bits_and_then_as_it_was() -> None:
    room, told = CameraAndScreen(), list[PublishAdapted]()
    adapter = adapter_of(room, told)
    await share_way(adapter, room, 800_000, range(60))
    assert room.republished == [PlanChange(VideoCodec.VP8, simulcast=False, max_bitrate_bps=160_000)]
    assert (room.plan.bitrate_bps, room.plan.fps, room.limits[-1]) == (160_000, 30.0, (None, 180))
    assert [(event.name, event.move, event.max_bitrate_bps) for event in told] == [(PLAN.name, "bitrate", 160_000)]
    await share_way(adapter, room, 8e6, range(60, 180))
    assert room.plan == PLAN
    assert adapter.settings(PLAN.name) == Settings()
    assert adapter.counters().publish_decisions == {"bandwidth/bitrate/down": 1, "bandwidth/bitrate/up": 2}
    await adapter.aclose()


async def test_a_camera_with_a_bitrate_of_its_own_keeps_to_it() -> None:
    plan = plan_video(PublishOptions(max_bitrate_bps=150_000, max_fps=20, simulcast=False), 1280, 720, 30.0)
    room = CameraAndScreen(plan=plan)
    adapter = adapter_of(room, [])
    await share_way(adapter, room, 800_000, range(60))
    assert {change.max_bitrate_bps for change in room.republished} == {150_000}
    await share_way(adapter, room, 8e6, range(60, 180))
    assert room.plan == plan
    await adapter.aclose()
