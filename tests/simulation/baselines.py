"""Controllers to compare: ours, none at all (the server alone), and thresholds without memory."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Protocol

from quality.allocation import Subscription
from quality.controller import step
from quality.controller_state import ControllerState
from quality.layer_trials import Action
from quality.presets import preset_fps
from quality.stats import VideoLayer, VideoQuality
from quality.window import Window


class Controller(Protocol):
    """Sees each second's windows and says what to ask for anew."""

    def decide(self, windows: tuple[Window, ...], now: float) -> Mapping[str, VideoQuality | None]: ...


@cache
def as_rooms_tell(subscriptions: tuple[Subscription, ...]) -> tuple[Subscription, ...]:
    """What `agent.room.layer_subscriptions` knows of them: no bitrates, and the presets' frame rates."""
    return tuple(
        replace(
            item,
            layers=tuple(
                replace(layer, bitrate_bps=0.0, fps=preset_fps(VideoLayer(layer.quality, layer.width, layer.height)))
                for layer in item.layers
            ),
        )
        for item in subscriptions
    )


@dataclass(slots=True)
class Ours:
    """`quality.controller`, with what it did; `probes` where the receiver leaves the server's own unanswered.

    It is told of `subscriptions` what rooms tell, and has to find out the rest.
    """

    subscriptions: tuple[Subscription, ...]
    probes: bool = True
    state: ControllerState = field(default_factory=ControllerState)
    actions: list[tuple[float, Action]] = field(default_factory=list)

    def decide(self, windows: tuple[Window, ...], now: float) -> Mapping[str, VideoQuality | None]:
        known = as_rooms_tell(self.subscriptions)
        self.state, actions = step(self.state, known, windows, now, probes=self.probes)
        self.actions.extend((now, action) for action in actions)
        return {action.track_sid: action.to_quality for action in actions}


def ours_on_the_tap(subscriptions: tuple[Subscription, ...]) -> Ours:
    """As a recording runs it: the tap answers the server's own probes."""
    return Ours(subscriptions, probes=False)


@dataclass(slots=True)
class AlwaysHigh:
    """Asks for the best and leaves the rest to the server."""

    subscriptions: tuple[Subscription, ...]

    def decide(self, windows: tuple[Window, ...], now: float) -> Mapping[str, VideoQuality | None]:
        return {}


@dataclass(slots=True)
class NaiveThresholds:
    """A layer down after a second with over 5% lost or a freeze, a layer up after five seconds with under 1%."""

    subscriptions: tuple[Subscription, ...]
    asked: dict[str, VideoQuality] = field(default_factory=dict)
    clean: dict[str, int] = field(default_factory=dict)

    def decide(self, windows: tuple[Window, ...], now: float) -> Mapping[str, VideoQuality | None]:
        best = {item.track_sid: max(layer.quality for layer in item.layers) for item in self.subscriptions}
        changes: dict[str, VideoQuality | None] = {}
        for window in windows:
            sid = window.track_sid
            at = self.asked.get(sid, best[sid])
            bad = window.loss_ratio > 0.05 or window.freeze_count > 0
            self.clean[sid] = 0 if bad or window.loss_ratio > 0.01 else self.clean.get(sid, 0) + 1
            to = at
            if bad:
                to = VideoQuality(max(0, at - 1))
            elif self.clean[sid] >= 5 and at < best[sid]:
                to, self.clean[sid] = VideoQuality(at + 1), 0
            if to is not at:
                changes[sid] = self.asked[sid] = to
        return changes
