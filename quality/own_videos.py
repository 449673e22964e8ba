"""How all videos that we send share the way out: screens first, the others beside them. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass

from quality.publish_share import Screen, Share
from quality.publish_signs import Signs
from quality.publishing import PublishState, judged, may_give_way
from quality.window import Window


@dataclass(frozen=True, slots=True)
class OwnVideo:
    """A second of a video that we send. `state` is None for one that is not adapted."""

    window: Window
    state: PublishState | None


def shares(videos: Mapping[str, OwnVideo], now: float) -> dict[str, Share]:
    """What each of `videos`, by name, has of the way out that they share."""
    sent_bps = sum(video.window.bitrate_bps for video in videos.values())
    taken = {name: sent_bps - video.window.bitrate_bps for name, video in videos.items()}
    signs: dict[str, tuple[PublishState, Signs]] = {}
    for name, video in videos.items():
        if video.state and (seen := judged(video.state, Share(taken[name]).of(video.window))):
            signs[name] = video.state, seen
    screens = [Screen(name, seen) for name, (state, seen) in signs.items() if state.published.screen]
    first = next((screen for screen in screens if screen.trouble), screens[0] if screens else None)
    others = [(state, seen) for state, seen in signs.values() if not state.published.screen]
    waits = any(may_give_way(state, seen, now) for state, seen in others)
    return {
        name: Share(taken[name], waits=waits)
        if video.state and video.state.published.screen
        else Share(taken[name], screen=first)
        for name, video in videos.items()
    }
