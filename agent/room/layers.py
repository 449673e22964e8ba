"""Layer choice over all subscribed videos: judgements in, the controller's decisions out and applied."""

import math
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

import structlog

from agent.room.events import ActiveSpeakers
from agent.room.layer_decisions import layer_changed, log_decision
from agent.room.layer_subscriptions import layer_subscription, video_windows
from agent.room.quality_monitor import QualityTick
from agent.room.session import RoomSession
from agent.room.state import TrackState
from agent.room.subscriber import Subscriber
from quality import controller, cpu_budget
from quality.allocation import CORES_PER_PIXEL, Limits, Subscription, constrain, decode_cores
from quality.controller_state import ControllerState
from quality.cpu_budget import CpuBudget, CpuUse
from quality.layer_steps import height, named
from quality.layer_trials import Action
from quality.presets import simulcast_layers
from quality.stats import TrackKind, TrackSource, VideoQuality
from quality.window import Window

log = structlog.get_logger(__name__)

CpuTimes = Callable[[], CpuUse]

OTHERS_S = 10  # ticks
OTHERS_STEP_CORES = 0.05
ROUNDED_CORES = 1e-6
SPEAKING_S = 10.0  # who spoke last counts as speaking for so long: focus is not to jump with every word


class LayerAdapter:
    """Runs quality.controller over the subscribed videos that have layers and that nobody pinned or disabled.

    Feed it the participant's ticks (`on_tick` suits QualityMonitor.add_listener). Each decision is applied, logged with
    its reason, told to the session's listeners as LayerChanged, and given to `on_decision`. `cpu_times`: how
    the process' threads ran since the call before; where one cannot keep up, decoding gets a budget. None leaves CPU
    out of it.
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
        self._others: deque[float] = deque(maxlen=OTHERS_S)
        self._heard: frozenset[str] = frozenset()
        self._spoke_at: dict[str, float] = {}
        session.add_listener(self._on_event)

    def _on_event(self, event: object) -> None:
        if isinstance(event, ActiveSpeakers):
            self._heard = frozenset(event.participant_identities)

    def on_tick(self, tick: QualityTick) -> None:
        """Take in one second of the participant's connection; what it sends is passed over."""
        windows = video_windows(tick)
        self._note_speakers(tick.at)
        tracks = {track.sid: track for track in self._subscriber.subscribed() if self._is_ours(track)}
        videos = tuple(self._subscription(track) for track in tracks.values())
        limits = Limits(cpu_cores=self._cores_left(windows, videos, self._absent(tracks.values()), tick.at))
        state = controller.adopt(self._state, {sid: self._asked(track) for sid, track in tracks.items()})
        self._state, actions = controller.step(state, videos, tuple(windows.values()), tick.at, limits)
        by_sid = {item.track_sid: item for item in videos}
        for action in actions:
            held = _is_held(by_sid[action.track_sid], action.to_quality)
            self._apply(tracks[action.track_sid], action, held=held)
        for sid, quality in self._state.asked.items():
            self._ask_again(tracks[sid], by_sid[sid], quality)

    def _note_speakers(self, now: float) -> None:
        self._spoke_at |= dict.fromkeys(self._heard, now)
        self._spoke_at = {identity: at for identity, at in self._spoke_at.items() if now - at < SPEAKING_S}

    def _is_ours(self, track: TrackState) -> bool:
        if track.kind != TrackKind.VIDEO or not track.simulcasted:
            return False
        intent = self._subscriber.intent_of(track)
        return intent.enabled and not intent.pinned

    def _absent(self, tracks: Iterable[TrackState]) -> set[str]:
        """What its publisher muted; what is withheld here is to have its share, so that it can come back."""
        return {track.sid for track in tracks if track.muted and not self._subscriber.sent(track).withheld}

    def _cores_left(
        self, windows: Mapping[str, Window], videos: tuple[Subscription, ...], absent: set[str], now: float
    ) -> float:
        """What of the CPU budget is left for the videos whose layer may be chosen, in cores."""
        if self._cpu_times is None or (not windows and self._cpu.unlimited):
            return self._cpu.cores
        cores = {sid: CORES_PER_PIXEL * _pixels(window) for sid, window in windows.items()}
        ours = {item.track_sid for item in videos}
        others = self._steady(sum(used for sid, used in cores.items() if sid not in ours))
        # The allocation rounds up what each video takes.
        playing = (item for item in videos if item.layers and item.track_sid not in absent)
        lowest = sum(decode_cores(item.layers[0], Limits()) + ROUNDED_CORES for item in playing)
        before = self._cpu.cores
        self._cpu = cpu_budget.step(self._cpu, self._cpu_times(), sum(cores.values()), now, others + lowest)
        if self._cpu.cores != before:
            log.info("cpu_budget", cores=round(self._cpu.cores, 2), decoding_cores=round(sum(cores.values()), 2))
        return max(lowest, self._cpu.cores - others)

    def _steady(self, cores: float) -> float:
        """What the videos that are not ours to choose take, rounded up and of the last seconds: it swings by frames."""
        self._others.append(math.ceil(cores / OTHERS_STEP_CORES) * OTHERS_STEP_CORES)
        return max(self._others)

    def _subscription(self, track: TrackState) -> Subscription:
        dimensions = self._subscriber.intent_of(track).dimensions
        return layer_subscription(
            track,
            simulcast_layers(track.width, track.height, TrackSource(track.source)),
            max_quality=self._subscriber.ceiling_of(track),
            in_focus=track.participant_identity in self._spoke_at,
            requested_height=dimensions[1] if dimensions else 0,
        )

    def _asked(self, track: TrackState) -> VideoQuality | None:
        sent = self._subscriber.sent(track)
        return None if sent.withheld else sent.quality

    def _apply(self, track: TrackState, action: Action, *, held: bool) -> None:
        if (self._asked(track), self._subscriber.sent(track).held) == (action.to_quality, held):
            return  # the rules' choice, which is asked for already
        self._subscriber.choose_quality(track.sid, action.to_quality, held=held)
        log_decision(track, action)
        self._session.emit(layer_changed(track, action, "participant"))
        if self._on_decision is not None:
            self._on_decision(action)

    def _ask_again(self, track: TrackState, video: Subscription, quality: VideoQuality | None) -> None:
        """Ask for `quality`, which is what the controller believes to be asked for, where more is, or nothing at all.

        Less, which somebody else asked for, it takes over. It withholds alone: what else is withheld is a leftover, of
        before the video was switched off or unsubscribed from.
        """
        sent, held = self._subscriber.sent(track), _is_held(video, quality)
        by_size = sent.dimensions is not None and not sent.held
        given = min(sent.quality, max(layer.quality for layer in video.layers))
        more = not sent.withheld and (held if by_size else height(given) > height(quality))
        if more or (sent.withheld and quality is not None):
            self._subscriber.choose_quality(track.sid, quality, held=held)
            log.info("layer_asked_again", track=track.name, sid=track.sid, quality=named(quality))


def _is_held(video: Subscription, quality: VideoQuality | None) -> bool:
    """Whether that is less than the size it is shown in would have the server give, whatever the rules say."""
    layers, _ = constrain(replace(video, max_quality=VideoQuality.HIGH), Limits())
    return bool(layers) and height(quality) < layers[-1].quality


def _pixels(window: Window) -> float:
    return window.frame_width * window.frame_height * window.fps
