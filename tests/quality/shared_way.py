"""A camera and a screen of ours over one way out, and what is decided of them."""

from dataclasses import dataclass, field, replace

from quality import publishing
from quality.own_videos import OwnVideo, shares
from quality.publish_ladder import Move, Published, Settings
from quality.publishing import PublishDecision, PublishState
from quality.sent_layers import SentLayer
from quality.stats import QualityLimitationReason
from quality.window import Window
from tests.quality.sent_video import PUBLISHED, Machine
from tests.quality.traces import EPOCH

CAMERA, SCREEN = "camera", "screen"
SHARED = Published(1920, 1080, 15.0, layered=False, screen=True)
NEEDED_BPS = 600_000.0  # what all frames of the screen take
LARGEST_BPS = 2_300_000.0  # what all layers of the camera take


@dataclass
class Way:
    """libwebrtc gives both an equal share, and to one what the other does not take (measured on livekit 1.2.1)."""

    states: dict[str, PublishState] = field(
        default_factory=lambda: {
            CAMERA: publishing.start(PUBLISHED, EPOCH),
            SCREEN: publishing.start(SHARED, EPOCH),
        }
    )
    told: list[tuple[int, str, PublishDecision]] = field(default_factory=list)
    refuses: bool = False
    at: int = 0

    def go(self, total_bps: float, seconds: int, needed_bps: float = NEEDED_BPS) -> "Way":
        for _ in range(seconds):
            self.at += 1
            now = EPOCH + self.at
            own = self.second(total_bps, needed_bps)
            for name, share in shares(own, now).items():
                before = self.states[name]
                self.states[name], decision = publishing.step(before, own[name].window, now, share)
                if decision is not None:
                    self.told.append((self.at, name, decision))
                    if self.refuses and decision.move is Move.BITRATE:
                        self.states[name] = publishing.refused(before, decision, now)
        return self

    def second(self, total_bps: float, needed_bps: float) -> dict[str, OwnVideo]:
        windows = {}
        camera_bps = 0.0
        if state := self.states.get(CAMERA):
            most = state.settings.max_bitrate_bps or LARGEST_BPS
            camera_bps = min(most, total_bps / 2 if SCREEN in self.states else total_bps)
            machine = Machine(camera_bps)
            windows[CAMERA] = machine.second(PUBLISHED, state.settings, bytes=round(camera_bps / 8))
        if state := self.states.get(SCREEN):
            windows[SCREEN] = screen_second(state.settings, total_bps - camera_bps, needed_bps)
        return {
            name: OwnVideo(replace(window, available_bandwidth_bps=total_bps), self.states[name])
            for name, window in windows.items()
        }

    def moves(self) -> list[tuple[str, str, str]]:
        return [(name, item.course.value, item.move.value) for _, name, item in self.told]


def screen_second(settings: Settings, bps: float, needed_bps: float) -> Window:
    fps = min(SHARED.fps, settings.max_fps or SHARED.fps)
    needed_bps *= fps / SHARED.fps
    share = min(1.0, bps / needed_bps)
    sent_bps, none = min(bps, needed_bps), QualityLimitationReason.NONE
    target_bps = bps if share < 1.0 else 3e6
    layer = SentLayer("f", True, 1920, 1080, fps * share, sent_bps, target_bps, 20.0, 0.2, 0, none)
    window = Machine().second(SHARED, settings, bytes=round(sent_bps / 8))
    return replace(window, layers=(layer,), captured_fps=fps)
