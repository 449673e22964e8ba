"""Asks the tap for the layers that a recording shall have: by its policy, by people, and by what the way carries."""

from collections.abc import Callable
from dataclasses import replace

import structlog

from agent.room.events import LayerChanged
from agent.room.layer_decisions import layer_changed, log_decision
from agent.room.layer_subscriptions import layer_subscription, video_windows
from agent.room.quality_monitor import QualityTick
from agent.room.recording_layers import LayerAllocator, RecordedVideo, is_in_focus
from agent.room.recording_plan import LayerPolicy
from agent.room.recording_rates import ReceiveRates
from agent.room.state import TrackState
from agent.room.subscription import TrackKey
from agent.room.tap_values import track_state, video_layers, video_quality
from media.frames import MediaKind
from media.tap.events import LayerQuality, RemoteParticipant, RemoteTrack
from media.tap.tap import Tap
from quality import controller
from quality.allocation import Subscription
from quality.controller_state import ControllerState
from quality.layer_trials import Action, Kind
from quality.stats import VideoQuality

log = structlog.get_logger(__name__)

TAKEN_BACK = "what was tried is taken back, as limits changed"


class RecordedLayers:
    """The layers of the recorded videos. `policy` may be replaced at any time; `apply` then follows it.

    `rates` wants to be told what comes about once a second. What the policy leaves, quality.controller lowers further
    by what `on_tick` is told of, and raises again; each of its decisions is logged and told to `tell`.
    """

    def __init__(self, tap: Tap, policy: LayerPolicy, tell: Callable[[LayerChanged], None]) -> None:
        self.policy = policy
        self.rates = ReceiveRates()
        self._tap = tap
        self._tell = tell
        self._controller = ControllerState()
        self._allocator = LayerAllocator()
        self._caps: dict[str, VideoQuality] = {}
        self._lowered: dict[str, VideoQuality] = {}
        self._max_fps: dict[str, int | None] = {}
        self._pins: dict[TrackKey, VideoQuality] = {}
        self._allocated: dict[str, VideoQuality] = {}
        self._decided: set[str] = set()
        self._released: set[str] = set()

    def allow(self, track_sid: str, cap: VideoQuality, max_fps: int | None = None) -> LayerQuality:
        """The track is recorded, in `cap` and with `max_fps` frames a second at best; the layer to begin with."""
        self._max_fps[track_sid] = max_fps
        self._caps[track_sid] = cap
        return LayerQuality(min(self._cap(track_sid), self.policy.quality).value)

    def lower(self, track_sid: str, quality: VideoQuality) -> None:
        """The track's layers above `quality` cannot be had, whatever the rules say, until it is published again."""
        self._lowered[track_sid] = quality

    def _cap(self, track_sid: str) -> VideoQuality:
        return min(self._caps[track_sid], self._lowered.get(track_sid, VideoQuality.HIGH))

    def max_fps(self, track_sid: str) -> int | None:
        """The frames a second to record at most: the smaller of the rule's and the policy's; None for all."""
        limits = [item for item in (self._max_fps.get(track_sid), self.policy.max_fps) if item is not None]
        return min(limits, default=None)

    def forget(self, track_sid: str) -> None:
        """The track is no longer recorded."""
        self._caps.pop(track_sid, None)
        self._lowered.pop(track_sid, None)
        self._max_fps.pop(track_sid, None)
        self._allocated.pop(track_sid, None)

    def pin(self, track_sid: str, quality: VideoQuality | None) -> None:
        """Take this layer whatever the policy says, also of the track as it is published again; None: by the policy."""
        key = self._key(track_sid)
        if key is None:
            return
        if quality is not None:
            self._pins[key] = quality
        elif self._pins.pop(key, None) is not None:
            self._released.add(track_sid)

    def pinned(self, track_sid: str) -> VideoQuality | None:
        """The layer that a person asked for."""
        key = self._key(track_sid) if self._pins else None
        return self._pins.get(key) if key else None

    def _key(self, track_sid: str) -> TrackKey | None:
        found = self._tap.find_track(track_sid)
        return TrackKey.of(track_state(*found)) if found else None

    def on_tick(self, tick: QualityTick) -> bool:
        """Take in a second of what the tap receives; whether `apply` has something new to ask for.

        A picture that lacks a key tells nothing of the way.
        """
        lacking, held = self._tap.undecryptable(), self._controller.held
        windows = tuple(window for sid, window in video_windows(tick).items() if sid not in lacking)
        videos = tuple(video for sid in sorted(self._allocated) if (video := self._judged(sid)) is not None)
        others_bps = self._others_bps({video.track_sid for video in videos})
        self._controller, actions = controller.step(
            self._controller, videos, windows, tick.at, probes=False, others_bps=others_bps
        )
        # A limit is the policy's own decision, but for a trial that it takes back.
        ended = {sid for sid, _ in set(held) - set(self._controller.held)}
        trials = [
            action if action.kind is not Kind.LIMIT else replace(action, reason=TAKEN_BACK)
            for action in actions
            if action.kind is not Kind.LIMIT or action.track_sid in ended
        ]
        for action in trials:
            self._tell_of(action)
            self._decided.add(action.track_sid)
        self._tap.want_video_bandwidth(self._controller.wanted_bps + others_bps)
        return bool(trials) or self._controller.held != held  # a trial that a limit ended is taken back

    def _others_bps(self, chosen: set[str]) -> float:
        """What the videos want that the controller leaves alone."""
        others = ((sid, self._video(sid)) for sid in self._allocated if sid not in chosen)
        return sum(
            video.wanted_bps(self._allocated[sid] if video.pinned is None else video.pinned)
            for sid, video in others
            if video is not None
        )

    def _judged(self, sid: str) -> Subscription | None:
        """A video whose layer may be chosen: simulcast, and nobody's choice."""
        found = self._tap.find_track(sid)
        if found is None or self.pinned(sid) is not None or not (layers := video_layers(found[1])):
            return None
        focus = is_in_focus(self.policy, found[0].identity)
        return layer_subscription(
            track_state(*found), layers, max_quality=min(self._allocated[sid], self._cap(sid)), in_focus=focus
        )

    def _tell_of(self, action: Action) -> None:
        self._tell(layer_changed(self._log(action), action, "tap"))

    def _log(self, action: Action) -> TrackState:
        """The track that the action is about, after a line of it."""
        found = self._tap.find_track(action.track_sid)
        assert found is not None, "looked at in this second"
        track = track_state(*found)
        log_decision(track, action, target="tap")
        return track

    async def apply(self, now: float) -> None:
        """Ask for the layers and frame rates that are wanted at `now`, where others are asked for now."""
        videos = [video for sid in self._caps if (video := self._video(sid)) is not None]
        for video in videos:
            await self._limit(video.sid)
        before, self._allocated = self._allocated, self._allocator.step(self.policy, videos, now)
        held = dict(self._controller.held)
        asks = []
        for sid, quality in self._allocated.items():
            ours = min(quality, held.get(sid, quality))
            pinned, taken = self.pinned(sid), video_quality(self._tap.quality(sid))
            wanted = ours if pinned is None else pinned
            if taken is not None and taken is not wanted:
                asks.append((sid, taken, wanted, self._reason(sid, pinned, quality, before.get(sid))))
        # Less before more, and the least last, as the controller asks (`asking`).
        for sid, taken, wanted, reason in sorted(asks, key=lambda ask: (ask[2] > ask[1], -ask[2], ask[0])):
            if self._tap.quality(sid) is None:
                continue  # it went while others were asked for
            await self._tap.set_quality(sid, LayerQuality(wanted.value))
            self.rates.forget(sid)
            if reason is not None:
                self._log(Action(sid, taken, wanted, Kind.LIMIT, reason, expects=""))
        self._decided.clear()
        self._released.clear()

    def _reason(
        self, sid: str, pinned: VideoQuality | None, quality: VideoQuality, before: VideoQuality | None
    ) -> str | None:
        """Why another layer is asked for; None where a line of the controller's own says it."""
        if pinned is not None:
            return "asked for by a person"
        if sid in self._released:
            return "no longer asked for by a person"
        if quality is not before:
            return "restarts did not help" if quality is self._lowered.get(sid) else "the recording's layer policy"
        return None if sid in self._decided else TAKEN_BACK

    async def _limit(self, sid: str) -> None:
        wanted = self.max_fps(sid)
        if self._tap.quality(sid) is None or self._tap.max_fps(sid) == wanted:
            return  # the first may have gone while others were asked for
        await self._tap.set_max_fps(sid, wanted)
        self.rates.forget(sid)
        log.info("frame_rate_decision", sid=sid, target="tap", max_fps=wanted, reason="the recording's rules")

    def _video(self, sid: str) -> RecordedVideo | None:
        found, taken = self._tap.find_track(sid), video_quality(self._tap.quality(sid))
        if found is None or taken is None or found[1].kind is not MediaKind.VIDEO:
            return None
        video = recorded_video(*found, self._cap(sid), taken, self.rates.smooth_bps(sid))
        return replace(video, pinned=self.pinned(sid))


def recorded_video(
    participant: RemoteParticipant, track: RemoteTrack, cap: VideoQuality, taken: VideoQuality, measured_bps: float
) -> RecordedVideo:
    """A track as the allocation sees it."""
    return RecordedVideo(
        sid=track.sid,
        participant_identity=participant.identity,
        source=track.source,
        simulcasted=track.simulcasted,
        cap=cap,
        taken=taken,
        measured_bps=measured_bps,
        muted=track.muted,
        declared_bps={VideoQuality(item.quality.value): item.bitrate_bps for item in track.layers if item.bitrate_bps},
    )
