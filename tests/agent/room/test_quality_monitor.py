"""The monitor's shell: events once, counters, states; and what a recording's quality.jsonl gets of it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace

import pytest
from structlog.testing import capture_logs

from agent.quality_report import add_line
from agent.room.events import ParticipantQualityChanged, QualityPatternChanged
from agent.room.quality_log import SAMPLE_S, QualityLog
from agent.room.quality_monitor import JudgedTrack, QualityMonitor, QualityTick, TrackLabel
from media.record.entries import TimelineEvent
from media.record.event_log import encode_event
from quality.participants import ServerOpinion
from quality.report import ReportBuilder, ReportedRecording, TrackReport
from quality.score import ConnectionQuality
from quality.stats import OutboundRtp, TrackKind, TrackSnapshot
from tests.quality.traces import EPOCH, received

CAMERA = TrackLabel("TR_camera", "camera", "video", "camera", "ada", "video/vp8")
MICROPHONE = TrackLabel("TR_mic", "microphone", "audio", "microphone", "ada", "audio/red")


class Around:
    """What a connection knows, fixed."""

    own_identity = "tap"

    def __init__(self) -> None:
        self.told = dict.fromkeys(("ada", "tap"), ServerOpinion(ConnectionQuality.EXCELLENT, 4.5))

    def labels(self) -> Mapping[str, TrackLabel]:
        return {label.track_sid: label for label in (CAMERA, MICROPHONE)}

    def opinions(self) -> Mapping[str, ServerOpinion]:
        return self.told


def watched(losses: list[float]) -> tuple[QualityMonitor, list[object], list[QualityTick]]:
    """A monitor after a camera that lost `losses`, what it told, and its ticks."""
    events: list[object] = []
    ticks: list[QualityTick] = []
    monitor = QualityMonitor("tap", Around(), events.append)
    monitor.add_listener(ticks.append)
    for snapshot in received("TR_camera", TrackKind.VIDEO, losses):
        monitor.take((snapshot,), snapshot.timestamp)
    return monitor, events, ticks


def test_a_listener_that_fails_keeps_no_other_from_its_second() -> None:
    def fails(_tick: QualityTick) -> None:
        raise ZeroDivisionError

    ticks: list[QualityTick] = []
    monitor = QualityMonitor("tap", Around(), lambda _event: None)
    monitor.add_listener(fails)
    monitor.add_listener(ticks.append)
    with capture_logs() as logs:
        for snapshot in received("TR_camera", TrackKind.VIDEO, [0.0] * 3):
            monitor.take((snapshot,), snapshot.timestamp)
    assert len(ticks) == 4
    assert [line["event"] for line in logs if line["log_level"] == "error"] == ["quality_listener_failed"] * 4


def test_patterns_and_words_are_told_once_logged_once_and_counted() -> None:
    with capture_logs() as logs:
        monitor, events, _ = watched([0.0] * 10 + [0.1] * 25 + [0.0] * 40)
    steady = [item for item in events if isinstance(item, QualityPatternChanged) and item.pattern == "steady_loss"]
    assert [(item.began, item.participant_identity, item.connection) for item in steady] == [
        (True, "ada", "tap"),
        (False, "ada", "tap"),
    ]
    assert steady[0].reason.endswith("evenly")
    lines = [item for item in logs if item.get("pattern") == "steady_loss"]
    assert [item["event"] for item in lines] == ["quality_pattern_began", "quality_pattern_ended"]
    assert lines[0]["reason"] == steady[0].reason
    assert lines[1]["lasted_s"] > 10
    words = [
        item for item in events if isinstance(item, ParticipantQualityChanged) and item.participant_identity == "ada"
    ]
    assert words[0].quality != "excellent"
    assert words[0].server_quality == "excellent"
    assert words[-1].quality == "excellent"
    assert monitor.counters().quality_patterns["steady_loss"] == 1
    compared = monitor.counters().quality_agreement
    assert sum(compared.values()) == 75
    assert compared["same"] < 75


def test_states_show_verdicts_and_what_is_gone_is_forgotten() -> None:
    monitor, _, _ = watched([0.0] * 10 + [0.1] * 15)
    state = monitor.receive_state("TR_camera")
    assert state is not None
    assert (state.quality, state.layers_seen, state.frames_per_second) == ("poor", ("1280x720",), 30.0)
    assert "steady_loss" in state.patterns
    assert state.model_mos is not None
    assert any("lost" in reason for reason in state.reasons)
    assert monitor.receive_state("TR_other") is None
    monitor.take((), EPOCH + 100)
    assert monitor.receive_state("TR_camera") is None


def test_states_tell_what_is_muted_from_what_is_perfect() -> None:
    monitor = QualityMonitor("tap", Around(), lambda _event: None)
    snapshots = received("TR_camera", TrackKind.VIDEO, [0.0] * 3)
    for snapshot, muted in zip(snapshots, (False, True, True, False), strict=True):
        monitor.take((replace(snapshot, muted=muted),), snapshot.timestamp)
        state = monitor.receive_state("TR_camera")
        assert state is not None
        assert state.muted == muted
        assert state.score in {None, 100.0}


def test_patterns_of_a_track_that_goes_end_with_it() -> None:
    monitor, events, _ = watched([0.1] * 15)
    monitor.take((), EPOCH + 16)
    ended = [item for item in events if isinstance(item, QualityPatternChanged) and not item.began]
    assert "steady_loss" in {item.pattern for item in ended}
    assert {item.reason for item in ended} == {"track ended"}


def test_the_log_tells_which_patterns_ended_with_their_track() -> None:
    monitor, _, ticks = watched([0.1] * 15)
    monitor.take((), EPOCH + 16)
    monitor.take((), EPOCH + 17)
    ended = [line for line in logged(ticks) if line.type == "quality_pattern_ended" and line.at == EPOCH + 16]
    assert "steady_loss" in {line.payload["pattern"] for line in ended}
    assert {line.payload["reason"] for line in ended} == {"track ended"}
    assert {line.payload["track_sid"] for line in ended} == {"TR_camera"}
    assert [bool(tick.left) for tick in ticks[-3:]] == [False, True, False]


def test_of_a_track_that_the_log_never_wrote_of_it_tells_no_end() -> None:
    """Its recording was paused until then, or records other tracks."""
    monitor, _, ticks = watched([0.1] * 15)
    monitor.take((), EPOCH + 16)
    assert ticks[-1].left
    assert [line for line in logged(ticks[-1:]) if line.type != "participant_quality"] == []


def test_a_track_that_the_other_connection_let_go_goes_on() -> None:
    monitor, _, ticks = watched([0.1] * 15)
    monitor.take((), EPOCH + 16)
    elsewhere = replace(ticks[-1], connection="participant")
    assert not [line for line in logged([*ticks[:-1], elsewhere]) if line.payload.get("reason") == "track ended"]


def test_a_track_that_comes_back_is_described_again() -> None:
    monitor, _, ticks = watched([0.1] * 15)
    monitor.take((), EPOCH + 16)
    again = [replace(tick, at=EPOCH + 20) for tick in ticks[1:2]]
    assert [line.type for line in logged([*ticks, *again])].count("quality_track") == 2


def test_a_sent_track_is_judged_and_has_no_receive_state() -> None:
    monitor = QualityMonitor("participant", Around(), lambda _event: None)
    for second in range(3):
        sent = (OutboundRtp(ssrc=1, packets_sent=100 * second, packets_lost=0),)
        snapshot = replace(received("TR_camera", TrackKind.VIDEO, [])[0], timestamp=EPOCH + second, stats=sent)
        monitor.take((snapshot,), EPOCH + second)
    assert monitor.receive_state("TR_camera") is None
    judgement = monitor.judgement("TR_camera")
    assert judgement is not None
    assert judgement.score.quality is ConnectionQuality.EXCELLENT


def test_a_track_nobody_knows_is_passed_over() -> None:
    monitor = QualityMonitor("tap", Around(), lambda _event: None)
    for snapshot in received("TR_stranger", TrackKind.AUDIO, [0.0, 0.0]):
        monitor.take((snapshot,), snapshot.timestamp)
    assert monitor.judgement("TR_stranger") is None


def logged(ticks: list[QualityTick]) -> list[TimelineEvent]:
    lines: list[TimelineEvent] = []
    log = QualityLog(lines.append)
    for tick in ticks:
        log.take(tick)
    log.flush(ticks[-1].at)
    for line in lines:
        encode_event(line, EPOCH)
    return lines


def test_the_log_has_a_line_each_two_seconds_and_patterns_as_they_come() -> None:
    _, _, ticks = watched([0.0] * 10 + [0.1] * 20)
    lines = logged(ticks)
    names = [line.type for line in lines]
    assert names.count("quality_track") == 1
    assert names.count("quality_pattern_began") >= 1
    samples = [line for line in lines if line.type == "track_quality"]
    assert len(samples) <= 1 + 30 / SAMPLE_S
    assert sum(int(str(line.payload.get("packets", 0))) for line in samples) == 10 * 200 + 20 * 180
    people = {line.participant_identity for line in lines if line.type == "participant_quality"}
    assert people == {"ada", "tap"}
    ada = next(line for line in lines if line.type == "participant_quality" and line.participant_identity == "ada")
    assert (ada.payload["server_quality"], ada.payload["server_mos"]) == ("excellent", 4.5)
    own = next(line for line in lines if line.type == "participant_quality" and line.participant_identity == "tap")
    assert (own.payload["own"], "own" in ada.payload) == (True, False)
    assert all(size < 1500 for size in (len(encode_event(line, EPOCH)) for line in lines))


def crowd(tick: QualityTick, size: int) -> QualityTick:
    (judged,) = tick.tracks
    sids = [f"TR_{number}" for number in range(size)]
    each = [JudgedTrack(replace(judged.label, track_sid=sid), replace(judged.judgement, track_sid=sid)) for sid in sids]
    return replace(tick, tracks=tuple(each))


def test_many_tracks_are_written_more_rarely() -> None:
    _, _, ticks = watched([0.0] * 60)
    full = [crowd(tick, 400) for tick in ticks if tick.tracks]
    samples = [line for line in logged(full) if line.type == "track_quality"]
    assert len(samples) <= 20 * 60 + 400


def muted_in(mutes: Sequence[bool]) -> list[QualityTick]:
    """Ticks of a camera that is muted in seconds as told; a fifth of it is lost in the others."""
    ticks: list[QualityTick] = []
    monitor = QualityMonitor("tap", Around(), lambda _event: None)
    monitor.add_listener(ticks.append)
    snapshots = received("TR_camera", TrackKind.VIDEO, [0.2] * len(mutes))
    for at, muted in enumerate((False, *mutes)):
        stats = snapshots[at - sum(mutes[:at])].stats
        monitor.take((replace(snapshots[at], muted=muted, stats=stats),), EPOCH + at)
    return [tick for tick in ticks if tick.tracks]


def reported(lines: list[TimelineEvent], sid: str) -> TrackReport:
    """What a report says of a track."""
    builder = ReportBuilder(EPOCH)
    for line in lines:
        add_line(builder, asdict(line))
    report = builder.build(ReportedRecording("one", "lobby", "complete", EPOCH, None))
    assert report.unreadable_lines == 0
    return next(item for item in report.tracks if item.track.track_sid == sid)


@pytest.mark.parametrize(
    "mutes",
    [[False] * 10 + [True] * 5, [True] * 12 + [False] * 3, [False, True] * 30],
    ids=["spoke, then muted", "muted, then spoke", "on and off"],
)
def test_a_mute_weighs_in_no_figure_however_many_tracks_there_are(mutes: list[bool]) -> None:
    ticks = muted_in(mutes)
    judged = [tick.tracks[0].judgement for tick in ticks]
    heard = [each for each in judged if not each.window.muted]
    scores = [each.score.value for each in heard]
    for size in (1, 400):
        track = reported(logged([crowd(tick, size) for tick in ticks]), "TR_0")
        assert track.judged_s == mutes.count(False)
        assert track.bitrate_bps == pytest.approx(sum(each.window.bytes for each in heard) * 8 / len(heard))
        assert track.score == pytest.approx(sum(scores) / len(scores), abs=0.001)
        assert track.score_min == pytest.approx(min(scores), abs=0.001)
        assert track.packets_lost == 40 * mutes.count(False)
        assert track.ends_at_s == len(mutes)


def test_tracks_that_are_muted_and_unmuted_endlessly_are_written_no_more_often() -> None:
    ticks = muted_in([False, True] * 60)
    samples = [line for line in logged([crowd(tick, 400) for tick in ticks]) if line.type == "track_quality"]
    assert len(samples) <= 20 * 120 + 2 * 400


def test_a_participants_lines_say_how_long_they_stand_for_and_the_lowest() -> None:
    _, _, ticks = watched([0.0] * 12 + [0.3] * 8 + [0.0] * 30)
    judged = [tick for tick in ticks if tick.tracks]
    scores = [each.score.value for tick in judged for each in tick.participants if not each.own]
    for lines in (logged(judged), logged([crowd(tick, 400) for tick in judged])):
        people = [line for line in lines if line.type == "participant_quality" and line.participant_identity == "ada"]
        long = [float(str(line.payload.get("duration_s", SAMPLE_S))) for line in people]
        means = [float(str(line.payload["score"])) for line in people]
        assert sum(long) == pytest.approx(len(judged))
        whole = sum(mean * each for mean, each in zip(means, long, strict=True)) / sum(long)
        assert whole == pytest.approx(sum(scores) / len(scores), abs=0.001)
        assert min(float(str(line.payload["score_min"])) for line in people) == pytest.approx(min(scores), abs=0.001)
    assert max(long) > 2 * SAMPLE_S, "of many they are rarer"


def test_hostile_names_stay_values() -> None:
    def named(tick: QualityTick, name: str) -> QualityTick:
        return replace(tick, tracks=tuple(replace(each, label=replace(each.label, name=name)) for each in tick.tracks))

    _, _, ticks = watched([0.0] * 4)
    make: Callable[[QualityTick], QualityTick] = lambda tick: named(tick, '"}\n{"type":"x')  # noqa: E731
    (described,) = [line for line in logged([make(tick) for tick in ticks]) if line.type == "quality_track"]
    assert encode_event(described, EPOCH).count(b"\n") == 1


def test_snapshots_of_both_kinds_are_judged_together() -> None:
    ticks: list[QualityTick] = []
    monitor = QualityMonitor("tap", Around(), lambda _event: None)
    monitor.add_listener(ticks.append)
    pairs: list[tuple[TrackSnapshot, ...]] = list(
        zip(
            received("TR_camera", TrackKind.VIDEO, [0.0] * 5),
            received("TR_mic", TrackKind.AUDIO, [0.05] * 5, packets=50, packet_bytes=80),
            strict=True,
        )
    )
    for pair in pairs:
        monitor.take(pair, pair[0].timestamp)
    ada = next(item for item in ticks[-1].participants if item.participant_identity == "ada")
    assert ada.score.reasons[0].startswith("4.0% of packets lost")
