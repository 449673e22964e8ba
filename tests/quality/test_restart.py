"""Which tracks are restarted, how often, in which order, and when it is over."""

from dataclasses import replace

import pytest

from quality import judge, restart
from quality.content import ContentCounts
from quality.judge import Coding, Judgement
from quality.patterns import ActivePattern, Pattern
from quality.restart import Action, Ended, Health, Outcome, Problem, Remedy, RestartState
from quality.score import ConnectionQuality, Score
from quality.stats import (
    Direction,
    InboundRtp,
    OutboundRtp,
    QualityLimitationReason,
    TrackKind,
    TrackSnapshot,
    TrackSource,
)
from tests.quality.traces import EPOCH, camera_window, received

STUCK = Health(Direction.INBOUND, TrackKind.VIDEO, flows=False, problem=Problem.STUCK, reason="nothing comes")
FLOWS = replace(STUCK, flows=True, problem=None, reason="")
UNKNOWN = replace(FLOWS, flows=False)

Told = list[tuple[int, Action | Ended]]


def run(seconds: list[Health]) -> Told:
    state, told = RestartState(), []
    for at, seen in enumerate(seconds):
        state, each = restart.step(state, seen, EPOCH + at)
        told += [(at, item) for item in each]
    return told


def remedies(told: Told) -> list[tuple[int, Remedy]]:
    return [(at, item.remedy) for at, item in told if isinstance(item, Action)]


def test_a_track_that_flows_is_left_alone() -> None:
    assert run([FLOWS] * 300) == []


def test_a_restart_that_helps_is_told_of_and_is_the_last() -> None:
    told = run([FLOWS] * 5 + [STUCK] * 3 + [FLOWS] * 100)
    (at, action), (end_at, ended) = told
    assert isinstance(action, Action)
    assert (at, action.remedy, action.problem, action.attempt) == (5, Remedy.RESTART, Problem.STUCK, 1)
    assert action.reason == "nothing comes"
    assert isinstance(ended, Ended)
    assert ended.problem is Problem.STUCK
    assert (end_at, ended.outcome) == (11, Outcome.RECOVERED)
    assert ended.took_s == 3


def test_what_does_not_help_is_followed_by_the_next_remedy_after_twice_the_wait_and_ends_in_a_report() -> None:
    told = run([replace(STUCK, can_go_lower=True)] * 600)
    assert remedies(told) == [
        (0, Remedy.RESTART),
        (8, Remedy.RESTART),
        (24, Remedy.LOWER_LAYER),
        (56, Remedy.AUDIO_ONLY),
        (116, Remedy.REPORT),
    ]
    failed = [item.remedy for _, item in told if isinstance(item, Ended) and item.outcome is Outcome.FAILED]
    assert failed == [Remedy.RESTART, Remedy.RESTART, Remedy.LOWER_LAYER, Remedy.AUDIO_ONLY]


def test_a_layer_that_was_lowered_to_the_lowest_keeps_its_place_in_the_ladder() -> None:
    higher, lowest = replace(STUCK, can_go_lower=True), replace(STUCK, can_go_lower=False)
    told = run([higher] * 25 + [lowest] * 200)
    assert [remedy for _, remedy in remedies(told)][2:] == [Remedy.LOWER_LAYER, Remedy.AUDIO_ONLY, Remedy.REPORT]
    told = run([replace(higher, keep_video=True)] * 25 + [replace(lowest, keep_video=True)] * 200)
    assert [remedy for _, remedy in remedies(told)][2:] == [Remedy.LOWER_LAYER, Remedy.REPORT]


def test_a_recording_never_gives_up_a_video_and_sound_has_no_layers() -> None:
    recorded = restart.remedies(replace(STUCK, can_go_lower=True, keep_video=True))
    assert recorded == (Remedy.RESTART, Remedy.RESTART, Remedy.LOWER_LAYER, Remedy.REPORT)
    sound = restart.remedies(replace(STUCK, kind=TrackKind.AUDIO))
    assert sound == (Remedy.RESTART,) * 3 + (Remedy.REPORT,)


def test_silence_is_tried_once_and_our_own_only_told() -> None:
    silent = replace(STUCK, kind=TrackKind.AUDIO, problem=Problem.SILENT)
    assert [remedy for _, remedy in remedies(run([silent] * 300))] == [Remedy.RESTART, Remedy.REPORT]
    own = replace(silent, direction=Direction.OUTBOUND)
    assert [remedy for _, remedy in remedies(run([own] * 300))] == [Remedy.REPORT]


def heard(snapshots: tuple[TrackSnapshot, ...], sounds: int) -> list[TrackSnapshot]:
    """With as many silent stretches of sound a second."""
    shown = [ContentCounts(sounds=sounds * at, silent=sounds * at, samples=480 * sounds * at) for at in range(99)]
    return [replace(item, content=seen) for item, seen in zip(snapshots, shown, strict=False)]


def silences(*, sounds: int = 0, packet_bytes: int = 3, recorded: bool = False, reports_only: bool = False) -> Told:
    """What is done about half a minute of silence of a microphone."""
    packets = 0 if reports_only else 50
    quiet = received("TR_mic", TrackKind.AUDIO, [0.0] * 30, packets=packets, packet_bytes=packet_bytes)
    return run(healths(heard(quiet, sounds), recorded=recorded))


def test_what_is_recorded_or_heard_to_be_silent_is_not_cut_for_it() -> None:
    once = [Remedy.RESTART, Remedy.REPORT]
    assert [remedy for _, remedy in remedies(silences())] == once
    for sounds, packet_bytes, recorded in ((5, 80, True), (5, 80, False), (5, 3, True), (0, 3, True)):
        told = silences(sounds=sounds, packet_bytes=packet_bytes, recorded=recorded)
        assert [remedy for _, remedy in remedies(told)] == [Remedy.REPORT]
    assert [remedy for _, remedy in remedies(silences(recorded=True, reports_only=True))] == once, "nothing to cut"


def test_trouble_that_comes_back_soon_goes_on_down_the_ladder_and_late_begins_anew() -> None:
    soon = run([STUCK] * 2 + [FLOWS] * 20 + [STUCK] * 2 + [FLOWS] * 20)
    assert [item.attempt for _, item in soon if isinstance(item, Action)] == [1, 2]
    late = run([STUCK] * 2 + [FLOWS] * 61 + [STUCK] * 2)
    assert [item.attempt for _, item in late if isinstance(item, Action)] == [1, 1]
    barely_soon = run([STUCK] * 2 + [FLOWS] * 60 + [STUCK] * 2)
    assert [item.attempt for _, item in barely_soon if isinstance(item, Action)] == [1, 2]


def test_what_is_not_known_is_neither_trouble_nor_recovery() -> None:
    told = run([STUCK] + [FLOWS] * 2 + [UNKNOWN] + [FLOWS] * 2 + [UNKNOWN] * 50)
    assert remedies(told) == [(0, Remedy.RESTART)]
    assert not [item for _, item in told if isinstance(item, Ended)]


def healths(snapshots: list[TrackSnapshot], *, recorded: bool = False) -> list[Health]:
    state, seen = judge.start(snapshots[0], Coding()), []
    for snapshot in snapshots[1:]:
        state, judgement = judge.step(state, snapshot, snapshot.timestamp)
        seen.append(restart.health(judgement, recorded=recorded))
    return seen


def test_an_encrypted_video_without_a_picture_is_told_to_be_so_and_never_given_up() -> None:
    good = Score(100.0, ConnectionQuality.EXCELLENT, 4.5)
    stuck = (ActivePattern(Pattern.STUCK_TRACK, EPOCH),)
    seen = Judgement("TR", EPOCH, replace(camera_window(), frames=0), good, good, patterns=stuck)
    health = restart.health(seen, encrypted=True)
    assert health.reason == "200 packets a second and no picture; it is encrypted: look whether the key is the room's"
    assert Remedy.AUDIO_ONLY not in restart.remedies(health)
    assert Remedy.AUDIO_ONLY in restart.remedies(restart.health(seen))


def stopped(
    snapshots: list[TrackSnapshot], seconds: int, *, muted: bool = False, paused: bool = False
) -> list[TrackSnapshot]:
    """As they are, then `seconds` in which nothing comes."""
    last = replace(snapshots[-1], muted=muted, stream_paused=paused)
    return [*snapshots, *(replace(last, timestamp=last.timestamp + at) for at in range(1, seconds + 1))]


def test_a_video_that_stops_is_stuck_within_seconds_and_one_that_is_muted_or_withheld_is_not() -> None:
    camera = list(received("TR_camera", TrackKind.VIDEO, [0.0] * 20))
    seen = healths(stopped(camera, 12))
    assert all(item.problem is None for item in seen[:20])
    problems = [item.problem for item in seen[20:]]
    assert problems[-1] is Problem.STUCK
    assert problems.index(Problem.STUCK) <= 6
    for resting in (stopped(camera, 12, muted=True), stopped(camera, 12, paused=True)):
        seen = healths(resting)
        assert {item.problem for item in seen} == {None}
        assert not any(item.flows for item in seen[20:])


def test_a_stuck_video_that_the_server_withholds_is_not_stuck_any_more() -> None:
    camera = stopped(list(received("TR_camera", TrackKind.VIDEO, [0.0] * 20)), 8)
    seen = healths(stopped(camera, 12, paused=True))
    assert seen[27].problem is Problem.STUCK
    assert {item.problem for item in seen[28:]} == {None}


def test_the_second_in_which_a_mute_ends_says_nothing() -> None:
    camera = list(received("TR_camera", TrackKind.VIDEO, [0.0] * 3))
    camera[1] = replace(camera[1], muted=True)
    assert [item.flows for item in healths(camera)] == [False, False, True]


def sent(seconds: int, *, stops_at: int, **then: object) -> list[TrackSnapshot]:
    """A video of ours, one snapshot a second; from `stops_at` on its encoder gives nothing, and `then` holds."""
    found = []
    for at in range(seconds):
        frames = 30 * min(at, stops_at)
        stream = OutboundRtp(
            ssrc=7,
            rid="f",
            packets_sent=100 * min(at, stops_at),
            bytes_sent=100_000 * min(at, stops_at),
            frames_encoded=frames,
            frame_width=1280,
            frame_height=720,
            target_bitrate=800_000.0,
            active=True,
            frames_captured=30 * at,
        )
        if at > stops_at:
            stream = replace(stream, **then)  # type: ignore[arg-type]
        found.append(TrackSnapshot("TR_own", TrackKind.VIDEO, TrackSource.CAMERA, EPOCH + at, (stream,)))
    return found


def test_a_video_of_ours_that_is_captured_and_wanted_and_not_encoded_is_stuck() -> None:
    seen = healths(sent(20, stops_at=8))
    problems = [item.problem for item in seen]
    assert problems[:8] == [None] * 8
    assert problems[-1] is Problem.STUCK
    assert "captured and wanted" in seen[-1].reason
    assert restart.remedies(seen[-1]) == (Remedy.RESTART,) * 3 + (Remedy.REPORT,)


@pytest.mark.parametrize(
    "then",
    [
        {"active": False},
        {"active": None},
        {"target_bitrate": 0.0},
        {"quality_limitation_reason": QualityLimitationReason.BANDWIDTH},
        {"frames_captured": 30 * 9},
    ],
)
def test_what_nobody_wants_or_the_way_cannot_carry_or_no_source_gives_is_not_stuck(then: dict[str, object]) -> None:
    assert {item.problem for item in healths(sent(30, stops_at=8, **then))} == {None}


@pytest.mark.parametrize(("available_bps", "problem"), [(100_000.0, None), (900_000.0, Problem.STUCK)])
def test_a_limited_video_is_stuck_where_the_way_out_carries_a_picture(
    available_bps: float, problem: Problem | None
) -> None:
    limited = sent(30, stops_at=8, quality_limitation_reason=QualityLimitationReason.BANDWIDTH)
    seen = healths([replace(item, available_bandwidth_bps=available_bps) for item in limited])
    assert seen[-1].problem is problem


def test_a_layer_that_is_wanted_again_after_a_while_is_given_time() -> None:
    snapshots = sent(30, stops_at=8, active=False)
    woken = [
        replace(item, stats=tuple(replace(stream, active=True) for stream in item.stats))
        if at >= 27 and isinstance(item.stats, tuple)
        else item
        for at, item in enumerate(snapshots)
    ]
    assert {item.problem for item in healths(woken)} == {None}


def test_packets_without_pictures_are_a_problem_of_their_own() -> None:
    camera = list(received("TR_camera", TrackKind.VIDEO, [0.0] * 20))
    last = camera[-1]
    assert isinstance(last.stats, InboundRtp)
    broken = [
        replace(
            last,
            timestamp=last.timestamp + at,
            stats=replace(
                last.stats,
                packets_received=last.stats.packets_received + 100 * at,
                bytes_received=last.stats.bytes_received + 100_000 * at,
            ),
        )
        for at in range(1, 15)
    ]
    seen = healths([*camera, *broken])
    assert seen[-1].problem is Problem.NO_PICTURE
    assert "no picture" in seen[-1].reason


def asking(plis: int, firs: int = 0) -> list[TrackSnapshot]:
    """A video that comes, and of which so many key frames are asked for in each second but the last."""
    found = []
    for at, snapshot in enumerate(received("TR_camera", TrackKind.VIDEO, [0.0] * 13)):
        asked = min(at, 12)
        assert isinstance(snapshot.stats, InboundRtp)
        stats = replace(snapshot.stats, pli_count=plis * asked, fir_count=firs * asked)
        found.append(replace(snapshot, stats=stats))
    return found


@pytest.mark.parametrize(("plis", "firs"), [(2, 0), (0, 2), (1, 1)])
def test_key_frames_asked_for_again_and_again_are_no_picture_though_frames_come(plis: int, firs: int) -> None:
    seen = healths(asking(plis, firs))
    assert [item.problem for item in seen[:2]] == [None, None], "twice is what a new subscription needs"
    assert {item.problem for item in seen[3:12]} == {Problem.NO_PICTURE}
    assert not any(item.flows for item in seen[3:12])
    assert seen[11].reason == "2 key frames asked for in a second, again and again"
    assert restart.remedies(seen[11])[0] is Remedy.RESTART
    assert (seen[12].problem, seen[12].flows) == (None, True), "none is asked for any more"


def test_one_key_frame_a_second_is_a_picture_that_comes() -> None:
    seen = healths(asking(1))
    assert {item.problem for item in seen} == {None}
    assert all(item.flows for item in seen)


def test_key_frames_that_others_ask_of_us_are_no_reason_to_publish_anew() -> None:
    own = [
        replace(item, stats=tuple(replace(stream, pli_count=8 * at) for stream in item.stats))
        if isinstance(item.stats, tuple)
        else item
        for at, item in enumerate(sent(20, stops_at=20))
    ]
    assert {item.problem for item in healths(own)} == {None}


def test_a_recorded_video_that_is_gone_after_its_restart_is_reported_and_never_given_up() -> None:
    twice = (Remedy.RESTART, Remedy.RESTART)
    assert restart.remedies(restart.vanished("video", keep_video=True)) == (*twice, Remedy.REPORT)
    assert restart.remedies(restart.vanished("video")) == (*twice, Remedy.AUDIO_ONLY, Remedy.REPORT)
