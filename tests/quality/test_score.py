"""The score against the server's published figures: levels, weights, smoothing, silence, mute, pause."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quality import score
from quality.score import ConnectionQuality, Score, ScoreState
from quality.stats import Direction, TrackKind, TrackSource
from quality.window import Window

WINDOW = Window(
    track_sid="TR_1",
    kind=TrackKind.VIDEO,
    source=TrackSource.CAMERA,
    direction=Direction.INBOUND,
    measured=True,
    duration_s=5.0,
    packets=1000,
)
SILENT = replace(WINDOW, packets=0)


def lossy(percent: float, *, duration_s: float = 5.0) -> Window:
    lost = round(10 * percent)
    return replace(WINDOW, packets=1000 - lost, packets_lost=lost, duration_s=duration_s)


def run(state: ScoreState, *windows: Window) -> tuple[ScoreState, Score]:
    now = 1_800_000_000.0
    result = None
    for window in windows:
        now += window.duration_s
        state, result = score.step(state, window, now)
    assert result is not None
    return state, result


def test_a_new_track_without_loss_is_excellent_without_reasons() -> None:
    _, result = run(score.start(TrackKind.VIDEO), WINDOW)
    assert result == Score(100.0, ConnectionQuality.EXCELLENT, 4.5, ())


@pytest.mark.parametrize(
    ("kind", "red", "fec", "good_at", "poor_at"),
    [
        # The percentages of loss at which the server's own comments say a track falls to GOOD and POOR.
        (TrackKind.AUDIO, False, False, 2.5, 7.5),
        (TrackKind.AUDIO, False, True, 3.75, 11.25),
        (TrackKind.AUDIO, True, False, 5.0, 15.0),
        (TrackKind.AUDIO, True, True, 7.5, 22.5),
        (TrackKind.VIDEO, False, False, 2.0, 6.0),
    ],
)
def test_loss_weights_reach_the_servers_levels(
    kind: TrackKind, red: bool, fec: bool, good_at: float, poor_at: float
) -> None:
    def settled(percent: float) -> ConnectionQuality:
        return run(score.start(kind, red=red, fec=fec), *[lossy(percent)] * 30)[1].quality

    assert settled(good_at - 0.2) is ConnectionQuality.EXCELLENT
    assert settled(good_at + 0.2) is ConnectionQuality.GOOD
    assert settled(poor_at - 0.2) is ConnectionQuality.GOOD
    assert settled(poor_at + 0.2) is ConnectionQuality.POOR


def test_the_score_falls_by_four_fifths_and_rises_by_two_fifths_of_the_way() -> None:
    state, fallen = run(score.start(TrackKind.VIDEO), lossy(5.0))
    assert fallen.value == pytest.approx(0.8 * 50 + 0.2 * 100)
    assert fallen.reasons == ("5.0% of packets lost",)
    _, risen = run(state, WINDOW)
    assert risen.value == pytest.approx(0.4 * 100 + 0.6 * 60)
    assert risen.reasons == ()


def test_five_short_windows_move_it_as_far_as_one_long_window() -> None:
    _, long = run(score.start(TrackKind.VIDEO), lossy(3.0))
    _, short = run(score.start(TrackKind.VIDEO), *[lossy(3.0, duration_s=1.0)] * 5)
    assert short.value == pytest.approx(long.value)


def test_the_worst_loss_stops_at_the_floor() -> None:
    _, result = run(score.start(TrackKind.VIDEO), *[lossy(90.0)] * 5)
    assert (result.value, result.quality) == (30.0, ConnectionQuality.POOR)


@pytest.mark.parametrize(("distance", "settled"), [(1, 65.0), (2, 30.0)])
def test_each_missed_layer_costs_one_level(distance: int, settled: float) -> None:
    _, result = run(score.start(TrackKind.VIDEO), *[replace(WINDOW, layer_distance=distance)] * 30)
    assert result.value == pytest.approx(settled)
    assert result.reasons == (f"received {distance} layer(s) below the requested one",)


def test_the_worse_of_loss_and_layer_decides_and_both_are_named() -> None:
    window = replace(lossy(5.0), layer_distance=1)
    _, result = run(score.start(TrackKind.VIDEO), *[window] * 30)
    assert result.value == pytest.approx(50.0)
    assert len(result.reasons) == 2


def test_silence_is_poor_at_once_and_lost_without_sender_reports() -> None:
    poor = run(score.start(TrackKind.VIDEO), SILENT)[1]
    assert (poor.value, poor.quality) == (40.0, ConnectionQuality.POOR)
    lost = run(score.start(TrackKind.VIDEO), replace(SILENT, sender_reports=0))[1]
    assert (lost.value, lost.quality) == (20.0, ConnectionQuality.LOST)
    alive = run(score.start(TrackKind.VIDEO), replace(SILENT, sender_reports=2))[1]
    assert alive.value == 40.0


def test_a_second_of_silence_is_no_verdict_yet() -> None:
    silent_second = replace(SILENT, duration_s=1.0, sender_reports=0)
    assert run(score.start(TrackKind.AUDIO), *[silent_second] * 4)[1].value == 100.0
    assert run(score.start(TrackKind.AUDIO), *[silent_second] * 5)[1].value == 20.0


def test_one_sender_report_within_the_silence_keeps_it_from_being_lost() -> None:
    silent_second = replace(SILENT, duration_s=1.0, sender_reports=0)
    windows = [silent_second] * 3 + [replace(silent_second, sender_reports=1)] + [silent_second] * 3
    assert run(score.start(TrackKind.AUDIO), *windows)[1].value == 40.0


@pytest.mark.parametrize("between", [{"muted": True}, {"stream_paused": True}])
def test_silence_before_a_mute_or_a_pause_does_not_count_after_it(between: dict[str, bool]) -> None:
    silent_second = replace(SILENT, duration_s=1.0, sender_reports=0)
    before = [silent_second] * 3 + [replace(silent_second, **between)]  # type: ignore[arg-type]  # fields of the test's own
    begun = run(score.start(TrackKind.AUDIO), *before)[1].value
    assert run(score.start(TrackKind.AUDIO), *before, *[silent_second] * 4)[1].value == begun
    assert run(score.start(TrackKind.AUDIO), *before, *[silent_second] * 5)[1].value == 20.0


def test_muted_is_excellent_but_does_not_heal_a_lost_track() -> None:
    muted = replace(SILENT, muted=True)
    bad, _ = run(score.start(TrackKind.VIDEO), lossy(50.0))
    assert run(bad, muted)[1] == Score(100.0, ConnectionQuality.EXCELLENT, 4.5, ())
    lost, _ = run(score.start(TrackKind.VIDEO), replace(SILENT, sender_reports=0))
    assert run(lost, muted)[1].quality is ConnectionQuality.LOST


def test_the_window_of_an_unmute_is_not_judged() -> None:
    _, result = run(score.start(TrackKind.VIDEO), replace(lossy(50.0), was_muted=True))
    assert result.value == 100.0


def test_a_pause_for_bandwidth_is_poor_at_once_and_climbs_back() -> None:
    state, paused = run(score.start(TrackKind.VIDEO), replace(SILENT, stream_paused=True))
    assert (paused.value, paused.quality) == (30.0, ConnectionQuality.POOR)
    assert paused.reasons == ("paused by the server for want of bandwidth",)
    assert run(state, WINDOW)[1].value == pytest.approx(0.4 * 100 + 0.6 * 30)


def test_a_reconnect_keeps_the_score() -> None:
    state, before = run(score.start(TrackKind.VIDEO), lossy(5.0))
    _, after = run(state, replace(SILENT, measured=False, duration_s=0.0))
    assert after.value == before.value


def test_nothing_sent_is_no_fault_of_a_published_track() -> None:
    assert run(score.start(TrackKind.VIDEO), *[replace(SILENT, direction=Direction.OUTBOUND)] * 3)[1].value == 100


def test_mean_opinion_score_follows_the_e_model() -> None:
    assert score.mean_opinion_score(0.0) == 1.0
    assert score.mean_opinion_score(60.0) == pytest.approx(3.1)
    assert score.mean_opinion_score(80.0) == pytest.approx(4.024)
    assert score.mean_opinion_score(100.0) == 4.5


@pytest.mark.parametrize(
    ("value", "quality"),
    [
        (80.1, ConnectionQuality.EXCELLENT),
        (80.0, ConnectionQuality.GOOD),
        (40.0, ConnectionQuality.POOR),
        (20.0, ConnectionQuality.LOST),
    ],
)
def test_levels_begin_above_their_bounds(value: float, quality: ConnectionQuality) -> None:
    assert score.connection_quality(value) is quality


def test_a_participant_is_as_good_as_its_worst_track() -> None:
    _, good = run(score.start(TrackKind.AUDIO), WINDOW)
    _, bad = run(score.start(TrackKind.VIDEO), lossy(9.0))
    assert score.worst((good, bad)) is bad
    assert score.worst(()) is None


windows = st.builds(
    lambda **fields: replace(WINDOW, **fields),
    packets=st.integers(0, 1000),
    packets_lost=st.integers(0, 1000),
    duration_s=st.floats(0.1, 30.0),
    muted=st.booleans(),
    was_muted=st.booleans(),
    stream_paused=st.booleans(),
    measured=st.booleans(),
    layer_distance=st.integers(0, 2),
    sender_reports=st.none() | st.integers(0, 3),
)


@settings(max_examples=50, deadline=None)
@given(st.lists(windows, min_size=1, max_size=20))
def test_any_trace_stays_on_the_scale_and_repeats(trace: list[Window]) -> None:
    state = again = score.start(TrackKind.VIDEO)
    now = 0.0
    for window in trace:
        now += window.duration_s
        state, result = score.step(state, window, now)
        again, repeated = score.step(again, window, now)
        assert 20.0 <= result.value <= 100.0
        assert 1.0 <= result.mos <= 4.5
        assert result.quality is score.connection_quality(result.value)
        assert repeated == result
