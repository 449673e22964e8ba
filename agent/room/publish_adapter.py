"""What is published follows what machine and way out carry: `quality.publishing` over a connection's ticks, applied."""

from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace

import structlog

from agent.errors import RoomhandError
from agent.room.counters import RoomCounters
from agent.room.events import PublishAdapted
from agent.room.publish_options import AS_THE_SDK_CHOOSES, PlanChange, TrackPlan, VideoCodec
from agent.room.publisher import Publisher
from agent.room.quality_monitor import QualityTick
from agent.tasks import Tasks
from quality import publishing
from quality.own_videos import OwnVideo, shares
from quality.publish_ladder import Published, Settings
from quality.publishing import PublishDecision, PublishState
from quality.stats import Direction, TrackKind, TrackSource
from quality.video_model import VideoCodec as SentCodec
from quality.window import Window

DROPPED_FPS = 2.0  # snapshots fall between two frames

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Adapted:
    sid: str
    plan: TrackPlan
    state: PublishState


class PublishAdapter:
    """Feed it the participant's ticks. Each decision is applied, logged with its reason, told and counted.

    Frames and size change on the same track from the next frame on; another codec or bitrate, or one layer in place of
    simulcast layers, publishes the track anew. A video is known by its name: published anew it has another SID. Not
    touched: videos with `adaptive=False`, sound, and what is muted or wanted by nobody.
    """

    def __init__(self, publisher: Publisher, tell: Callable[[PublishAdapted], None]) -> None:
        self._publisher = publisher
        self._tell = tell
        self._videos: dict[str, _Adapted] = {}
        self._counted: Counter[str] = Counter()
        self._tasks = Tasks("publish_adapter")
        self._republishing: set[str] = set()
        self._now = 0.0

    def on_tick(self, tick: QualityTick) -> None:
        """Take in one second's judgements of what is sent."""
        self._now = tick.at
        windows = {
            each.label.track_sid: each.judgement.window
            for each in tick.tracks
            if each.judgement.window.kind is TrackKind.VIDEO and each.judgement.window.direction is Direction.OUTBOUND
        }
        plans = [(sid, plan) for sid, plan, _, _ in self._publisher.local_tracks]
        for sid, plan in plans:
            if plan.pre_encoded and sid in windows and _frames_dropped(windows[sid]):
                self._publisher.note_encoder_dropped(plan.name)
        ours = {plan.name: (sid, plan) for sid, plan in plans if plan.adaptive}
        for name in self._videos.keys() - ours.keys():
            del self._videos[name]
        seen = {plan.name: windows[sid] for sid, plan in plans if sid in windows}
        steady = [name for name in ours if name in seen and name not in self._republishing]
        for name in steady:
            self._videos[name] = self._known(*ours[name], tick.at)
        states = {name: self._videos[name].state for name in steady}
        own = {name: OwnVideo(window, states.get(name)) for name, window in seen.items()}
        for name, share in shares(own, tick.at).items():
            if name in states:
                before = self._videos[name]
                state, decision = publishing.step(before.state, seen[name], tick.at, share)
                self._videos[name] = replace(before, state=state)
                if decision is not None:
                    self._apply(before, decision)

    def _known(self, sid: str, plan: TrackPlan, now: float) -> _Adapted:
        """What is remembered of a video that is published as `sid` now."""
        known = self._videos.get(plan.name)
        if known and known.plan != _kept(plan, known.plan):
            known = None  # another video of the same name
        if known and known.sid != sid and plan != _change(known.plan, known.state.settings).applied_to(known.plan):
            known = None
        state = known.state if known else publishing.start(_published(plan), now)
        if known and known.sid != sid:
            state = publishing.begun_anew(state, now)
            # It may be another video that is like the one before, whose picture nothing has made smaller yet.
            self._publisher.limit(plan.name, max_fps=state.settings.max_fps, lines=state.settings.lines)
        # The plan that is kept is the caller's: one published anew has what was decided in it.
        return _Adapted(sid, known.plan if known else plan, state)

    def _apply(self, video: _Adapted, decision: PublishDecision) -> None:
        """Of `video` as it was before `decision`."""
        name, settings = video.plan.name, decision.settings
        event = PublishAdapted(
            track_sid=video.sid,
            name=name,
            limit=decision.limit.value,
            move=decision.move.value,
            course=decision.course.value,
            max_fps=settings.max_fps,
            lines=settings.lines,
            video_codec=settings.codec.value if settings.codec else None,
            simulcast=settings.simulcast,
            max_bitrate_bps=settings.max_bitrate_bps,
            reason=decision.reason,
            expects=decision.expects,
        )
        log.info(
            "publish_decision",
            track=name,
            sid=video.sid,
            limit=event.limit,
            move=event.move,
            course=event.course,
            max_fps=event.max_fps,
            lines=event.lines,
            video_codec=event.video_codec,
            simulcast=event.simulcast,
            max_bitrate_bps=event.max_bitrate_bps,
            reason=event.reason,
            expects=event.expects,
        )
        self._counted[f"{event.limit}/{event.move}/{event.course}"] += 1
        self._publisher.limit(name, max_fps=settings.max_fps, lines=settings.lines)
        if settings.track != decision.from_settings.track:
            self._republishing.add(name)
            self._tasks.start(self._republish(video, decision), name=f"republish.{name}")
        self._tell(event)

    async def _republish(self, before: _Adapted, decision: PublishDecision) -> None:
        """Publish another track; where that is refused, things are as `before` the decision."""
        name, change = before.plan.name, _change(before.plan, decision.settings)
        try:
            await self._publisher.republish(name, change)
        except RoomhandError as error:
            log.warning("publish_decision_refused", track=name, error=str(error), **asdict(change))
            # It may have been withdrawn since the last tick: that is what refuses it then.
            if name in self._videos and name in {plan.name for _, plan, _, _ in self._publisher.local_tracks}:
                state = publishing.refused(before.state, decision, self._now)
                self._videos[name] = replace(before, state=state)
                self._publisher.limit(name, max_fps=state.settings.max_fps, lines=state.settings.lines)
        finally:
            self._republishing.discard(name)

    def settings(self, name: str) -> Settings:
        """What is changed of our video of that name now."""
        video = self._videos.get(name)
        return video.state.settings if video else Settings()

    def counters(self) -> RoomCounters:
        """Totals for metrics."""
        return RoomCounters(publish_decisions=dict(self._counted))

    async def aclose(self) -> None:
        """Do nothing more; idempotent."""
        await self._tasks.aclose()


def _frames_dropped(window: Window) -> bool:
    """Whether frames were captured and did not come out of a pass-through encoder that is wanted."""
    wanted = [layer for layer in window.layers if layer.active is not False]
    if not window.measured or not window.captured_fps or not wanted:
        return False
    return window.captured_fps - wanted[-1].fps > DROPPED_FPS


def _published(plan: TrackPlan) -> Published:
    return Published(
        plan.width,
        plan.height,
        plan.usual_fps,
        SentCodec(plan.video_codec.value),
        layered=plan.simulcast,
        screen=plan.source is TrackSource.SCREEN_SHARE,
    )


def _kept(plan: TrackPlan, known: TrackPlan) -> TrackPlan:
    """`plan` with what a decision may have changed as it was in `known`."""
    return replace(
        plan,
        video_codec=known.video_codec,
        simulcast=known.simulcast,
        bitrate_bps=known.bitrate_bps,
        fps=known.fps,
    )


def _change(plan: TrackPlan, settings: Settings) -> PlanChange:
    """What to publish `plan`, which is the caller's, anew with."""
    codec = VideoCodec(settings.codec.value) if settings.codec else plan.video_codec
    limits = [bps for bps in (plan.bitrate_bps, settings.max_bitrate_bps) if bps is not None]
    return PlanChange(
        video_codec=codec,
        simulcast=plan.simulcast and settings.simulcast is None,
        max_bitrate_bps=min(limits, default=AS_THE_SDK_CHOOSES),
    )
