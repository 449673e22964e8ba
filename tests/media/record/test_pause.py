"""Pauses within one recording, tracks that are published again, and gaps that say what kept frames away."""

from pathlib import Path

import pytest

from media.frames import Codec, EncodedFrame, MediaKind
from media.record.entries import (
    GapReason,
    RecordingClosed,
    RecordingPaused,
    RecordingResumed,
    RecordingStarted,
    RecordingState,
    RecordingUnpaused,
    SegmentEntry,
)
from media.record.journal_line import JournalRecord
from media.record.manifest import read_manifest
from media.record.reader import list_recordings, read_recording
from media.record.recorded_time import RecordedTime
from media.record.recorder import Recording
from media.record.recording_writer import RecordingCallbacks
from media.record.segmenter import ReportGap, RequestKeyframe, Segmenter, SegmenterConfig
from media.record.verify import verify_recording
from tests.media.record.encoded_media import decoded_sizes, descriptor, files_by_init, opus, video
from tests.media.record.test_segmenter import Outcome, vp8
from tests.media.record.test_segmenter import opus as opus_frame

START = 1_000.0
TICKS_PER_S = 90_000


def between(frames: list[EncodedFrame], start_s: float, end_s: float) -> list[EncodedFrame]:
    return [frame for frame in frames if START + start_s <= frame.arrival_time < START + end_s]


def test_nothing_is_written_in_a_pause_and_video_goes_on_with_a_sync_sample(tmp_path: Path) -> None:
    closed: list[SegmentEntry] = []
    asked: list[int] = []
    callbacks = RecordingCallbacks(on_segment=closed.append, on_keyframe_request=asked.append)
    recording = Recording.create(tmp_path, "one", "room", started_at=START, callbacks=callbacks)
    camera = recording.open_track(descriptor(Codec.H264, "TR_camera"), START)
    frames = video(Codec.H264, frames=30 * 10, gop=60)
    for frame in between(frames, 0, 3):
        camera.write(frame)
    recording.pause(START + 3)
    recording.pause(START + 3.1)
    assert str(recording.state) == "paused"
    for frame in between(frames, 3, 7):
        camera.write(frame)
    recording.unpause(START + 7)
    assert str(recording.state) == "recording"
    for frame in between(frames, 7, 10):
        camera.write(frame)
    assert recording.recorded_s(START + 10) == pytest.approx(6)
    recording.close(START + 10, "duration")
    view = read_recording(recording.path)
    (track,) = view.tracks
    before, after = track.segments
    assert [segment.samples for segment in track.segments] == [90, 60]
    assert closed[0].closed_at == START + 3, "what was recorded is handed off when the pause begins"
    assert (after.independent, after.discontinuity) == (True, True)
    assert after.decode_time == 8 * TICKS_PER_S, "the first sync sample after the pause"
    (gap,) = track.gaps
    assert (gap.reason, gap.decode_time, gap.duration) == (GapReason.PAUSED, before.end_decode_time, 5 * TICKS_PER_S)
    assert gap.frames_lost == 0, "what nobody wanted is not lost"
    assert set(asked) == {1}
    assert decoded_sizes(files_by_init(view, track)[0]) == [(160, 90)] * 150
    assert (view.state, view.ended_reason) == (RecordingState.COMPLETE, "duration")
    assert read_manifest(view.path).recorded_s == pytest.approx(6)
    assert read_manifest(view.path).ended_reason == "duration"
    assert verify_recording(view.path).problems == ()


def test_a_pause_outlives_its_writer(tmp_path: Path) -> None:
    recording = Recording.create(tmp_path, "one", "room", started_at=START)
    audio = opus(packets=500)
    track = recording.open_track(descriptor(Codec.OPUS), START)
    for frame in between(audio, 0, 2):
        track.write(frame)
    recording.pause(START + 2)
    recording.tick(START + 2.1)
    assert recording.close(START + 3) is RecordingState.COMPLETE
    # As a writer leaves it that is killed in the pause: all but the last line, which closes the recording.
    journal = recording.path / "journal.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    kept = [line for line in lines if b'"recording_closed"' not in line and b'"track_closed"' not in line]
    journal.write_bytes(b"".join(kept))
    again = Recording.resume(recording.path, START + 4)
    assert again.paused
    assert again.state is RecordingState.PAUSED
    assert read_recording(again.path).state is RecordingState.PAUSED
    assert [item.state for item in list_recordings(tmp_path)] == [RecordingState.PAUSED]
    track = again.open_track(descriptor(Codec.OPUS), START + 4)
    for frame in between(audio, 4, 6):
        track.write(frame)
    again.unpause(START + 6)
    for frame in between(audio, 6, 10):
        track.write(frame)
    assert again.recorded_s(START + 10) == pytest.approx(6)
    again.close(START + 10)
    (view,) = read_recording(again.path).tracks
    assert view.samples == 300
    assert [gap.reason for gap in view.gaps] == [GapReason.PAUSED]
    assert view.gaps[0].duration == pytest.approx(4 * 48_000, abs=960)
    assert verify_recording(again.path).problems == ()


def test_a_closed_recording_that_goes_on_is_not_paused(tmp_path: Path) -> None:
    recording = Recording.create(tmp_path, "one", "room", started_at=START)
    recording.pause(START + 1)
    recording.close(START + 2)
    again = Recording.resume(recording.path, START + 100)
    assert not again.paused
    assert again.recorded_s(START + 101) == pytest.approx(2)
    again.close(START + 102)


def test_the_sizes_of_earlier_writers_count(tmp_path: Path) -> None:
    recording = Recording.create(tmp_path, "one", "room", started_at=START)
    track = recording.open_track(descriptor(Codec.OPUS), START)
    for frame in opus(packets=50):
        track.write(frame)
    recording.close(START + 2)
    written = recording.size_bytes
    on_disk = sum(segment.size_bytes for segment in read_recording(recording.path).tracks[0].segments)
    assert 0.9 * on_disk <= written <= on_disk
    again = Recording.resume(recording.path, START + 3)
    assert again.size_bytes == on_disk
    again.close(START + 4)


@pytest.mark.parametrize("codec", [Codec.H264, Codec.VP8])
def test_a_track_published_again_goes_on_in_its_folder(tmp_path: Path, codec: Codec) -> None:
    recording = Recording.create(tmp_path, "one", "room", started_at=START)
    first = recording.open_track(descriptor(Codec.VP8, "TR_first"), START)
    for frame in video(Codec.VP8, frames=30):
        first.write(frame)
    other = recording.open_track(descriptor(Codec.VP8, "TR_other"), START + 0.5)
    assert other.number != first.number, "two tracks at once stay two, even if all but their SIDs is alike"
    first.close(START + 1)
    again = recording.open_track(descriptor(codec, "TR_second"), START + 4)
    assert again.number == first.number
    for frame in video(codec, frames=30, first_rtp=5, start=START + 4):
        again.write(frame)
    assert recording.tracks == 2
    recording.close(START + 6)
    track = read_recording(recording.path).tracks[0]
    assert track.descriptor.track_sid == "TR_second"
    assert [gap.reason for gap in track.gaps] == [GapReason.UNPUBLISHED]
    assert track.segments[1].discontinuity
    assert track.media_time_s(track.segments[1].decode_time) == pytest.approx(4, abs=0.01)
    assert len(track.inits) == (1 if codec is Codec.VP8 else 2), "another codec needs another init segment"
    assert verify_recording(recording.path).problems == ()


def test_a_track_that_the_rules_left_out_says_so(tmp_path: Path) -> None:
    recording = Recording.create(tmp_path, "one", "room", started_at=START)
    for start, sid in ((START, "TR_one"), (START + 5, "TR_one")):
        track = recording.open_track(descriptor(Codec.OPUS, sid), start)
        for frame in opus(packets=10, start=start):
            track.write(frame)
        track.close(start + 0.2, GapReason.UNSUBSCRIBED)
    recording.close(START + 6)
    (view,) = read_recording(recording.path).tracks
    assert [gap.reason for gap in view.gaps] == [GapReason.UNSUBSCRIBED]


def paused_at(at_s: float, reason: GapReason | None, resumed: float, *, discontinuity: bool = False) -> Outcome:
    """A second of video, then nothing until `resumed`; `reason` is noted at `at_s` and taken back before the end."""
    segmenter = Segmenter(MediaKind.VIDEO, TICKS_PER_S, SegmenterConfig())
    outcome = Outcome()
    for index in range(30):
        if index / 30 >= at_s:
            segmenter.note_interruption(reason)
        outcome.apply(segmenter.write(vp8(index / 30, sync=index == 0)))
    segmenter.note_interruption(reason)
    segmenter.note_interruption(None)
    outcome.apply(segmenter.write(vp8(resumed, sync=True, discontinuity=discontinuity)))
    outcome.apply(segmenter.write(vp8(resumed + 5, sync=True)))
    outcome.apply(segmenter.close())
    return outcome


@pytest.mark.parametrize("noted_at", [0.5, 1.0])
@pytest.mark.parametrize("discontinuity", [False, True])
@pytest.mark.parametrize("reason", [GapReason.MUTED, GapReason.STREAM_PAUSED])
def test_a_gap_says_what_kept_the_frames_away(noted_at: float, reason: GapReason, *, discontinuity: bool) -> None:
    outcome = paused_at(noted_at, reason, 4, discontinuity=discontinuity)
    first, second = outcome.gaps
    assert first == ReportGap(TICKS_PER_S, 3 * TICKS_PER_S, reason, 0)
    assert second.reason is GapReason.PAUSE, "it ended, and later gaps are none of its"
    started_anew = [segment.start.discontinuity for segment in outcome.segments]
    assert started_anew[0] is False
    if reason is GapReason.STREAM_PAUSED or discontinuity:
        assert started_anew[1] is True, "media were withheld"
    else:
        assert not any(started_anew), "a mute leaves nothing out"


def test_a_mute_without_a_gap_tells_none() -> None:
    assert [gap.reason for gap in paused_at(0.5, GapReason.MUTED, 1.0).gaps] == [GapReason.PAUSE]


def test_a_loss_of_ours_comes_before_what_kept_frames_away() -> None:
    segmenter = Segmenter(MediaKind.AUDIO, 48_000, SegmenterConfig())
    outcome = Outcome()
    outcome.apply(segmenter.write(opus_frame(0)))
    segmenter.note_interruption(GapReason.MUTED)
    segmenter.lose(3, GapReason.OVERFLOW)
    outcome.apply(segmenter.write(opus_frame(5)))
    assert [(gap.reason, gap.frames_lost) for gap in outcome.gaps] == [(GapReason.OVERFLOW, 3)]


def test_a_refusing_disk_does_not_rename_a_gap_in_which_nothing_was_lost() -> None:
    segmenter = Segmenter(MediaKind.AUDIO, 48_000, SegmenterConfig())
    outcome = Outcome()
    outcome.apply(segmenter.write(opus_frame(0)))
    segmenter.note_interruption(GapReason.MUTED)
    # It is silent for so long that its segment is closed, and then the disk refuses for a while.
    for seconds in range(1, 20):
        outcome.apply(segmenter.tick(opus_frame(0).arrival_time + seconds))
    assert not outcome.open
    segmenter.abort(GapReason.STORAGE)
    segmenter.note_interruption(None)
    outcome.apply(segmenter.write(opus_frame(600)))
    assert [(gap.reason, gap.frames_lost) for gap in outcome.gaps] == [(GapReason.MUTED, 0)]


@pytest.mark.parametrize("lost", [0, 3])
def test_a_refusing_disk_names_the_gap_of_what_it_lost(lost: int) -> None:
    segmenter = Segmenter(MediaKind.AUDIO, 48_000, SegmenterConfig())
    outcome = Outcome()
    outcome.apply(segmenter.write(opus_frame(0)))
    outcome.apply(segmenter.tick(opus_frame(0).arrival_time + 1.5))
    assert segmenter.in_memory == 0
    segmenter.note_interruption(GapReason.MUTED)
    segmenter.abort(GapReason.STORAGE)
    outcome.open = False
    if lost:
        segmenter.lose(lost, GapReason.STORAGE)
    outcome.apply(segmenter.write(opus_frame(600)))
    assert [(gap.reason, gap.frames_lost) for gap in outcome.gaps] == [(GapReason.STORAGE, lost)]


def test_pausing_a_track_without_frames_tells_no_gap() -> None:
    segmenter = Segmenter(MediaKind.VIDEO, TICKS_PER_S, SegmenterConfig())
    outcome = Outcome()
    outcome.apply(segmenter.pause(GapReason.PAUSED))
    actions = segmenter.write(vp8(0))
    assert actions == [RequestKeyframe()]
    outcome.apply(segmenter.write(vp8(1, sync=True)))
    assert outcome.gaps == []
    assert [segment.start.discontinuity for segment in outcome.segments] == [False]


@pytest.mark.parametrize(("reason", "state"), [("left", "paused"), ("requested", "recording"), ("", "recording")])
def test_a_pause_outlives_a_writer_that_leaves_and_no_other_end(tmp_path: Path, reason: str, state: str) -> None:
    recording = Recording.create(tmp_path, "one", "room", started_at=START)
    recording.pause(START + 3)
    assert recording.close(START + 5, reason) is RecordingState.COMPLETE
    again = Recording.resume(recording.path, START + 9)
    assert again.state == state
    frames = video(Codec.H264, frames=30, gop=30, start=START + 10)
    camera = again.open_track(descriptor(Codec.H264), START + 10)
    for frame in frames:
        camera.write(frame)
    again.close(START + 12)
    recorded = sum(track.samples for track in read_recording(recording.path).tracks)
    assert recorded == (0 if state == "paused" else len(frames))


def test_recorded_time_leaves_out_pauses_and_the_time_it_was_closed() -> None:
    time = RecordedTime()
    for at, entry in (
        (0.0, RecordingStarted("one", "room", "", 0.0)),
        (10.0, RecordingPaused()),
        (20.0, RecordingResumed()),
        (30.0, RecordingUnpaused()),
        (35.0, RecordingClosed()),
        (100.0, RecordingResumed()),
        (101.0, RecordingPaused()),
    ):
        time.apply(JournalRecord(at, entry))
    assert time.paused
    assert time.recorded_s(200.0) == pytest.approx(10 + 5 + 1)
    time.unpause(200.0)
    assert time.recorded_s(204.0) == pytest.approx(20)
