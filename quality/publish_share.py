"""What a video of ours has of the way out, which our other videos share: screens come first. Pure."""

from dataclasses import dataclass, replace

from quality.publish_ladder import Limit
from quality.publish_signs import Signs
from quality.window import Window


@dataclass(frozen=True, slots=True)
class Screen:
    """A screen of ours, as a second of it was."""

    name: str
    signs: Signs

    @property
    def trouble(self) -> str:
        """Why other videos should give way to it; empty where it has what it needs."""
        starving = self.signs.trouble.get(Limit.BANDWIDTH)
        return f"{self.name} comes first: {starving}" if starving else ""


@dataclass(frozen=True, slots=True)
class Share:
    """`taken_bps` is what our other videos send. `screen` comes before this video; None for a screen, or without one.

    `waits`: another video can give way to this screen, so that it need not be sent otherwise yet.
    """

    taken_bps: float = 0.0
    screen: Screen | None = None
    waits: bool = False

    def of(self, window: Window) -> Window:
        """The video's window, with what is left to it in place of the bandwidth of all."""
        if window.available_bandwidth_bps is None or not self.taken_bps:
            return window
        return replace(window, available_bandwidth_bps=max(0.0, window.available_bandwidth_bps - self.taken_bps))


ALONE = Share()
