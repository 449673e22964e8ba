"""The demo's checks fail when they should."""

from pathlib import Path
from typing import Any

from agent.demo.checks import (
    check_events,
    check_export,
    check_layers,
    check_metrics,
    check_nothing_lost,
    check_recording,
)
from media.frames import Codec, MediaKind
from media.record.entries import GapEntry, GapReason, RecordingState, SegmentEntry, TrackDescriptor
from media.record.reader import RecordingView, TrackView
from media.record.verify import VerificationReport


def view(samples: int, gaps: tuple[GapEntry, ...] = ()) -> RecordingView:
    descriptor = TrackDescriptor("TR_1", "cam", "camera", MediaKind.VIDEO, Codec.H264, "ann", "Ann", "PA_1")
    segment = SegmentEntry("r/1/1", 1, 1, "p", "i", "h", 1, 0, 3600 * samples, samples, 1, 1, False, True, False, 0.0)
    track = TrackView(1, descriptor, Path("t"), 90_000, (), (segment,), (), gaps, ())
    return RecordingView(Path("r"), "r", "room", "", 0.0, 1.0, RecordingState.COMPLETE, (track,))


def received(frames: int) -> list[dict[str, Any]]:
    return [{"sid": "TR_1", "tap": {"frames_received": frames}}, {"sid": "TR_2", "tap": None}]


def test_a_frame_that_was_received_and_not_recorded_is_told() -> None:
    assert check_nothing_lost(view(100), received(99)).ok
    assert not check_nothing_lost(view(100), received(101)).ok
    assert not check_nothing_lost(view(100, (GapEntry(1, 0, 1, GapReason.OVERFLOW, 3),)), received(99)).ok
    assert not check_nothing_lost(view(100), []).ok


def test_a_clip_without_sound_is_recorded_without_sound() -> None:
    report = VerificationReport("r", RecordingState.COMPLETE, 1, 1, 300, 9, ())
    (whole, video) = check_recording(view(300), report, 10.0, {MediaKind.VIDEO: 30.0})
    assert whole.ok
    assert video.ok
    both = check_recording(view(300), report, 10.0, {MediaKind.VIDEO: 30.0, MediaKind.AUDIO: 50.0})
    assert [verdict.ok for verdict in both] == [True, True, False]


def test_layers_must_have_changed_where_there_are_layers() -> None:
    assert check_layers(("320x180", "640x360", "1280x720"), simulcast=True).ok
    assert not check_layers(("1280x720",), simulcast=True).ok
    assert check_layers(("1280x720",), simulcast=False).ok


def test_an_export_counts_only_with_checks_that_passed() -> None:
    good = {"name": "opens", "ok": True}
    status = {"format": "mp4", "state": "complete", "outputs": [{"checks": [good]}], "error": None}
    assert check_export(status).ok
    assert not check_export({**status, "outputs": [{"checks": [good, {"name": "samples", "ok": False}]}]}).ok
    assert not check_export({**status, "outputs": []}).ok
    assert not check_export({**status, "state": "failed"}).ok


def test_events_and_metrics_must_be_there() -> None:
    assert [verdict.ok for verdict in check_events([{"type": "text"}, {"type": "data"}])] == [True, True, False]
    assert check_metrics("roomhand_recording_segments_total 4.0\n").ok
    assert not check_metrics("roomhand_recording_segments_total 0.0\n").ok
    assert not check_metrics("").ok
