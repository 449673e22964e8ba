"""Layer choice for all video subscriptions together: judgements in, the controller's decisions out and applied."""

from collections.abc import Callable

import structlog

from agent.room.events import ActiveSpeakers, LayerChanged
from agent.room.quality_monitor import QualityTick
from agent.room.session import RoomSession
from agent.room.state import TrackState
from agent.room.subscriber import Subscriber
from quality import controller, cpu_budget
from quality.allocation import Layer, Limits, Subscription
from quality.controller import Action, ControllerState
from quality.cpu_budget import CpuBudget
from quality.presets import preset_fps, simulcast_layers
from quality.stats import Direction, TrackKind, TrackSource
from quality.video_model import VideoCodec
from quality.window import Window

log = structlog.get_logger(__name__)

CpuTimes = Callable[[], tuple[float, float]]


class LayerAdapter:
    """Runs quality.controller over the subscribed videos that have layers and that nobody pinned or disabled.

    Feed it the participant's ticks (`on_tick` suits QualityMonitor.add_listener). Each decision is applied, logged with
    its reason and told to the session's listeners as LayerChanged. `cpu_times`: how long threads ran and waited since
    the call before; None leaves CPU out of it.
    """

    def __init__(
        self,
        session: RoomSession,
        subscriber: Subscriber,
        *,
        cpu_times: CpuTimes | None = None,
        on_decision: Callable[[Action], None] | None = None,
    ) -> None:
        self._session = session
        self._subscriber = subscriber
        self._cpu_times = cpu_times
        self._on_decision = on_decision
        self._state = ControllerState()
        self._cpu = CpuBudget()
        self._speakers: frozenset[str] = frozenset()
        session.add_listener(self._on_event)

    def _on_event(self, event: object) -> None:
        if isinstance(event, ActiveSpeakers):
            self._speakers = frozenset(event.participant_identities)

    def on_tick(self, tick: QualityTick) -> None:
        """Take in one second of the participant's connection."""
        windows = {each.label.track_sid: each.judgement.window for each in tick.tracks}
        tracks = {track.sid: track for track in self._subscriber.subscribed() if self._is_ours(track)}
        received = tuple(window for window in windows.values() if _is_received_video(window))
        limits = Limits(cpu_cores=self._cpu_cores(received, tick.at))
        self._state, actions = controller.step(
            self._state,
            tuple(self._subscription(track) for track in tracks.values()),
            tuple(window for window in received if window.track_sid in tracks),
            tick.at,
            limits,
        )
        for action in actions:
            self._tell(tracks[action.track_sid], action)
        # What was asked for may be another's by now: a person's who gave the track back, or a reconnect's.
        for sid, quality in self._state.asked:
            if sid in tracks:
                self._subscriber.choose_quality(sid, quality)

    def _is_ours(self, track: TrackState) -> bool:
        if track.kind != TrackKind.VIDEO or not track.simulcasted:
            return False
        intent = self._subscriber.intent(track.sid)
        return intent.enabled and not intent.pinned

    def _cpu_cores(self, received: tuple[Window, ...], now: float) -> float:
        if self._cpu_times is not None:
            decoding = sum(
                Limits().cores_per_pixel * window.frame_width * window.frame_height * window.fps for window in received
            )
            before = self._cpu.cores
            self._cpu = cpu_budget.step(self._cpu, *self._cpu_times(), decoding, now)
            if self._cpu.cores != before:
                log.info("cpu_budget", cores=round(self._cpu.cores, 2), decoding_cores=round(decoding, 2))
        return self._cpu.cores

    def _subscription(self, track: TrackState) -> Subscription:
        codec = track.mime_type.lower().partition("/")[2]
        layers = simulcast_layers(track.width, track.height)
        return Subscription(
            track.sid,
            tuple(Layer(item.quality, item.width, item.height, preset_fps(item), 0.0) for item in layers),
            source=TrackSource(track.source),
            codec=VideoCodec(codec) if codec in set(VideoCodec) else VideoCodec.VP8,
            active_speaker=track.participant_identity in self._speakers,
            max_quality=self._subscriber.ceiling(track.sid),
        )

    def _tell(self, track: TrackState, action: Action) -> None:
        log.info(
            "layer_decision",
            track=track.name,
            sid=track.sid,
            participant_identity=track.participant_identity,
            from_quality=action.from_quality.name if action.from_quality is not None else "OFF",
            to_quality=action.to_quality.name if action.to_quality is not None else "OFF",
            reason=action.reason,
            expects=action.expects,
        )
        self._session.emit(LayerChanged(track, action.from_quality, action.to_quality, action.reason))
        if self._on_decision is not None:
            self._on_decision(action)


def _is_received_video(window: Window) -> bool:
    return window.kind is TrackKind.VIDEO and window.direction is Direction.INBOUND
