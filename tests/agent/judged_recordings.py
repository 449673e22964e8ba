"""Recordings with samples of their quality, whose truth is known: seconds as told, judged and written as in a room."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from agent.room.quality_log import QualityLog
from agent.room.quality_monitor import QualityMonitor, TrackLabel
from media.record.reader import QUALITY_NAME
from media.record.recorder import Recording
from quality.participants import ServerOpinion
from quality.score import ConnectionQuality
from quality.stats import InboundRtp, TrackKind, TrackSnapshot, TrackSource, VideoLayer, VideoQuality
from tests.quality.traces import EPOCH

LAYERS = (
    VideoLayer(VideoQuality.LOW, 320, 180),
    VideoLayer(VideoQuality.MEDIUM, 640, 360),
    VideoLayer(VideoQuality.HIGH, 1280, 720),
)
RATES_BPS = (150_000, 500_000, 1_700_000)


@dataclass(frozen=True, slots=True)
class Second:
    """What happens to a track within one second."""

    loss: float = 0.0
    layer: VideoQuality = VideoQuality.HIGH
    fps: int = 30
    freeze_s: float = 0.0
    muted: bool = False
    paused: bool = False


@dataclass(frozen=True, slots=True)
class Played:
    """A track and what happens to it, by seconds; None once it is withdrawn."""

    label: TrackLabel
    second: Callable[[int], Second | None]


class _Around:
    own_identity = "recorder"

    def __init__(self, tracks: tuple[Played, ...], opinions: Mapping[str, ServerOpinion]) -> None:
        self._labels = {track.label.track_sid: track.label for track in tracks}
        self.told = opinions

    def labels(self) -> Mapping[str, TrackLabel]:
        return self._labels

    def opinions(self) -> Mapping[str, ServerOpinion]:
        return self.told


def camera(identity: str, second: Callable[[int], Second | None], *, name: str = "camera", sid: str = "") -> Played:
    """A VP8 camera with simulcast."""
    return Played(TrackLabel(sid or f"TR_cam_{identity}", name, "video", "camera", identity, "video/vp8"), second)


def microphone(identity: str, second: Callable[[int], Second]) -> Played:
    """A microphone."""
    label = TrackLabel(f"TR_mic_{identity}", "microphone", "audio", "microphone", identity, "audio/opus")
    return Played(label, second)


def judged_recording(
    root: Path,
    recording_id: str,
    tracks: tuple[Played, ...],
    seconds: int,
    *,
    room: str = "lobby",
    server: Callable[[int], Mapping[str, ServerOpinion]] | None = None,
) -> Path:
    """A closed recording without media whose quality.jsonl tells of `seconds` of `tracks`; its folder."""
    recording = Recording.create(root, recording_id, room, started_at=EPOCH)
    log = QualityLog(lambda event: recording.append_event(event, QUALITY_NAME))
    people = {each.label.participant_identity for each in tracks} | {_Around.own_identity}
    excellent = dict.fromkeys(people, ServerOpinion(ConnectionQuality.EXCELLENT, 4.5))
    around = _Around(tracks, excellent)
    monitor = QualityMonitor("tap", around, lambda _event: None, repaired=True)
    monitor.add_listener(log.take)
    published = [(track, _first(track)) for track in tracks]
    for at in range(seconds + 1):
        if at:
            published = [
                (track, _after(snapshot, second, at))
                for track, snapshot in published
                if (second := track.second(at - 1)) is not None
            ]
        if server is not None:
            around.told = server(at)
        monitor.take(tuple(snapshot for _, snapshot in published), EPOCH + at)
    log.flush(EPOCH + seconds)
    recording.close(EPOCH + seconds, "requested")
    return recording.path


def _first(track: Played) -> TrackSnapshot:
    video = track.label.kind == "video"
    return TrackSnapshot(
        track.label.track_sid,
        TrackKind(track.label.kind),
        TrackSource(track.label.source),
        EPOCH,
        InboundRtp(reports_sent=0),
        requested_quality=VideoQuality.HIGH if video else None,
        layers=LAYERS if video else (),
    )


def _after(before: TrackSnapshot, second: Second, at: int) -> TrackSnapshot:
    stats = before.stats
    assert isinstance(stats, InboundRtp)
    video, flows = before.kind is TrackKind.VIDEO, not (second.muted or second.paused)
    rate_bps = RATES_BPS[second.layer] if video else 48_000
    # A little unevenness, so that plots look like something.
    packets = round(rate_bps / 8 / (1100 if video else 120) * (1 + 0.1 * ((at * 7) % 5 - 2) / 2)) if flows else 0
    lost = round(packets * second.loss)
    layer = LAYERS[second.layer]
    grown = replace(
        stats,
        packets_received=stats.packets_received + packets - lost,
        packets_lost=stats.packets_lost + lost,
        bytes_received=stats.bytes_received + (packets - lost) * (1100 if video else 120),
        frames_received=stats.frames_received + (second.fps if video and flows else 0),
        frame_width=layer.width if video else 0,
        frame_height=layer.height if video else 0,
        freeze_count=stats.freeze_count + (second.freeze_s > 0),
        total_freezes_duration=stats.total_freezes_duration + second.freeze_s,
        jitter=0.004 + 0.02 * second.loss,
        jitter_buffer_delay=stats.jitter_buffer_delay + 0.04 * packets,
        jitter_buffer_emitted_count=stats.jitter_buffer_emitted_count + packets,
        round_trip_time=0.042,
        reports_sent=(stats.reports_sent or 0) + 1,
    )
    return replace(before, timestamp=EPOCH + at, stats=grown, muted=second.muted, stream_paused=second.paused)
