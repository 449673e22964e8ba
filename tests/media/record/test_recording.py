"""Recordings of real encoded media: what goes in comes out, exactly, and FFmpeg reads and decodes it."""

import itertools
import json
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from media.errors import RecordingBusy, RecordingNotFound
from media.frames import Codec, EncodedFrame
from media.record.codec_config import RECORDABLE
from media.record.entries import (
    Container,
    GapReason,
    RecordingState,
    SegmentEntry,
    TimelineEvent,
)
from media.record.manifest import MANIFEST_NAME
from media.record.reader import TrackView, list_recordings, read_events, read_recording
from media.record.recorder import Recording
from media.record.recording_writer import RecordingCallbacks, RecordingConfig
from media.record.track_recorder import ITEM_BYTES
from media.record.verify import verify_recording
from media.rtp.clock_mapping import ClockSource, RtpClockMapping
from tests.media.record.encoded_media import (
    decoded_audio_samples,
    decoded_sizes,
    descriptor,
    files_by_init,
    opus,
    packet_payloads,
    packet_times,
    video,
)

START = 1_000.0


def write_all(recording: Recording, frames: list[EncodedFrame], sid: str = "TR_one") -> None:
    track = recording.open_track(descriptor(frames[0].codec, sid), START)
    for frame in frames:
        assert track.write(frame)
    track.close(frames[-1].arrival_time)


def recorded(root: Path, frames: list[EncodedFrame]) -> Recording:
    recording = Recording.create(root, "one", "room", started_at=START)
    write_all(recording, frames)
    assert recording.close(START + 60) is RecordingState.COMPLETE
    return recording


@pytest.mark.parametrize("codec", [Codec.VP8, Codec.VP9, Codec.AV1, Codec.H264, Codec.H265])
def test_video_comes_out_as_it_went_in(tmp_path: Path, codec: Codec) -> None:
    frames = video(codec, frames=30 * 14)
    recording = recorded(tmp_path, frames)
    view = read_recording(recording.path)
    (track,) = view.tracks
    assert [segment.samples for segment in track.segments] == [180, 180, 60]
    assert track.samples == len(frames)
    assert track.duration_s == pytest.approx(14)
    assert all(segment.independent and not segment.discontinuity for segment in track.segments)
    (data,) = files_by_init(view, track)
    assert packet_payloads(data) == [frame.data for frame in frames]
    expected = [frame.rtp_timestamp - frames[0].rtp_timestamp for frame in frames]
    if codec is Codec.VP8:
        expected = [90 * ((ticks + 45) // 90) for ticks in expected]
    assert packet_times(data, 90_000) == expected
    assert decoded_sizes(data) == [(160, 90)] * len(frames)
    assert verify_recording(recording.path).problems == ()
    assert view.state is RecordingState.COMPLETE
    assert view.ended_at == START + 60


def test_opus_comes_out_as_it_went_in(tmp_path: Path) -> None:
    frames = opus(packets=650)
    recording = recorded(tmp_path, frames)
    view = read_recording(recording.path)
    (track,) = view.tracks
    assert [segment.samples for segment in track.segments] == [300, 300, 50]
    (data,) = files_by_init(view, track)
    assert packet_payloads(data) == [frame.data for frame in frames]
    assert packet_times(data, 48_000) == [index * 960 for index in range(650)]
    assert decoded_audio_samples(data) == 650 * 960
    assert track.segments[-1].end_decode_time == 650 * 960
    assert verify_recording(recording.path).problems == ()


def test_each_segment_opens_by_itself(tmp_path: Path) -> None:
    frames = video(Codec.H264, frames=30 * 13)
    view = read_recording(recorded(tmp_path, frames).path)
    (track,) = view.tracks
    for segment in track.segments:
        data = view.file_of(track.init_of(segment)).read_bytes() + view.file_of(segment).read_bytes()
        assert packet_times(data, 90_000)[0] == segment.decode_time
        assert len(decoded_sizes(data)) == segment.samples


@pytest.mark.parametrize("codec", [Codec.VP8, Codec.VP9, Codec.AV1, Codec.H264, Codec.H265])
def test_a_new_resolution_gets_a_new_init_segment(tmp_path: Path, codec: Codec) -> None:
    small = video(codec, frames=60)
    large = video(codec, frames=60, width=320, height=180, first_rtp=small[-1].rtp_timestamp + 3000, start=START + 2)
    again = video(codec, frames=30, first_rtp=large[-1].rtp_timestamp + 3000, start=START + 4)
    view = read_recording(recorded(tmp_path, [*small, *large, *again]).path)
    (track,) = view.tracks
    assert [(init.width, init.height) for init in track.inits] == [(160, 90), (320, 180)]
    assert [segment.init_path for segment in track.segments] == [
        track.inits[0].path,
        track.inits[1].path,
        track.inits[0].path,
    ]
    sizes = [decoded_sizes(data) for data in files_by_init(view, track)]
    assert sizes == [[(160, 90)] * 60, [(320, 180)] * 60, [(160, 90)] * 30]
    assert all(before.end_decode_time == after.decode_time for before, after in itertools.pairwise(track.segments))


def test_vp9_that_was_recorded_as_webm_is_read_and_goes_on_as_fmp4(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What versions before this one wrote."""
    frames = video(Codec.VP9, frames=60)
    with monkeypatch.context() as before:
        before.setitem(RECORDABLE, Codec.VP9, Container.WEBM)
        path = recorded(tmp_path, frames[:30]).path
    assert verify_recording(path).problems == ()
    resumed = Recording.resume(path, START + 1)
    write_all(resumed, frames[30:])
    resumed.close(START + 3)
    assert verify_recording(path).problems == ()
    view = read_recording(path)
    (track,) = view.tracks
    assert [Path(segment.path).suffix for segment in track.segments] == [".webm", ".m4s"]
    assert [init.container for init in track.inits] == [Container.WEBM, Container.FMP4]
    assert [payload for data in files_by_init(view, track) for payload in packet_payloads(data)] == [
        frame.data for frame in frames
    ]


def test_a_track_can_change_its_codec(tmp_path: Path) -> None:
    first = video(Codec.VP8, frames=30)
    second = video(Codec.H264, frames=30, first_rtp=first[-1].rtp_timestamp + 3000, start=START + 1)
    view = read_recording(recorded(tmp_path, first + second).path)
    (track,) = view.tracks
    assert [Path(segment.path).name for segment in track.segments] == ["000001.webm", "000002.m4s"]
    assert [init.codec_string[:9] for init in track.inits] == ["vp8", "avc3.42C0"]
    assert verify_recording(view.path).problems == ()


def test_segments_are_told_while_the_recording_goes_on(tmp_path: Path) -> None:
    told: list[SegmentEntry] = []
    recording = Recording.create(
        tmp_path, "one", "room", started_at=START, callbacks=RecordingCallbacks(on_segment=told.append)
    )
    assert read_recording(recording.path).state is RecordingState.RECORDING
    with pytest.raises(RecordingBusy):
        Recording.create(tmp_path, "one", "room", started_at=START)
    with pytest.raises(RecordingBusy):
        Recording.resume(recording.path, START)
    write_all(recording, opus(packets=400))
    recording.close(START + 9)
    assert [segment.id for segment in told] == ["one/1/1", "one/1/2"]
    assert tuple(told) == read_recording(recording.path).tracks[0].segments
    assert recording.stats.frames_written == 400


def test_media_time_follows_the_clock_mappings(tmp_path: Path) -> None:
    frames = opus(packets=2000, start=START + 2)
    recording = Recording.create(tmp_path, "one", "room", started_at=START)
    track = recording.open_track(descriptor(Codec.OPUS), START)
    for frame in frames[:200]:
        track.write(frame)
    # The sender's clock says that the first packet was captured 1.9 s into the recording: from the start on.
    by_report = RtpClockMapping(frames[100].rtp_timestamp, START + 3.9, 20.0, 2.0, ClockSource.SENDER_REPORT)
    track.set_clock_mapping(by_report, START + 6)
    for frame in frames[200:1800]:
        track.write(frame)
    # Past the time in which first estimates settle it has run 10 ms off: from there on.
    track.set_clock_mapping(replace(by_report, unix_time_s=START + 3.91, drift_ppm=0.0), START + 70)
    for frame in frames[1800:]:
        track.write(frame)
    recording.close(START + 99)
    view = read_recording(recording.path).tracks[0]
    assert [mapping.source for mapping in view.clock_mappings] == [ClockSource.SENDER_REPORT] * 2
    assert view.media_time_s(0) == pytest.approx(1.9 - 2 * 20e-6, abs=1e-9)
    assert view.media_time_s(960 * 700) == pytest.approx(3.9 + 12 * (1 + 20e-6), abs=1e-9)
    assert view.media_time_s(960 * 1900) == pytest.approx(3.91 + 36, abs=1e-9)


def test_a_track_without_a_better_clock_is_placed_by_arrival(tmp_path: Path) -> None:
    track = read_recording(recorded(tmp_path, opus(packets=10, start=START + 3)).path).tracks[0]
    assert track.media_time_s(0) == pytest.approx(3)
    assert track.clock_mappings[0].source is ClockSource.ARRIVAL


def test_a_track_that_comes_back_goes_on_in_its_folder(tmp_path: Path) -> None:
    recording = Recording.create(tmp_path, "one", "room", started_at=START)
    first = opus(packets=50)
    # RTP timestamps of a new subscription have nothing to do with the earlier ones.
    second = opus(packets=50, first_rtp=9_999_000, start=START + 11)
    write_all(recording, first)
    write_all(recording, second)
    recording.close(START + 20)
    view = read_recording(recording.path)
    (track,) = view.tracks
    assert [segment.sequence for segment in track.segments] == [1, 2]
    assert track.segments[1].discontinuity
    assert track.segments[1].decode_time == 11 * 48_000
    assert [gap.reason for gap in track.gaps] == [GapReason.UNPUBLISHED]
    assert track.media_time_s(track.segments[1].decode_time) == pytest.approx(11)
    assert verify_recording(view.path).problems == ()


def test_a_clock_told_before_a_returning_track_has_its_first_picture_waits_for_it(tmp_path: Path) -> None:
    recording = Recording.create(tmp_path, "one", "room", started_at=START)
    write_all(recording, video(Codec.VP8, frames=30))
    later = video(Codec.VP8, frames=60, first_rtp=3_000_000_000, start=START + 11)
    track = recording.open_track(descriptor(Codec.VP8), START + 11)
    for number, frame in enumerate(later[1:]):
        track.write(frame)
        if number == 3:
            # Delta frames came, which are refused until the next sync sample.
            told = RtpClockMapping(later[0].rtp_timestamp, START + 10.9, 0.0, 1.0, ClockSource.SENDER_REPORT)
            track.set_clock_mapping(told, frame.arrival_time)
    recording.close(START + 20)
    (view,) = read_recording(recording.path).tracks
    first, second = view.segments
    assert view.media_time_s(first.decode_time) == pytest.approx(0)
    assert view.media_time_s(second.decode_time) == pytest.approx(11.9)
    assert [mapping.source for mapping in view.clock_mappings] == [ClockSource.ARRIVAL, ClockSource.SENDER_REPORT]


def test_events_carry_media_time(tmp_path: Path) -> None:
    recording = Recording.create(tmp_path, "one", "room", started_at=START)
    assert recording.append_event(TimelineEvent("chat", START + 2.5, "ada", {"message": "héllo"}))
    with pytest.raises(ValueError, match="no JSON"):
        recording.append_event(TimelineEvent("chat", START, payload={"bad": object()}))  # type: ignore[dict-item]  # what is tested
    recording.close(START + 3)
    assert list(read_events(recording.path)) == [
        {
            "type": "chat",
            "at": START + 2.5,
            "media_time_s": 2.5,
            "participant_identity": "ada",
            "payload": {"message": "héllo"},
        }
    ]


def test_a_queue_that_is_full_drops_and_tells(tmp_path: Path) -> None:
    frames = video(Codec.VP8, frames=90, gop=30)
    disk_answers, asked = threading.Event(), threading.Event()

    def hang(_: int) -> None:
        asked.set()
        assert disk_answers.wait(20)

    # The first frame is refused, so a sync sample is asked for: there the writer hangs, holding that frame.
    refused = replace(frames[1], rtp_timestamp=0)
    room_for = sum(len(frame.data) + ITEM_BYTES for frame in [refused, *frames[:40]])
    config, callbacks = RecordingConfig(queue_bytes=room_for), RecordingCallbacks(on_keyframe_request=hang)
    recording = Recording.create(tmp_path, "one", "room", started_at=START, config=config, callbacks=callbacks)
    track = recording.open_track(descriptor(Codec.VP8), START)
    assert track.write(refused)
    assert asked.wait(20)
    taken = [track.write(frame) for frame in frames[:60]]
    assert taken == [True] * 40 + [False] * 20
    disk_answers.set()
    while recording.stats.queue_bytes:
        recording.tick(START + 2)
    assert all(track.write(frame) for frame in frames[60:])
    recording.close(START + 4)
    view = read_recording(recording.path)
    (recorded_track,) = view.tracks
    assert recorded_track.samples == 70
    assert [(gap.reason, gap.frames_lost, gap.duration) for gap in recorded_track.gaps] == [
        (GapReason.OVERFLOW, 20, 20 * 3000)
    ]
    assert recording.stats.frames_lost_overflow == 20


def test_a_writer_that_hangs_holds_nobody_up(tmp_path: Path) -> None:
    disk_answers = threading.Event()

    def hang(*_: int) -> None:
        assert disk_answers.wait(20)

    config = RecordingConfig(queue_bytes=60_000)
    recording = Recording.create(
        tmp_path, "one", "room", started_at=START, config=config, callbacks=RecordingCallbacks(on_part=hang)
    )
    track = recording.open_track(descriptor(Codec.OPUS), START)
    taken = []
    for frame in opus(packets=1000):
        taken.append(track.write(frame))
        recording.tick(frame.arrival_time)
    assert recording.stats.queue_bytes <= 60_000
    assert not all(taken)
    disk_answers.set()
    recording.close(START + 20)
    (view,) = read_recording(recording.path).tracks
    assert view.samples == sum(taken)
    assert sum(gap.frames_lost for gap in view.gaps) == 1000 - sum(taken) == track.frames_dropped
    assert verify_recording(recording.path).problems == ()


def test_clocks_told_while_the_writer_hangs_wait_once_and_within_the_queue(tmp_path: Path) -> None:
    disk_answers, hangs = threading.Event(), threading.Event()

    def hang(*_: int) -> None:
        hangs.set()
        assert disk_answers.wait(20)

    config, frames = RecordingConfig(queue_bytes=80_000), opus(packets=100)
    recording = Recording.create(
        tmp_path, "one", "room", started_at=START, config=config, callbacks=RecordingCallbacks(on_part=hang)
    )
    track = recording.open_track(descriptor(Codec.OPUS), START)
    for frame in frames:
        assert track.write(frame)
    assert hangs.wait(20)
    told = RtpClockMapping(frames[0].rtp_timestamp, START - 0.1, 0.0, 1.0, ClockSource.SENDER_REPORT)
    held = recording.stats.queue_bytes
    for second in range(1, 1_000):
        track.set_clock_mapping(told, START + second)
    assert recording.stats.queue_bytes == held + ITEM_BYTES
    for second in range(1, 1_000):
        track.set_clock_mapping(replace(told, unix_time_s=START - second), START + second)
    assert recording.stats.queue_bytes <= 80_000
    disk_answers.set()
    while recording.stats.queue_bytes:
        recording.tick(START + 2)
    # What had no room is told by the next call.
    track.set_clock_mapping(replace(told, unix_time_s=START - 0.2), START + 2)
    recording.close(START + 4)
    (view,) = read_recording(recording.path).tracks
    assert view.media_time_s(0) == pytest.approx(-0.2)


def test_a_clock_that_is_the_same_says_something_new_once_the_mapping_has_run_off(tmp_path: Path) -> None:
    recording = Recording.create(tmp_path, "one", "room", started_at=START)
    track, frames = recording.open_track(descriptor(Codec.OPUS), START), opus(packets=3_600)
    first = RtpClockMapping(frames[0].rtp_timestamp, START, 0.0, 1.0, ClockSource.SENDER_REPORT)
    # At 32 s it says what the first one does, at 70 s another 3.8 ms.
    better = replace(first, rtp_timestamp=frames[1_600].rtp_timestamp, unix_time_s=START + 32, drift_ppm=100.0)
    for told, wrote in ((first, frames[:1_600]), (better, frames[1_600:3_500]), (better, frames[3_500:])):
        track.set_clock_mapping(told, wrote[0].arrival_time)
        for frame in wrote:
            track.write(frame)
        while recording.stats.queue_bytes:
            recording.tick(frame.arrival_time)
    recording.close(START + 80)
    (view,) = read_recording(recording.path).tracks
    assert view.media_time_s(3_600 * 960) == pytest.approx(72 + 40 * 100e-6, abs=1e-6)


def test_a_listener_that_raises_costs_nothing(tmp_path: Path) -> None:
    def fail(_: SegmentEntry) -> None:
        raise RuntimeError("a bug in the listener")

    recording = Recording.create(
        tmp_path, "one", "room", started_at=START, callbacks=RecordingCallbacks(on_segment=fail)
    )
    write_all(recording, opus(packets=700))
    assert recording.close(START + 20) is RecordingState.COMPLETE
    assert read_recording(recording.path).tracks[0].samples == 700


async def test_aclose_can_be_called_again(tmp_path: Path) -> None:
    recording = Recording.create(tmp_path, "one", "room", started_at=START)
    track = recording.open_track(descriptor(Codec.OPUS), START)
    track.write(opus(packets=1)[0])
    assert await recording.aclose(START + 1) is RecordingState.COMPLETE
    assert await recording.aclose(START + 2) is RecordingState.COMPLETE
    with pytest.raises(ValueError, match="closed"):
        track.write(opus(packets=1)[0])
    with pytest.raises(ValueError, match="closed"):
        recording.open_track(descriptor(Codec.OPUS), START + 2)
    recording.tick(START + 3)
    assert read_recording(recording.path).ended_at == START + 1


def test_listing(tmp_path: Path) -> None:
    recorded(tmp_path, opus(packets=50))
    running = Recording.create(tmp_path, "two", "other", started_at=START + 1)
    (tmp_path / "three").mkdir()
    (tmp_path / "three" / "journal.jsonl").write_text("nothing of ours\n")
    (tmp_path / "no-recording").mkdir()
    three, one, two = list_recordings(tmp_path)
    assert (one.recording_id, one.state, one.tracks, one.duration_s) == ("one", RecordingState.COMPLETE, 1, 1.0)
    assert (two.room, two.state, two.ended_at) == ("other", RecordingState.RECORDING, None)
    assert three.problem
    running.close(START + 2)
    (tmp_path / "one" / MANIFEST_NAME).unlink()
    assert list_recordings(tmp_path)[1] == replace(one, path=tmp_path / "one")
    with pytest.raises(RecordingNotFound):
        read_recording(tmp_path / "no-recording")
    assert list_recordings(tmp_path / "nowhere") == ()


def test_the_manifest_sums_up_the_journal(tmp_path: Path) -> None:
    recording = recorded(tmp_path, opus(packets=400))
    manifest = json.loads((recording.path / MANIFEST_NAME).read_text())
    track: TrackView = read_recording(recording.path).tracks[0]
    assert manifest["state"] == "complete"
    assert manifest["tracks"][0]["samples"] == track.samples == 400
    assert manifest["size_bytes"] == sum(segment.size_bytes for segment in track.segments)
    assert manifest["duration_s"] == pytest.approx(8)
