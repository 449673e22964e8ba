"""Layer choice for each video subscription: judgements in, the controller's decisions out and applied."""

from collections.abc import Callable, Mapping

import structlog

from agent.room.events import ActiveSpeakers, LayerChanged
from agent.room.quality_monitor import QualityTick
from agent.room.session import RoomSession
from agent.room.state import TrackState
from agent.room.subscriber import Subscriber
from quality import cpu_budget, layers
from quality.allocation import CORES_PER_PIXEL, Layer, Limits, Subscription, allocate
from quality.cpu_budget import CpuBudget
from quality.layer_steps import measured as with_preset_bitrates
from quality.presets import preset_fps, simulcast_layers
from quality.stats import Direction, TrackKind, TrackSource, VideoQuality
from quality.video_model import VideoCodec
from quality.window import Window

log = structlog.get_logger(__name__)

CpuTimes = Callable[[], tuple[float, float]]


class LayerAdapter:
    """Runs quality.layers for each subscribed video that has layers and that nobody pinned or disabled.

    Feed it the participant's ticks (`on_tick` suits QualityMonitor.add_listener). Each decision is applied, logged with
    its reason, told to the session's listeners as LayerChanged, and given to `on_decision`. `cpu_times`: how long the
    process' threads ran and waited since the call before; where they wait too long, decoding gets a budget, which goes
    first to who speaks and to screens. None leaves CPU out of it.
    """

    def __init__(
        self,
        session: RoomSession,
        subscriber: Subscriber,
        *,
        cpu_times: CpuTimes | None = None,
        on_decision: Callable[[layers.LayerDecision], None] | None = None,
    ) -> None:
        self._session = session
        self._subscriber = subscriber
        self._cpu_times = cpu_times
        self._on_decision = on_decision
        self._states: dict[str, layers.LayerState] = {}
        self._cpu = CpuBudget()
        self._speakers: frozenset[str] = frozenset()
        session.add_listener(self._on_event)

    def _on_event(self, event: object) -> None:
        if isinstance(event, ActiveSpeakers):
            self._speakers = frozenset(event.participant_identities)

    def on_tick(self, tick: QualityTick) -> None:
        """Take in one second of the participant's connection; what it sends is passed over."""
        windows = {
            each.label.track_sid: each.judgement.window
            for each in tick.tracks
            if each.judgement.window.kind is TrackKind.VIDEO and each.judgement.window.direction is Direction.INBOUND
        }
        tracks = {track.sid: track for track in self._subscriber.subscribed() if self._is_ours(track)}
        for sid in self._states.keys() - (windows.keys() & tracks.keys()):
            del self._states[sid]
        allowed = self._allowed_by_cpu(windows, tracks, tick.at)
        for sid, track in tracks.items():
            if sid in windows:
                ceiling = min(self._subscriber.ceiling(sid), allowed.get(sid, VideoQuality.HIGH))
                self._step(track, windows[sid], ceiling, tick.at)

    def _is_ours(self, track: TrackState) -> bool:
        if track.kind != TrackKind.VIDEO or not track.simulcasted:
            return False
        intent = self._subscriber.intent(track.sid)
        return intent.enabled and not intent.pinned

    def _step(self, track: TrackState, window: Window, ceiling: VideoQuality, now: float) -> None:
        state = self._states.get(track.sid)
        if state is None:
            state = layers.start(track.sid, now, self._subscriber.intent(track.sid).quality)
        self._states[track.sid], decision = layers.step(state, window, now, ceiling)
        if decision is not None:
            self._apply(track, decision)

    def _allowed_by_cpu(
        self, windows: Mapping[str, Window], tracks: Mapping[str, TrackState], now: float
    ) -> dict[str, VideoQuality]:
        """The best layer of each video for which there is CPU; empty where there is enough."""
        if self._cpu_times is None or (not windows and self._cpu.unlimited):
            return {}
        decoding = CORES_PER_PIXEL * sum(
            window.frame_width * window.frame_height * window.fps for window in windows.values()
        )
        before = self._cpu.cores
        self._cpu = cpu_budget.step(self._cpu, *self._cpu_times(), decoding, now, self._least_cores(tracks))
        if self._cpu.cores != before:
            log.info("cpu_budget", cores=round(self._cpu.cores, 2), decoding_cores=round(decoding, 2))
        if self._cpu.unlimited:
            return {}
        videos = with_preset_bitrates(tuple(map(self._subscription, tracks.values())), ())
        found = allocate(videos, Limits(cpu_cores=self._cpu.cores))
        return {
            choice.track_sid: choice.layer.quality if choice.layer else VideoQuality.LOW for choice in found.choices
        }

    def _least_cores(self, tracks: Mapping[str, TrackState]) -> float:
        """What the lowest layers of all videos take to decode."""
        lowest = [simulcast_layers(track.width, track.height)[:1] for track in tracks.values()]
        return CORES_PER_PIXEL * sum(item.width * item.height * preset_fps(item) for found in lowest for item in found)

    def _subscription(self, track: TrackState) -> Subscription:
        codec = track.mime_type.lower().partition("/")[2]
        return Subscription(
            track.sid,
            tuple(
                Layer(item.quality, item.width, item.height, preset_fps(item), 0.0)
                for item in simulcast_layers(track.width, track.height)
            ),
            source=TrackSource(track.source),
            codec=VideoCodec(codec) if codec in set(VideoCodec) else VideoCodec.VP8,
            active_speaker=track.participant_identity in self._speakers,
            max_quality=self._subscriber.ceiling(track.sid),
        )

    def _apply(self, track: TrackState, decision: layers.LayerDecision) -> None:
        self._subscriber.choose_quality(track.sid, decision.to_quality)
        log.info(
            "layer_decision",
            track=track.name,
            sid=track.sid,
            participant_identity=track.participant_identity,
            from_quality=decision.from_quality.name,
            to_quality=decision.to_quality.name,
            reason=decision.reason,
        )
        self._session.emit(LayerChanged(track, decision.from_quality, decision.to_quality, decision.reason))
        if self._on_decision is not None:
            self._on_decision(decision)
