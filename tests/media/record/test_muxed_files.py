"""A participant's audio and video in one growing file: what is in it, when, and what a crash leaves of it."""

import io
import time
from dataclasses import replace
from pathlib import Path
from typing import cast

import av
import pytest

from media.frames import Codec, EncodedFrame
from media.record import muxed_writer
from media.record.entries import Container, TrackDescriptor
from media.record.fmp4_scan import fragment_samples, walk
from media.record.manifest import MANIFEST_NAME, read_manifest
from media.record.muxed_writer import MUXED_DIRECTORY, muxed_directory
from media.record.reader import RecordingView, read_recording
from media.record.recorder import Recording
from media.record.recording_writer import RecordingConfig
from media.record.repair import repair_recording
from media.record.verify import ProblemCode, verify_recording
from media.rtp.clock_mapping import ClockSource, RtpClockMapping
from tests.media.record.encoded_media import decoded_sizes, opus, video

START = 1_000.0
VIDEO_CODECS = [codec for codec in Codec if codec is not Codec.OPUS]
Track = tuple[TrackDescriptor, list[EncodedFrame]]


def track(frames: list[EncodedFrame], source: str, identity: str = "ada") -> Track:
    codec = frames[0].codec
    sid = f"TR_{identity}_{source}_{frames[0].arrival_time}"
    return TrackDescriptor(sid, source, source, codec.kind, codec, identity, "Ada", "PA_ada"), frames


def record(root: Path, tracks: list[Track], *, closes: bool = True) -> Recording:
    """Record frames in the order of their arrival; a track is open as long as it has frames."""
    config = RecordingConfig(mux_participants=True)
    recording = Recording.create(root, "one", "room", started_at=START, config=config)
    write(recording, tracks)
    if closes:
        recording.close(START + 60)
    return recording


def write(recording: Recording, tracks: list[Track]) -> None:
    ends = {descriptor.track_sid: frames[-1] for descriptor, frames in tracks}
    pending = sorted(
        ((frame.arrival_time, number, frame) for number, (_, frames) in enumerate(tracks) for frame in frames),
        key=lambda item: item[:2],
    )
    recorders = {}
    for arrival, number, frame in pending:
        descriptor = tracks[number][0]
        if number not in recorders:
            recorders[number] = recording.open_track(descriptor, arrival)
            rtp = next(f for f in tracks[number][1])
            clock = RtpClockMapping(rtp.rtp_timestamp, rtp.arrival_time, 0.0, 5.0, ClockSource.SENDER_REPORT)
            recorders[number].set_clock_mapping(clock, arrival)
        recorders[number].write(frame)
        recording.tick(arrival)
        if frame is ends[descriptor.track_sid]:
            recorders[number].close(arrival)


def packets(path: Path) -> dict[str, list[tuple[float, bytes]]]:
    """Time and payload of every packet, by kind."""
    found: dict[str, list[tuple[float, bytes]]] = {}
    with av.open(str(path), "r") as container:
        for packet in container.demux():
            if packet.size:
                time = float(cast("int", packet.pts) * packet.time_base)
                found.setdefault(packet.stream.type, []).append((time, bytes(packet)))
    return found


def muxed(view: RecordingView) -> list[Path]:
    return [view.file_of(entry) for entry in view.muxed]


def sequences(frames: list[EncodedFrame]) -> list[bytes]:
    return [frame.data for frame in frames]


@pytest.mark.parametrize("codec", VIDEO_CODECS)
def test_every_codec_is_in_one_file_with_the_sound(tmp_path: Path, codec: Codec) -> None:
    camera, microphone = video(codec, frames=120), opus(packets=200)
    view = read_recording(record(tmp_path, [track(camera, "camera"), track(microphone, "microphone")]).path)
    (entry,) = view.muxed
    assert entry.path == f"participants/ada/0001.{'webm' if codec is Codec.VP8 else 'mp4'}"
    assert (entry.participant_identity, entry.source, entry.recovered) == ("ada", "camera", False)
    assert entry.samples == 320
    assert entry.start_media_time_s == pytest.approx(0)
    assert entry.duration_s == pytest.approx(4)
    found = packets(view.file_of(entry))
    assert [data for _, data in found["video"]] == sequences(camera)
    assert [data for _, data in found["audio"]] == sequences(microphone)
    tolerance_s = 0.0006 if entry.container is Container.WEBM else 1e-6
    assert [time for time, _ in found["video"]] == pytest.approx([i / 30 for i in range(120)], abs=tolerance_s)
    assert [time for time, _ in found["audio"]] == pytest.approx([i / 50 for i in range(200)], abs=tolerance_s)
    assert decoded_sizes(view.file_of(entry).read_bytes()) == [(160, 90)] * 120
    assert verify_recording(view.path).problems == ()


def test_fragments_are_at_most_a_second_and_in_the_order_of_time(tmp_path: Path) -> None:
    tracks = [track(video(Codec.H264, frames=180), "camera"), track(opus(packets=300), "microphone")]
    view = read_recording(record(tmp_path, tracks).path)
    data = muxed(view)[0].read_bytes()
    fragments = [fragment_samples(data, item) for item in walk(data, 0, len(data)) if item.kind == b"moof"]
    assert view.muxed[0].parts == len(fragments)
    latest_s = 0.0
    for fragment in fragments:
        assert fragment is not None
        hz = 90_000 if fragment[0].track_id == 1 else 48_000
        start_s, end_s = fragment[0].decode_time / hz, (fragment[-1].decode_time + fragment[-1].duration) / hz
        assert end_s - start_s <= 1.0
        # A player that reads on has both tracks within two seconds.
        assert start_s >= latest_s - 2.0
        latest_s = max(latest_s, end_s)
    assert data.index(b"moov") < data.index(b"moof")


def test_a_track_that_starts_later_starts_later_in_the_file(tmp_path: Path) -> None:
    camera = video(Codec.H264, frames=90, start=START + 0.7)
    view = read_recording(record(tmp_path, [track(camera, "camera"), track(opus(packets=150), "microphone")]).path)
    first, second = packets(muxed(view)[0]), view.muxed[1:]
    assert second == ()
    assert first["audio"][0][0] == 0
    assert first["video"][0][0] == pytest.approx(0.7, abs=1e-4)
    assert len(first["audio"]) == 150


def test_a_new_size_begins_the_next_file_and_no_sound_is_lost(tmp_path: Path) -> None:
    small = video(Codec.H264, frames=75)
    large = video(
        Codec.H264, frames=75, width=320, height=180, first_rtp=small[-1].rtp_timestamp + 3000, start=START + 2.5
    )
    microphone = opus(packets=250)
    view = read_recording(record(tmp_path, [track(small + large, "camera"), track(microphone, "microphone")]).path)
    assert [Path(entry.path).name for entry in view.muxed] == ["0001.mp4", "0002.mp4"]
    one, two = (packets(path) for path in muxed(view))
    assert [data for _, data in one["video"]] == sequences(small)
    assert [data for _, data in two["video"]] == sequences(large)
    assert [data for _, data in one["audio"] + two["audio"]] == sequences(microphone)
    assert view.muxed[1].start_media_time_s == pytest.approx(2.5)
    assert two["audio"][0][0] == pytest.approx(0, abs=0.02)
    assert decoded_sizes(muxed(view)[1].read_bytes()) == [(320, 180)] * 75
    assert verify_recording(view.path).problems == ()


def test_a_camera_that_comes_later_begins_the_next_file(tmp_path: Path) -> None:
    microphone = opus(packets=400)
    camera = video(Codec.VP9, frames=90, start=START + 5)
    view = read_recording(record(tmp_path, [track(camera, "camera"), track(microphone, "microphone")]).path)
    one, two = (packets(path) for path in muxed(view))
    assert one.keys() == {"audio"}
    assert [data for _, data in two["video"]] == sequences(camera)
    assert [data for _, data in one["audio"] + two["audio"]] == sequences(microphone)


def test_a_microphone_that_comes_later_begins_the_next_file_at_a_sync_sample(tmp_path: Path) -> None:
    camera = video(Codec.H264, frames=240, gop=45)
    microphone = opus(packets=200, start=START + 4.2)
    view = read_recording(record(tmp_path, [track(camera, "camera"), track(microphone, "microphone")]).path)
    one, two = (packets(path) for path in muxed(view))
    assert one.keys() == {"video"}
    assert [data for _, data in one["video"] + two["video"]] == sequences(camera)
    assert two["video"][0][1] == camera[135].data
    assert [data for _, data in two["audio"]] == sequences(microphone)


@pytest.mark.parametrize(
    ("bound", "value"), [("LONGEST_FILE_S", 2.0), ("LARGEST_FILE_BYTES", 60_000)], ids=["long", "large"]
)
@pytest.mark.parametrize("codec", [Codec.H264, Codec.VP8])
def test_a_file_that_is_long_or_large_enough_ends_at_a_sync_sample(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, codec: Codec, bound: str, value: float
) -> None:
    monkeypatch.setattr(muxed_writer, bound, value)
    camera, microphone = video(codec, frames=300, gop=45), opus(packets=500)
    view = read_recording(record(tmp_path, [track(camera, "camera"), track(microphone, "microphone")]).path)
    found = [packets(path) for path in muxed(view)]
    assert len(found) >= 3
    assert [data for file in found for _, data in file["video"]] == sequences(camera)
    assert [data for file in found for _, data in file["audio"]] == sequences(microphone)
    sync_samples = {frame.data for frame in camera if frame.sync_sample}
    assert all(file["video"][0][1] in sync_samples for file in found)
    for entry, file in zip(view.muxed, found, strict=True):
        expected = camera[sequences(camera).index(file["video"][0][1])].arrival_time - START
        assert entry.start_media_time_s + file["video"][0][0] == pytest.approx(expected, abs=0.002)
    assert verify_recording(view.path).problems == ()


def test_a_file_without_a_picture_for_long_ends_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(muxed_writer, "LONGEST_FILE_S", 2.0)
    camera, microphone = video(Codec.H264, frames=330, gop=300), opus(packets=550)
    # The camera is off from the second second until its next key frame.
    shown = camera[:30] + camera[300:]
    recording = record(tmp_path, [], closes=False)
    tracks = [track(shown, "camera")[0], track(microphone, "microphone")[0]]
    recorders = [recording.open_track(descriptor, START) for descriptor in tracks]
    frames = sorted(shown + microphone, key=lambda frame: frame.arrival_time)
    for frame in frames[:110]:
        recorders[frame.codec is Codec.OPUS].write(frame)
    recording.tick(START + 2.5)
    deadline = time.monotonic() + 20
    while recording.stats.frames_written < 110:
        assert time.monotonic() < deadline, "what stalls is written"
        time.sleep(0.01)
    for frame in frames[110:]:
        recorders[frame.codec is Codec.OPUS].write(frame)
    recording.close(START + 60)
    view = read_recording(recording.path)
    found = [packets(path) for path in muxed(view)]
    assert all(entry.duration_s < 2 * 2.0 + 2 for entry in view.muxed)
    assert [data for file in found for _, data in file.get("video", [])] == sequences(shown)
    assert [data for file in found for _, data in file["audio"]] == sequences(microphone)


def test_sound_alone_is_bounded_as_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(muxed_writer, "LONGEST_FILE_S", 2.0)
    microphone = opus(packets=500)
    view = read_recording(record(tmp_path, [track(microphone, "microphone")]).path)
    assert len(view.muxed) >= 4
    found = [packets(path) for path in muxed(view)]
    assert [data for file in found for _, data in file["audio"]] == sequences(microphone)


def test_a_screen_share_and_another_participant_have_files_of_their_own(tmp_path: Path) -> None:
    tracks = [
        track(video(Codec.H264, frames=60), "camera"),
        track(video(Codec.VP8, frames=60), "screen_share"),
        track(opus(packets=100), "microphone", identity="Bob / Ö"),
    ]
    view = read_recording(record(tmp_path, tracks).path)
    folders = {str(Path(entry.path).parent) for entry in view.muxed}
    assert {"participants/ada", "participants/ada-screen_share"} < folders
    (other,) = folders - {"participants/ada", "participants/ada-screen_share"}
    assert other.startswith("participants/Bob-")
    assert {entry.participant_identity for entry in view.muxed} == {"ada", "Bob / Ö"}


@pytest.mark.parametrize("source", ["camera", "screen_share"])
@pytest.mark.parametrize("identity", ["foo", "Bob / Ö"])
def test_no_identity_names_the_folder_of_another(identity: str, source: str) -> None:
    folder = muxed_directory(identity, source)
    namesake = folder.removeprefix(f"{MUXED_DIRECTORY}/")
    assert namesake == identity or muxed_directory(namesake, "camera") != folder


@pytest.mark.parametrize("codec", [Codec.H264, Codec.VP8])
@pytest.mark.parametrize("repairs", [True, False])
def test_every_cut_of_a_file_plays_to_its_last_whole_fragment(tmp_path: Path, codec: Codec, repairs: bool) -> None:
    camera, microphone = video(codec, frames=120), opus(packets=200)
    tracks = [track(camera, "camera"), track(microphone, "microphone")]
    recording = record(tmp_path, tracks)
    (path,) = muxed(read_recording(recording.path))
    journal = recording.path / "journal.jsonl"
    lines = [line for line in journal.read_bytes().splitlines(keepends=True) if b"muxed_file" not in line]
    whole, unfinished = path.read_bytes(), path.with_name(path.name + ".part")
    for cut in range(len(whole) // 3, len(whole), len(whole) // 7):
        path.unlink(missing_ok=True)
        unfinished.write_bytes(whole[:cut])
        journal.write_bytes(b"".join(line for line in lines if b"recording_closed" not in line))
        assert ProblemCode.MUXED_FILE_UNFINISHED in {p.code for p in verify_recording(recording.path).problems}
        if repairs:
            repair_recording(recording.path)
        else:
            Recording.resume(recording.path, START + 70).close(START + 71)
        assert verify_recording(recording.path).problems == ()
        (entry,) = read_recording(recording.path).muxed
        assert entry.recovered
        assert read_manifest(recording.path).muxed == (entry,), MANIFEST_NAME
        found = packets(path)
        assert entry.samples == sum(map(len, found.values()))
        assert entry.duration_s == pytest.approx(max(found["video"][-1][0], found["audio"][-1][0]), abs=0.06)
        for kind, frames in (("video", camera), ("audio", microphone)):
            kept = [data for _, data in found.get(kind, [])]
            assert kept == sequences(frames)[: len(kept)]
        # At most one fragment of each track is missing from the cut.
        assert path.stat().st_size > cut - max(len(whole) // 4, 1)


def test_a_resumed_recording_goes_on_in_the_next_file(tmp_path: Path) -> None:
    recording = record(tmp_path, [track(opus(packets=100), "microphone")])
    resumed = Recording.resume(recording.path, START + 70, config=RecordingConfig(mux_participants=True))
    write(resumed, [track([replace(f, arrival_time=f.arrival_time + 80) for f in opus(packets=100)], "microphone")])
    resumed.close(START + 90)
    view = read_recording(recording.path)
    assert [Path(entry.path).name for entry in view.muxed] == ["0001.mp4", "0002.mp4"]
    assert view.muxed[1].start_media_time_s == pytest.approx(80)
    assert verify_recording(view.path).problems == ()


def test_without_the_option_there_are_none(tmp_path: Path) -> None:
    recording = Recording.create(tmp_path, "one", "room", started_at=START)
    write(recording, [track(opus(packets=100), "microphone")])
    recording.close(START + 60)
    assert read_recording(recording.path).muxed == ()
    assert not (recording.path / "participants").exists()


def test_a_file_that_is_gone_or_changed_is_told(tmp_path: Path) -> None:
    recording = record(tmp_path, [track(opus(packets=100), "microphone")])
    (path,) = muxed(read_recording(recording.path))
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    assert [p.code for p in verify_recording(recording.path).problems] == [ProblemCode.HASH_DIFFERS]
    path.unlink()
    assert [p.code for p in verify_recording(recording.path).problems] == [ProblemCode.FILE_MISSING]
    assert repair_recording(recording.path).actions
    assert verify_recording(recording.path).problems == ()


@pytest.mark.parametrize("codec", [Codec.H264, Codec.VP8])
def test_no_muxed_file_is_held_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, codec: Codec) -> None:
    recording = record(tmp_path, [track(video(codec, frames=120), "camera"), track(opus(packets=200), "microphone")])
    (path,) = muxed(read_recording(recording.path))
    journal = recording.path / "journal.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join(line for line in lines if b"muxed_file" not in line))
    read_bytes = Path.read_bytes

    def refusing(read: Path) -> bytes:
        assert read.parent != path.parent
        return read_bytes(read)

    monkeypatch.setattr(Path, "read_bytes", refusing)
    Recording.resume(recording.path, START + 70).close(START + 71)
    assert verify_recording(recording.path).problems == ()
    (entry,) = read_recording(recording.path).muxed
    assert entry.recovered


def test_an_empty_muxed_file_is_told(tmp_path: Path) -> None:
    recording = record(tmp_path, [track(opus(packets=100), "microphone")])
    (path,) = muxed(read_recording(recording.path))
    path.write_bytes(b"")
    codes = {problem.code for problem in verify_recording(recording.path).problems}
    assert codes == {ProblemCode.SIZE_DIFFERS, ProblemCode.SAMPLES_DIFFER}


def test_a_muxed_file_can_be_read_while_it_grows(tmp_path: Path) -> None:
    tracks = [track(video(Codec.AV1, frames=120), "camera"), track(opus(packets=200), "microphone")]
    descriptors = [(replace(d, track_sid=d.track_sid), frames) for d, frames in tracks]
    recording = Recording.create(
        tmp_path, "one", "room", started_at=START, config=RecordingConfig(mux_participants=True)
    )
    recorders = [recording.open_track(descriptor, START) for descriptor, _ in descriptors]
    for frame in sorted(descriptors[0][1] + descriptors[1][1], key=lambda item: item.arrival_time):
        recorders[frame.codec is Codec.OPUS].write(frame)
    growing = recording.path / "participants" / "ada" / "0001.mp4.part"
    while not growing.exists() or growing.stat().st_size < 10_000:
        recording.tick(START + 4)
    data = growing.read_bytes()
    with av.open(io.BytesIO(data), "r") as container:
        assert {stream.type for stream in container.streams} == {"audio", "video"}
    recording.close(START + 60)
