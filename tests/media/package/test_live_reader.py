"""A recording read while it is written: parts as they come, all tracks on one timeline, crashes, holes and repairs."""

import contextlib
import io
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import av
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from media.errors import LiveNotReady, LiveUnsupported, RecordingNotFound, StorageError
from media.frames import Codec, EncodedFrame, MediaKind
from media.package.live_playlist import LivePlaylist, PlaylistOptions
from media.package.live_program import LiveTrackView, choose_program, live_programs, multivariant
from media.package.live_reader import LiveReader, LiveView
from media.package.live_track import DEADBAND_S, ORIGIN_S
from media.record.entries import TrackDescriptor
from media.record.journal import JOURNAL_NAME
from media.record.recorder import Recording
from media.record.recording_writer import RecordingConfig
from media.record.repair import repair_recording
from media.record.segmenter import SegmenterConfig
from tests.media.export.recordings import (
    SMALLER,
    STARTED_AT,
    Track,
    camera_and_microphone,
    encode_audio,
    encode_video,
    shifted,
    without,
    write_recording,
)
from tests.media.record.encoded_media import descriptor

SHORT = SegmenterConfig(segment_duration_s=2.0, part_duration_s=0.5)
OPTIONS = PlaylistOptions(target_duration_s=4, part_target_s=0.5, started_at=STARTED_AT)


def reader_of(path: Path) -> LiveReader:
    return LiveReader(path, segment_duration_s=2.0, part_duration_s=0.5)


def read(path: Path) -> LiveView:
    return reader_of(path).refresh()


def eventually(reader: LiveReader, condition: Callable[[LiveView], bool]) -> LiveView:
    """What the reader says once the recording's writer thread has got so far."""
    deadline = time.monotonic() + 30
    while not condition(view := reader.refresh()):
        assert time.monotonic() < deadline, view
        time.sleep(0.01)
    return view


def track_of(view: LiveView, kind: MediaKind) -> LiveTrackView:
    return next(track for track in view.tracks if track.descriptor.kind is kind)


def times_s(reader: LiveReader, track: LiveTrackView) -> list[float]:
    """When each sample that is served is shown, in media time, as FFmpeg reads it."""
    found: list[float] = []
    for segment in track.segments:
        if segment.gap:
            continue
        data = reader.init_segment(track.number, segment.map_uri).data + reader.segment(track.number, segment.uri).data
        with av.open(io.BytesIO(data), "r") as container:
            stream = container.streams[0]
            found += [
                float(packet.pts * packet.time_base) - ORIGIN_S
                for packet in container.demux(stream)
                if packet.size and packet.pts is not None
            ]
    return found


def sent_s(frames: Sequence[EncodedFrame]) -> list[float]:
    return [frame.arrival_time for frame in frames]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five seconds of camera and microphone, complete."""
    return write_recording(tmp_path_factory.mktemp("live") / "one", camera_and_microphone(Codec.H264, 5.0))


def test_all_tracks_are_on_the_timeline_of_the_recording(finished: Path) -> None:
    reader = reader_of(finished)
    view = reader.refresh()
    assert view.complete
    microphone, camera = camera_and_microphone(Codec.H264, 5.0)
    for kind, frames in ((MediaKind.AUDIO, microphone.frames), (MediaKind.VIDEO, camera.frames)):
        track = track_of(view, kind)
        assert times_s(reader, track) == pytest.approx(sent_s(frames), abs=DEADBAND_S)
        assert [segment.start_s for segment in track.segments] == pytest.approx(
            [times_s(reader, replace(track, segments=(segment,)))[0] for segment in track.segments], abs=1e-4
        )
        text = LivePlaylist(track.segments, ended=track.ended).render(OPTIONS)
        assert text.endswith("#EXT-X-ENDLIST\n")


@given(st.data())
@settings(max_examples=40, deadline=None)
def test_a_range_is_that_piece_of_the_whole(finished: Path, data: st.DataObject) -> None:
    reader = reader_of(finished)
    track = track_of(reader.refresh(), MediaKind.VIDEO)
    segment = data.draw(st.sampled_from(track.segments))
    whole = reader.segment(track.number, segment.uri)
    assert len(whole.data) == whole.file_bytes == segment.size_bytes
    start = data.draw(st.integers(0, whole.file_bytes + 10))
    size_bytes = data.draw(st.integers(0, whole.file_bytes))
    piece = reader.segment(track.number, segment.uri, start, size_bytes)
    assert piece.data == whole.data[start : start + size_bytes]
    part = data.draw(st.sampled_from(segment.parts))
    assert reader.segment(track.number, segment.uri, part.start, part.size_bytes).data[4:8] in {b"styp", b"moof"}


def test_parts_are_there_before_their_segment_is(tmp_path: Path) -> None:
    frames = encode_video(Codec.H264, 0.0, 4.0)
    with recording_of(tmp_path / "one") as recording:
        reader = reader_of(tmp_path / "one")
        assert reader.refresh().tracks == ()
        recorder = recording.open_track(descriptor_of(frames), STARTED_AT)
        for frame in frames:
            recorder.write(at(frame))
            if frame.arrival_time in {1.6, 3.2}:
                wanted = frame.arrival_time - 0.7  # a part that waits, and the frame that waits for the next one
                view = eventually(reader, partial(_reaches, wanted))
                assert not view.tracks[0].segments[-1].complete
                assert len(times_s(reader, view.tracks[0])) >= 25 * wanted
    after = reader.refresh()
    assert after.complete
    assert after.tracks[0].segments[-1].complete
    assert times_s(reader, after.tracks[0]) == pytest.approx(sent_s(frames), abs=DEADBAND_S)
    assert [item.uri for item in after.tracks[0].segments] == [
        item.uri for item in read(tmp_path / "one").tracks[0].segments
    ]


@contextlib.contextmanager
def recording_of(path: Path) -> Iterator[Recording]:
    """A new recording that goes on until the end of the context."""
    recording = Recording.create(path.parent, path.name, "room", started_at=STARTED_AT, config=RecordingConfig(SHORT))
    try:
        yield recording
    finally:
        recording.close(STARTED_AT + 60)


def at(frame: EncodedFrame) -> EncodedFrame:
    return replace(frame, arrival_time=STARTED_AT + frame.arrival_time)


def descriptor_of(frames: Sequence[EncodedFrame]) -> TrackDescriptor:
    return descriptor(frames[0].codec)


def _reaches(time_s: float, view: LiveView) -> bool:
    return _end_s(view) > time_s


def _end_s(view: LiveView) -> float:
    return max((track.end_s or 0.0 for track in view.tracks), default=0.0)


def test_a_clock_that_is_corrected_moves_what_follows_and_nothing_before(tmp_path: Path) -> None:
    wrong = Track("microphone", encode_audio(0.0, 6.0), mapping_error_s=0.3)
    path = write_recording(tmp_path / "one", [wrong])
    reader = reader_of(path)
    track = reader.refresh().tracks[0]
    first, *rest = track.segments
    assert times_s(reader, replace(track, segments=(first,)))[0] == pytest.approx(0.3, abs=0.001)
    later = times_s(reader, replace(track, segments=tuple(rest)))
    assert later == pytest.approx(sent_s(wrong.frames)[-len(later) :], abs=DEADBAND_S)


def test_it_goes_on_behind_a_new_writer_with_a_discontinuity_in_all_tracks(tmp_path: Path) -> None:
    tracks = camera_and_microphone(Codec.H264, 3.5)
    path = write_recording(tmp_path / "one", tracks)
    reader = reader_of(path)
    before = reader.refresh()
    resumed = Recording.resume(path, STARTED_AT + 9.0, config=RecordingConfig(SHORT))
    for track in tracks:
        known = track_of(before, track.frames[0].codec.kind).descriptor
        recorder = resumed.open_track(known, STARTED_AT + 9.0)
        for frame in shifted(track.frames, 9.0):
            recorder.write(at(frame))
    resumed.close(STARTED_AT + 13.0)
    after = reader.refresh()
    for old, new in zip(before.tracks, after.tracks, strict=True):
        assert new.segments[: len(old.segments)] == old.segments
        following = new.segments[len(old.segments)]
        assert (following.discontinuities, following.discontinuity_sequence) == (1, 1)
        assert following.start_s == pytest.approx(9.0, abs=0.5)
        assert not any(segment.gap for segment in new.segments)


def test_an_open_segment_that_a_kill_left_is_played_and_then_gone_on_with(tmp_path: Path) -> None:
    frames, path = encode_video(Codec.H264, 0.0, 3.5), tmp_path / "killed"
    with recording_of(tmp_path / "alive") as recording:
        recorder = recording.open_track(descriptor_of(frames), STARTED_AT)
        for frame in frames:
            recorder.write(at(frame))
        eventually(reader_of(tmp_path / "alive"), lambda view: _end_s(view) > 3.0)
        shutil.copytree(tmp_path / "alive", path)
    reader = reader_of(path)
    before = reader.refresh().tracks[0]
    assert not before.segments[-1].complete
    resumed = Recording.resume(path, STARTED_AT + 9.0, config=RecordingConfig(SHORT))
    recorder = resumed.open_track(descriptor_of(frames), STARTED_AT + 9.0)
    for frame in shifted(frames, 9.0):
        recorder.write(at(frame))
    resumed.close(STARTED_AT + 13.0)
    after = reader.refresh().tracks[0]
    kept = after.segments[len(before.segments) - 1]
    assert (kept.complete, kept.discontinuities) == (True, 0)
    assert kept.parts == before.segments[-1].parts
    assert after.segments[len(before.segments)].discontinuities == 1


def test_a_pause_of_the_microphone_is_a_gap_and_the_rest_stays_in_place(tmp_path: Path) -> None:
    frames = without(encode_audio(0.0, 20.0), 5.0, 14.0)
    with recording_of(tmp_path / "one") as recording:
        recorder = recording.open_track(descriptor_of(frames), STARTED_AT)
        for frame in frames:
            if frame.arrival_time >= 14.0:
                recording.tick(STARTED_AT + 13.5)  # the recorder closes the segment of a track that went silent
            recorder.write(at(frame))
    reader = reader_of(tmp_path / "one")
    track = reader.refresh().tracks[0]
    gaps = [segment for segment in track.segments if segment.gap]
    parts = [part for segment in track.segments for part in segment.parts if part.gap]
    missing_s = sum(item.duration_s for item in gaps) + sum(item.duration_s for item in parts)
    assert missing_s == pytest.approx(9.0, abs=0.1)
    assert all(item.duration_s <= 2.0 for item in gaps)
    assert times_s(reader, track) == pytest.approx(sent_s(frames), abs=DEADBAND_S)
    text = LivePlaylist(track.segments).render(OPTIONS)
    assert "GAP" in text


def test_a_late_frame_of_a_video_is_shown_from_the_end_of_the_one_before(tmp_path: Path) -> None:
    frames = without(encode_video(Codec.H264, 0.0, 4.0), 1.0, 1.7)
    with recording_of(tmp_path / "one") as recording:
        recorder = recording.open_track(descriptor_of(frames), STARTED_AT)
        for frame in frames:
            if frame.arrival_time >= 1.7:
                recording.tick(STARTED_AT + 1.69)  # nothing came for so long that the last frame was written
            recorder.write(at(frame))
    reader = reader_of(tmp_path / "one")
    track = reader.refresh().tracks[0]
    ends_s: list[float] = []
    for segment in track.segments:
        data = reader.init_segment(1, segment.map_uri).data + reader.segment(1, segment.uri).data
        with av.open(io.BytesIO(data), "r") as container:
            for packet in container.demux(container.streams[0]):
                if packet.size and packet.pts is not None and packet.duration is not None:
                    start_s = float(packet.pts * packet.time_base)
                    assert not ends_s or start_s == pytest.approx(ends_s[-1], abs=1e-4)
                    ends_s.append(start_s + float(packet.duration * packet.time_base))
    assert len(ends_s) == len(frames)
    assert not any(part.gap for segment in track.segments for part in segment.parts)
    durations_s = sum(part.duration_s for segment in track.segments for part in segment.parts)
    assert durations_s == pytest.approx(4.0, abs=0.1)


def test_a_layer_switch_is_a_new_init_segment(tmp_path: Path) -> None:
    frames = encode_video(Codec.H264, 0.0, 2.0) + encode_video(Codec.H264, 2.0, 2.0, SMALLER)
    path = write_recording(tmp_path / "one", [Track("camera", frames)])
    view = read(path)
    (track,) = view.tracks
    assert [segment.map_uri for segment in track.segments] == ["init-1.mp4", "init-2.mp4"]
    assert LivePlaylist(track.segments).render(OPTIONS).count("#EXT-X-DISCONTINUITY\n") == 0
    assert multivariant(choose_program(live_programs(view.tracks), None, None)).variants[0].width == SMALLER[0]


def test_a_track_that_turns_playable_is_played_from_its_first_part_on(tmp_path: Path) -> None:
    with recording_of(tmp_path / "one") as recording:
        reader = reader_of(tmp_path / "one")

        def write(codec: Codec, sid: str, start_s: float) -> None:
            recorder = recording.open_track(replace(descriptor(codec), track_sid=sid), STARTED_AT + start_s)
            for frame in shifted(encode_video(codec, 0.0, 1.5), start_s):
                recorder.write(at(frame))
            if sid != "TR_last":
                recorder.close(STARTED_AT + start_s + 1.5)

        write(Codec.H264, "TR_first", 0.0)
        eventually(reader, lambda view: _end_s(view) > 1.0)
        write(Codec.VP8, "TR_second", 4.0)
        eventually(reader, lambda view: any(not track.playable for track in view.tracks))
        write(Codec.H264, "TR_last", 8.0)
        (track,) = eventually(reader, lambda view: _end_s(view) > 8.5).tracks
        played = [segment for segment in track.segments if not segment.gap]
        assert [(segment.uri, segment.complete) for segment in played] == [("000001.m4s", True), ("000003.m4s", False)]
        assert track.init is not None
        assert track.init.path.endswith(".mp4")
    (late,) = read(tmp_path / "one").tracks
    assert [segment.uri for segment in late.segments if not segment.gap] == ["000001.m4s", "000003.m4s"]
    assert reader.refresh().tracks == (late,)


def test_a_segment_that_cannot_be_read_for_a_while_is_not_lost(finished: Path, tmp_path: Path) -> None:
    path = Path(shutil.copytree(finished, tmp_path / "one"))
    (second,) = path.glob("tracks/*-video/000002.m4s")
    second.rename(tmp_path / "kept")
    second.mkdir()
    reader = reader_of(path)
    for _ in range(2):
        with pytest.raises(StorageError):
            reader.refresh()
    second.rmdir()
    (tmp_path / "kept").rename(second)
    assert reader.refresh() == read(path)


def test_programs_show_what_goes_on_together(tmp_path: Path) -> None:
    tracks = [
        *camera_and_microphone(Codec.H264, 4.0),
        Track("screen_share", encode_video(Codec.H264, 1.0, 3.0)),
        Track("microphone", encode_audio(0.0, 4.0), identity="bob"),
    ]
    programs = live_programs(read(write_recording(tmp_path / "one", tracks)).tracks)
    shown = [
        (item.participant_identity, item.source, item.video is not None, item.audio is not None) for item in programs
    ]
    assert shown == [
        ("alice", "camera", True, True),
        ("alice", "screen_share", True, False),
        ("bob", "camera", False, True),
    ]
    playlist = multivariant(choose_program(programs, "alice", "camera"), "?a=b")
    assert playlist.variants[0].audio_group == "audio"
    assert playlist.variants[0].codecs[1] == "opus"
    assert playlist.audio[0].uri == f"{programs[0].audio.number if programs[0].audio else 0}/playlist.m3u8?a=b"
    alone = multivariant(programs[0], audio_only=True)
    assert (alone.audio, alone.variants[0].width) == ((), 0)
    with pytest.raises(LiveNotReady, match="carol"):
        choose_program(programs, "carol", None)


def test_a_track_that_fell_silent_is_left_out_of_what_goes_on(tmp_path: Path) -> None:
    muted = [Track("microphone", encode_audio(0.0, 2.0)), Track("camera", encode_video(Codec.H264, 0.2, 6.0))]
    tracks = read(write_recording(tmp_path / "one", muted)).tracks
    (program,) = live_programs(tracks)
    assert (program.video is None, program.audio is None) == (False, True)
    (program,) = live_programs(tracks, whole=True)
    assert (program.video is None, program.audio is None) == (False, False)


def test_from_the_start_the_track_with_most_media_is_played(tmp_path: Path) -> None:
    tracks = [
        Track("camera", encode_video(Codec.H264, 0.2, 4.0)),
        Track("camera", shifted(encode_video(Codec.H264, 0.0, 1.0), 6.0), name="second camera"),
        Track("microphone", encode_audio(0.0, 6.0)),
    ]
    view = read(write_recording(tmp_path / "one", tracks))
    (now,), (whole,) = live_programs(view.tracks), live_programs(view.tracks, whole=True)
    assert now.video is not None
    assert whole.video is not None
    assert [now.video.descriptor.track_name, whole.video.descriptor.track_name] == ["second camera", "camera"]


def test_who_is_there_comes_before_who_left_and_who_is_silent(tmp_path: Path) -> None:
    """The names are in the order that nothing else decides."""
    left = camera_and_microphone(Codec.H264, 3.0, "alice")
    with recording_of(tmp_path / "one") as recording:

        def write(identity: str, frames: Sequence[EncodedFrame]) -> None:
            named = replace(descriptor_of(frames), participant_identity=identity, track_sid=f"TR_{identity}")
            recorder = recording.open_track(named, STARTED_AT)
            for frame in frames:
                recorder.write(at(frame))
            if identity == "alice":
                recorder.close(STARTED_AT + 3.0)

        write("alice", left[1].frames)
        write("bob", encode_video(Codec.H264, 0.0, 3.0))
        write("carol", encode_audio(0.0, 7.5))
        write("dave", encode_video(Codec.H264, 0.0, 6.0))
        ends_s = [2.5, 2.0, 6.5, 5.0]  # but for what waits for the end of a last part

        def is_written(view: LiveView) -> bool:
            got_s = [track.end_s or 0.0 for track in view.tracks]
            return len(got_s) == 4 and all(got > end for got, end in zip(got_s, ends_s, strict=True))

        programs = live_programs(eventually(reader_of(tmp_path / "one"), is_written).tracks)
        assert [item.participant_identity for item in programs] == ["dave", "carol", "bob", "alice"]
        assert [item.ended for item in programs] == [False, False, False, True]
        assert choose_program(programs, None, None).participant_identity == "dave"


def test_what_hls_does_not_carry_is_said(tmp_path: Path) -> None:
    view = read(write_recording(tmp_path / "one", camera_and_microphone(Codec.VP8, 2.0)))
    (program,) = live_programs(view.tracks)
    with pytest.raises(LiveUnsupported, match=r"VP8.*publish H.264"):
        multivariant(program)
    assert multivariant(program, audio_only=True).variants[0].codecs == ("opus",)


def test_names_that_are_none_of_ours_are_refused(finished: Path) -> None:
    reader = reader_of(finished)
    reader.refresh()
    for track, name in ((1, "000099.m4s"), (9, "000001.m4s"), (1, "../journal.jsonl"), (1, "init-1.mp4")):
        with pytest.raises(RecordingNotFound):
            reader.segment(track, name)
    with pytest.raises(RecordingNotFound):
        reader.init_segment(1, "000001.m4s")
    with pytest.raises(RecordingNotFound):
        reader.refresh().track(3)


def test_a_recording_that_is_none_or_has_not_begun(tmp_path: Path) -> None:
    with pytest.raises(RecordingNotFound):
        read(tmp_path / "none")
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / JOURNAL_NAME).write_bytes(b'{"type":"recording_st')
    with pytest.raises(LiveNotReady):
        read(tmp_path / "empty")


def test_a_journal_that_was_rebuilt_is_read_anew(tmp_path: Path) -> None:
    path = write_recording(tmp_path / "one", [Track("camera", encode_video(Codec.H264, 0.0, 4.0))])
    reader = reader_of(path)
    before = reader.refresh()
    (path / JOURNAL_NAME).unlink()
    repair_recording(path)
    assert [item.uri for item in reader.refresh().tracks[0].segments] == [
        item.uri for item in before.tracks[0].segments
    ]
