"""A recording's judge over the life of its recording: what earlier writers left, pauses, faults, and the report."""

import asyncio
import json
import threading
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest
from structlog.testing import capture_logs

from agent.quality_report import REPORT_NAME, build_report, read_quality_report
from agent.room.decoded_tracks import DecodedTracks
from agent.room.quality_monitor import JudgedTrack, QualityTick, TrackLabel
from agent.room.recording_quality import RecordingQuality
from media.record.reader import QUALITY_NAME, RecordingView, read_recording
from media.record.recorder import Recording
from media.tap.tap import Tap
from quality import judge
from quality.participants import ServerOpinion, judge_participants
from quality.report import QualityReport, ReportBuilder
from quality.score import ConnectionQuality
from quality.stats import TrackKind
from tests.agent.judged_recordings import Second, camera, judged_recording
from tests.quality.traces import EPOCH, received


class Silence:
    """A tap that receives nothing."""

    participants: dict[str, object] = {}  # noqa: RUF012 - never changed
    connection_qualities: dict[str, object] = {}  # noqa: RUF012
    participant_sid = ""
    participant_identity = "tap"

    def stats(self) -> dict[str, object]:
        return {}


class Broken(Silence):
    def stats(self) -> dict[str, object]:
        raise RuntimeError("a bug of ours")


def quality_of(tap: Silence) -> RecordingQuality:
    return RecordingQuality(cast("Tap", tap), None, lambda _event: None)


def tick_of_a_new_track() -> QualityTick:
    label = TrackLabel("TR_new", "screen", "video", "screen_share", "bob", "video/vp8")
    state = judge.start((snapshots := received("TR_new", TrackKind.VIDEO, [0.0, 0.0]))[0], judge.Coding())
    _, judgement = judge.step(state, snapshots[1], EPOCH + 41)
    return QualityTick("tap", EPOCH + 41, (JudgedTrack(label, judgement),), ())


@pytest.fixture
def torn(tmp_path: Path) -> Path:
    """Half a minute, whose last line was torn by the end of its writer."""
    path = judged_recording(tmp_path, "one", (camera("ada", lambda _at: Second()),), 30)
    with (path / QUALITY_NAME).open("ab") as file:
        file.write(b'{"type":"track_quality","at":18000')
    return path


def gone_on(path: Path, tap: Silence | None = None) -> tuple[Recording, RecordingQuality]:
    """The recording that a killed writer left, gone on with and judged."""
    recording, quality = Recording.resume(path, EPOCH + 40), quality_of(tap or Silence())
    quality.start(recording)
    return recording, quality


async def test_what_an_earlier_writer_left_is_in_the_report_of_the_next(torn: Path) -> None:
    recording, quality = gone_on(torn)
    quality.sample(lambda _sid: False, lambda _sid: None, EPOCH + 41)
    await quality.load_earlier(EPOCH + 40)
    quality.flush(EPOCH + 42)
    await recording.aclose(EPOCH + 50, "requested")
    await quality.write_report()
    values = json.loads((torn / REPORT_NAME).read_text())
    assert values["recording"]["ended_at"] == EPOCH + 50
    (track,) = values["tracks"]
    assert track["ends_at_s"] == 30.0
    assert read_quality_report(read_recording(torn)).tracks[0].judged_s == pytest.approx(30.0)


async def test_a_recording_that_ended_at_any_time_has_its_report_read_from_the_file(torn: Path) -> None:
    recording, quality = gone_on(torn)
    await quality.load_earlier(EPOCH + 40)
    await recording.aclose(EPOCH + 50.123456789)
    await quality.write_report()
    view, written = read_recording(torn), (torn / REPORT_NAME).read_text()
    assert view.ended_at != json.loads(written)["recording"]["ended_at"], "the journal has more digits"
    (torn / REPORT_NAME).write_text(written.replace('"camera"', '"from the file"'))
    assert read_quality_report(view).tracks[0].track.name == "from the file"
    other = replace(view, ended_at=EPOCH + 50.2)
    assert read_quality_report(other).tracks[0].track.name == "camera", "it has gone on since"


async def test_building_a_report_does_not_hold_up_the_event_loop(torn: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recording, quality = gone_on(torn)
    await quality.load_earlier(EPOCH + 40)
    loop, building, let_go = asyncio.get_running_loop(), asyncio.Event(), threading.Event()

    def build_slowly(view: RecordingView, builder: ReportBuilder) -> QualityReport:
        loop.call_soon_threadsafe(building.set)
        assert let_go.wait(10), "the loop stands still while the report is built"
        return build_report(view, builder)

    monkeypatch.setattr("agent.room.recording_quality.build_report", build_slowly)
    writing = asyncio.create_task(quality.write_report())
    await building.wait()
    quality.take(tick_of_a_new_track())
    quality.flush(EPOCH + 41)
    let_go.set()
    await writing
    assert [item["track"]["name"] for item in json.loads((torn / REPORT_NAME).read_text())["tracks"]] == ["camera"]
    await quality.write_report()
    assert len(json.loads((torn / REPORT_NAME).read_text())["tracks"]) == 2, "what came meanwhile is in the next"
    await recording.aclose(EPOCH + 50)


async def test_what_comes_while_earlier_samples_are_read_counts_once(torn: Path) -> None:
    recording, quality = gone_on(torn)
    quality.take(tick_of_a_new_track())
    quality.flush(EPOCH + 41)
    await quality.load_earlier(EPOCH + 40)
    await recording.aclose(EPOCH + 50)
    await quality.write_report()
    gathered = read_quality_report(read_recording(torn))
    (torn / REPORT_NAME).unlink()
    assert {item.track.name: item.judged_s for item in gathered.tracks} == {"camera": 30.0, "screen": 1.0}
    assert len(read_quality_report(read_recording(torn)).tracks) == 2


async def test_without_the_earlier_samples_the_report_is_read_from_the_file(torn: Path) -> None:
    recording, quality = gone_on(torn)
    await recording.aclose(EPOCH + 50)
    await quality.write_report()
    assert len(json.loads((torn / REPORT_NAME).read_text())["tracks"]) == 1


async def test_a_fault_in_judging_costs_no_media(torn: Path) -> None:
    recording, quality = gone_on(torn, Broken())
    await quality.load_earlier(EPOCH + 40)
    with capture_logs() as logs:
        quality.sample(lambda _sid: False, lambda _sid: None, EPOCH + 41)
    assert [item["event"] for item in logs] == ["recording_quality_failed"]
    await recording.aclose(EPOCH + 50)


async def test_a_recording_that_received_nothing_gets_no_report_and_no_complaint(tmp_path: Path) -> None:
    recording = Recording.create(tmp_path, "empty", "lobby", started_at=EPOCH)
    quality = quality_of(Silence())
    await quality.write_report()
    quality.start(recording)
    await quality.load_earlier(EPOCH + 40)
    await recording.aclose(EPOCH + 1)
    with capture_logs() as logs:
        await quality.write_report()
    assert logs == []
    assert not (recording.path / REPORT_NAME).exists()


async def test_a_folder_that_is_gone_is_said_in_the_log_only(torn: Path) -> None:
    recording, quality = gone_on(torn)
    await quality.load_earlier(EPOCH + 40)
    await recording.aclose(EPOCH + 41)
    await asyncio.to_thread(torn.rename, torn.with_name("elsewhere"))
    with capture_logs() as logs:
        await quality.write_report()
    assert [(item["event"], item["code"]) for item in logs] == [("quality_report_failed", "recording_not_found")]


def tick_of_a_clean_microphone_and_a_lossy_camera() -> QualityTick:
    """Both of bob's, as the participant's connection receives them."""
    judged = []
    for sid, kind, loss in (("TR_mic", TrackKind.AUDIO, 0.0), ("TR_cam", TrackKind.VIDEO, 0.5)):
        before, after = received(sid, kind, [loss])
        _, judgement = judge.step(judge.start(before, judge.Coding()), after, EPOCH + 41)
        judged.append(JudgedTrack(TrackLabel(sid, sid, kind.value, "unknown", "bob", ""), judgement))
    word = ServerOpinion(ConnectionQuality.POOR, 2.0)
    publishers = {"TR_mic": "bob", "TR_cam": "bob"}
    judgements = [each.judgement for each in judged]
    people = judge_participants(judgements, publishers, "agent", {"bob": word, "agent": word}, EPOCH + 41)
    return QualityTick("participant", EPOCH + 41, tuple(judged), people)


class Chosen:
    """Decoded tracks of which the microphone is recorded."""

    sids = frozenset({"TR_mic"})


async def test_a_participant_is_as_good_as_its_tracks_that_are_recorded(torn: Path) -> None:
    recording = Recording.resume(torn, EPOCH + 40)
    quality = RecordingQuality(cast("Tap", Silence()), cast("DecodedTracks", Chosen()), lambda _event: None)
    quality.start(recording)
    tick = tick_of_a_clean_microphone_and_a_lossy_camera()
    quality.take_participant(tick)
    quality.flush(EPOCH + 42)
    await recording.aclose(EPOCH + 50, "requested")
    report = read_quality_report(read_recording(torn))
    assert {item.track.track_sid for item in report.tracks} == {"TR_cam_ada", "TR_mic"}
    people = {item.participant_identity: item for item in report.participants}
    assert (people["bob"].score, people["bob"].server_mos, people["bob"].own) == (100.0, 2.0, False)
    everything = next(each for each in tick.participants if each.own)
    assert everything.score.value < 100
    assert people["agent"].score == pytest.approx(everything.score.value, abs=0.001), "the server judges all of it too"
    assert people["agent"].own


async def test_a_participant_of_whom_nothing_is_recorded_is_not_judged(torn: Path) -> None:
    recording = Recording.resume(torn, EPOCH + 40)
    quality = RecordingQuality(cast("Tap", Silence()), cast("DecodedTracks", Chosen()), lambda _event: None)
    quality.start(recording)
    tick = tick_of_a_clean_microphone_and_a_lossy_camera()
    quality.take_participant(replace(tick, tracks=tick.tracks[1:]))
    quality.flush(EPOCH + 42)
    await recording.aclose(EPOCH + 50, "requested")
    report = read_quality_report(read_recording(torn))
    assert "bob" not in {item.participant_identity for item in report.participants}
