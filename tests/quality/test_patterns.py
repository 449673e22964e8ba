"""Patterns on seeded traces with known truth, by table, and what holds for any trace."""

from collections import Counter
from dataclasses import replace
from itertools import accumulate, islice

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quality import patterns
from quality.content import FULL_SCALE, ContentCounts
from quality.pattern_rules import kendall_tau
from quality.pattern_series import HISTORY_S, MAX_SAMPLES
from quality.patterns import Pattern, PatternChange, PatternState
from quality.stats import Direction, QualityLimitationReason, TrackKind, TrackSource, VideoQuality
from quality.window import Window
from tests.quality.calm_scenarios import CALM
from tests.quality.pattern_scenarios import TROUBLED
from tests.quality.pattern_scoring import run, tally, told
from tests.quality.pattern_traces import Build, trace
from tests.quality.traces import EPOCH, camera_window

HD = replace(camera_window(), frame_width=1280, frame_height=720, requested_quality=VideoQuality.HIGH)
SD = replace(HD, frame_width=640, frame_height=360, layer_distance=1, bytes=50_000, packets=60)
NOTHING = replace(HD, packets=0, bytes=0, frames=0, fps=0.0, frame_width=1280)
LOSSY = replace(HD, packets=190, packets_lost=10)
SENT = replace(HD, direction=Direction.OUTBOUND, requested_quality=None)
SPEECH = replace(
    HD, kind=TrackKind.AUDIO, source=TrackSource.MICROPHONE, requested_quality=None, packets=50, bytes=4_000, frames=0
)


def heard(level_dbfs: float, *, packet_bytes: int = 80) -> Window:
    """A second of sound of that level, in packets of any size."""
    energy = 4_800 * FULL_SCALE**2 * 10 ** (level_dbfs / 10)
    silent = 5 if level_dbfs <= -60 else 0
    return replace(SPEECH, bytes=50 * packet_bytes, content=ContentCounts(5, silent, 4_800, 0, energy))


LIMITED = {Pattern.NETWORK_LIMITED, Pattern.CPU_LIMITED, Pattern.PUBLISHER_LIMITED}


def drive(windows: list[Window]) -> tuple[PatternState, list[PatternChange]]:
    """One window right after the other; the changes of all."""
    ends = accumulate((window.duration_s for window in windows), initial=EPOCH)
    return run(zip(islice(ends, 1, None), windows, strict=True))


def alternate(changes: list[PatternChange], pattern: Pattern) -> bool:
    """Whether `pattern` begins, ends, begins and so on."""
    return all(change.began is (index % 2 == 0) for index, change in enumerate(of(changes, pattern)))


def of(changes: list[PatternChange], pattern: Pattern) -> list[PatternChange]:
    return [change for change in changes if change.pattern is pattern]


def began(windows: list[Window]) -> dict[Pattern, PatternChange]:
    """What was told to begin; each pattern at most once."""
    changes = [change for change in drive(windows)[1] if change.began]
    assert max(Counter(change.pattern for change in changes).values(), default=0) <= 1
    return {change.pattern: change for change in changes}


@pytest.mark.parametrize("build", CALM, ids=lambda build: build.__name__)
@pytest.mark.parametrize("seed", range(2))
def test_nothing_is_told_of_a_calm_track(build: Build, seed: int) -> None:
    assert tally([("", trace(build, seed))]).where == []


@pytest.mark.parametrize("build", TROUBLED, ids=lambda build: build.__name__)
def test_what_is_wrong_is_told_once_and_nothing_else(build: Build) -> None:
    result = tally([("", trace(build, 1))])
    assert result.where == []
    assert sum(result.hits.values()) == len(trace(build, 1).truths)
    assert sum(result.repeated.values()) == 0


@pytest.mark.parametrize("build", TROUBLED, ids=lambda build: build.__name__)
def test_what_was_told_to_begin_is_told_to_end_with_reason_and_numbers(build: Build) -> None:
    changes = told(trace(build, 1))
    for change in changes:
        assert change.reason
        assert not change.began or change.figures or change.reason.startswith("paused by the server")
    assert all(alternate(changes, pattern) for pattern in Pattern)


@pytest.mark.parametrize(
    ("windows", "pattern", "reason"),
    [
        ([LOSSY] * 8, Pattern.STEADY_LOSS, "5.0% of packets lost over 10 s, evenly"),
        (
            ([HD] * 6 + [replace(HD, packets=100, packets_lost=100)]) * 3,
            Pattern.LOSS_BURSTS,
            "12.5% of packets lost over 8 s, in 2 bursts of up to 50%",
        ),
        (
            [HD] * 10 + [replace(HD, jitter_s=0.004 * second) for second in range(15)],
            Pattern.GROWING_JITTER,
            "jitter grew from 0 to 32 ms within 15 s",
        ),
        (
            [HD] * 20 + [LOSSY] + [replace(LOSSY, bytes=60_000)] * 4,
            Pattern.BANDWIDTH_COLLAPSE,
            "bitrate fell from 1760 kb/s to 480 kb/s",
        ),
        (
            [HD] * 10 + ([SD] * 3 + [HD] * 3) * 3,
            Pattern.OSCILLATING_LAYERS,
            "picture swung 3 times between 230400 and 921600 pixels within 30 s",
        ),
        ([HD] * 10 + [replace(HD, freeze_count=1, freeze_s=1.4)], Pattern.FREEZE, "picture froze for 1.4 s"),
        ([HD] * 10 + [replace(HD, frames=0, fps=0.0)] * 2, Pattern.FREEZE, "no new picture for 2.0 s"),
        ([HD] * 10 + [NOTHING] * 5, Pattern.STUCK_TRACK, "nothing received for 5 s though it is not muted"),
        ([HD] * 10 + [replace(HD, frames=0, fps=0.0)] * 9, Pattern.STUCK_TRACK, "no picture for 8 s"),
        (
            [replace(SPEECH, packets=0, bytes=0, direction=Direction.OUTBOUND)] * 5,
            Pattern.STUCK_TRACK,
            "nothing sent for 5 s though it is not muted",
        ),
        (
            [replace(SPEECH, bytes=150)] * 10,
            Pattern.SILENT_TRACK,
            "not muted, but silent for 10 s (400 packets of 3 bytes)",
        ),
        ([heard(-90.3)] * 10, Pattern.SILENT_TRACK, "not muted, but silent for 10 s (-90 dBFS)"),
        (
            [SPEECH] * 5 + [replace(SPEECH, packets=0, bytes=0, sender_reports=1)] * 12,
            Pattern.SILENT_TRACK,
            "not muted, but silent for 10 s (no packets, but sender reports)",
        ),
        (
            [replace(HD, pli_count=1, key_frames=1)] * 6,
            Pattern.KEYFRAME_STORM,
            "6 key frame requests and 6 key frames within 10 s",
        ),
        (
            [HD] * 20 + [replace(LOSSY, packets_lost=40)] * 2 + [SD] * 6,
            Pattern.NETWORK_LIMITED,
            "640x360, 1 layer(s) below the requested one, since the network suffered",
        ),
        (
            [HD] * 20 + [replace(NOTHING, stream_paused=True)],
            Pattern.NETWORK_LIMITED,
            "paused by the server for want of bandwidth",
        ),
        (
            [SENT] * 10 + [replace(SENT, quality_limitation_reason=QualityLimitationReason.BANDWIDTH)] * 6,
            Pattern.NETWORK_LIMITED,
            "the encoder is held down by bandwidth",
        ),
        (
            [SENT] * 10 + [replace(SENT, quality_limitation_reason=QualityLimitationReason.CPU)] * 6,
            Pattern.CPU_LIMITED,
            "the encoder is held down by CPU",
        ),
        (
            [HD] * 10 + [replace(HD, frames=20, fps=20.0, frames_dropped=10)] * 6,
            Pattern.CPU_LIMITED,
            "11% of frames arrived and were not shown in time",
        ),
        (
            [HD] * 20 + [SD] * 6,
            Pattern.PUBLISHER_LIMITED,
            "640x360, 1 layer(s) below the requested one, though the network shows no distress",
        ),
        (
            [HD] * 30 + [replace(HD, frames=10, fps=10.0)] * 6,
            Pattern.PUBLISHER_LIMITED,
            "10 frames per second where about 29 are usual though the network shows no distress",
        ),
    ],
)
def test_each_pattern_has_a_sentence_of_its_own(windows: list[Window], pattern: Pattern, reason: str) -> None:
    assert began(windows)[pattern].reason == reason


@pytest.mark.parametrize(
    "windows",
    [
        pytest.param([HD] * 60, id="clean"),
        pytest.param(([HD] * 9 + [replace(HD, freeze_count=1, freeze_s=0.4)]) * 6, id="short-gaps"),
        pytest.param([HD] * 20 + [replace(HD, packets=150, packets_lost=50)] + [HD] * 30, id="one-accident"),
        pytest.param([HD] * 20 + [replace(HD, bytes=20_000, packets=40)] * 30, id="still-scene"),
        pytest.param([HD] * 20 + [NOTHING] + [HD] * 20, id="a-second-without"),
        pytest.param(
            [HD] * 30 + [replace(HD, fps=8.0, frames=8, bytes=60_000, requested_fps=10.0)] * 30, id="as-asked"
        ),
        pytest.param(
            [HD] * 9 + [replace(NOTHING, muted=True)] * 30 + [replace(HD, was_muted=True)] + [HD] * 20, id="mute"
        ),
        pytest.param([replace(HD, pli_count=2, key_frames=1)] + [HD] * 30, id="a-new-subscriber"),
        pytest.param([replace(HD, key_frames=1)] * 30, id="a-key-frame-each-second"),
        pytest.param([SD] * 8 + [HD] * 30, id="ramp-up"),
        pytest.param([replace(NOTHING, direction=Direction.OUTBOUND)] * 30, id="nobody-wants-the-sent-video"),
        pytest.param([replace(NOTHING, source=TrackSource.SCREEN_SHARE)] * 30, id="a-still-screen"),
        pytest.param([replace(SPEECH, packets=3, bytes=90)] * 30, id="a-quiet-room"),
        pytest.param([replace(HD, measured=False, duration_s=1.0)] * 30, id="nothing-measured"),
    ],
)
def test_what_people_would_not_call_a_fault_has_no_name(windows: list[Window]) -> None:
    assert drive(windows)[1] == []


def test_a_pattern_that_wavers_is_told_once() -> None:
    """Loss around its bound: more than gone, less than there, over and over."""
    below, above = replace(HD, packets=197, packets_lost=3), replace(HD, packets=195, packets_lost=5)
    _, changes = drive([HD] * 10 + ([above] * 10 + [below] * 10) * 6)
    assert [(change.pattern, change.began) for change in changes] == [(Pattern.STEADY_LOSS, True)]


def test_an_end_says_when_it_began_and_what_is_now() -> None:
    _, changes = drive([HD] * 20 + [LOSSY] * 20 + [HD] * 30)
    start, end = changes
    assert (start.pattern, start.began, start.began_at) == (Pattern.STEADY_LOSS, True, start.at)
    assert (end.pattern, end.began, end.began_at) == (Pattern.STEADY_LOSS, False, start.at)
    assert end.reason.endswith("of packets lost over 10 s")
    assert 40 + patterns.END_AFTER_S < end.at - EPOCH < 60
    assert {figure.name for figure in start.figures} == {"loss_ratio", "packets_lost", "dispersion"}
    assert next(figure.value for figure in start.figures if figure.name == "packets_lost") == 70


def test_what_was_usual_in_one_layer_is_not_asked_of_another() -> None:
    """The larger layer is back, with few of its frames at first, as servers give it."""
    few = replace(HD, frames=7, fps=7.0, bytes=90_000, packets=90)
    collapse = replace(HD, packets=100, packets_lost=60, frames=8, fps=8.0)
    _, changes = drive([HD] * 30 + [collapse] * 2 + [replace(SD, frames=20, fps=20.0)] * 20 + [few] * 12)
    assert Pattern.NETWORK_LIMITED in {change.pattern for change in changes if change.began}
    assert of(changes, Pattern.PUBLISHER_LIMITED) == []


def test_a_mute_ends_everything_at_once() -> None:
    state, changes = drive([HD] * 20 + [LOSSY] * 12 + [replace(NOTHING, muted=True)])
    assert [(change.pattern, change.began, change.reason) for change in changes[-1:]] == [
        (Pattern.STEADY_LOSS, False, "muted")
    ]
    assert (state.samples, state.active) == ((), ())


def test_a_reconnect_neither_ends_nor_begins_anything() -> None:
    unmeasured = replace(HD, measured=False, packets=0, bytes=0, frames=0, fps=0.0)
    _, without = drive([HD] * 20 + [LOSSY] * 20)
    _, with_it = drive([HD] * 20 + [LOSSY] * 12 + [unmeasured] * 2 + [LOSSY] * 8)
    assert [(change.pattern, change.began) for change in with_it] == [
        (change.pattern, change.began) for change in without
    ]


def test_a_collapse_that_stays_becomes_the_usual() -> None:
    _, changes = drive([HD] * 20 + [replace(LOSSY, bytes=60_000)] * 60)
    collapse = [change for change in changes if change.pattern is Pattern.BANDWIDTH_COLLAPSE]
    assert [change.began for change in collapse] == [True, False]
    assert collapse[1].reason == "bitrate has settled at 480 kb/s"


@pytest.mark.parametrize("level_dbfs", [-20.0, -69.0, -75.0])
def test_what_is_heard_is_not_silent_however_soft(level_dbfs: float) -> None:
    assert began([heard(level_dbfs)] * 60) == {}


def test_small_packets_are_silent_only_where_nothing_is_heard_in_them() -> None:
    assert set(began([heard(-75.0, packet_bytes=3)] * 20)) == {Pattern.SILENT_TRACK}
    assert began([heard(-40.0, packet_bytes=10)] * 20) == {}


@pytest.mark.parametrize(
    ("packet_bytes", "silent"),
    [(1, True), (3, True), (8, False), (12, False), (25, False)],
    ids=["digital", "digital with RED", "8 kb/s", "12 kb/s", "32 kb/s"],
)
def test_a_pause_of_the_encoder_is_no_dead_microphone(packet_bytes: int, silent: bool) -> None:
    """Measured with libopus in DTX, quiet rooms of -85 to -50 dBFS: 4.9 packets a second, of 9 to 35 bytes."""
    found = began([replace(SPEECH, packets=5, bytes=5 * packet_bytes)] * 20)
    assert (Pattern.SILENT_TRACK in found) == silent


def test_a_silence_that_was_heard_ends_with_sound_and_with_nothing_less() -> None:
    dead = [heard(-90.3)] * 15
    assert [change.began for change in drive(dead + [heard(-75.0)] * 20 + [SPEECH] * 9)[1]] == [True]
    changes = drive(dead + [heard(-30.0)] * 20)[1]
    assert [(change.began, change.reason) for change in changes[1:]] == [(False, "there is sound again, -30 dBFS")]


def test_a_silence_that_was_heard_ends_a_while_after_nobody_listens() -> None:
    """A recording that is paused decodes no sound. Small packets tell of silence without being heard."""
    dead = [heard(-90.3)] * 15
    (_, ended) = drive(dead + [SPEECH] * 30)[1]
    assert (ended.pattern, ended.began, ended.reason) == (Pattern.SILENT_TRACK, False, "not listened to for 10 s")
    assert 10.0 <= ended.at - (EPOCH + 15) <= 20.0
    assert [change.began for change in drive(dead + [replace(SPEECH, bytes=150)] * 30)[1]] == [True]
    assert [change.began for change in drive(dead + [replace(SPEECH, packets=0, bytes=0)] * 4)[1]] == [True]


def test_a_silence_without_reports_is_stuck_and_with_them_silent() -> None:
    quiet = replace(SPEECH, packets=0, bytes=0)
    assert set(began([SPEECH] * 5 + [replace(quiet, sender_reports=0)] * 20)) == {Pattern.STUCK_TRACK}
    assert set(began([SPEECH] * 5 + [quiet] * 20)) == {Pattern.STUCK_TRACK}
    assert set(began([SPEECH] * 5 + [replace(quiet, sender_reports=1)] * 20)) == {Pattern.SILENT_TRACK}


def test_a_screen_that_stands_still_is_stuck_only_once_two_reports_are_missing() -> None:
    screen = replace(HD, source=TrackSource.SCREEN_SHARE)
    still = replace(NOTHING, source=TrackSource.SCREEN_SHARE, sender_reports=0)
    reported = [still, still, replace(still, sender_reports=1)]
    assert began([screen] * 5 + reported * 20) == {}
    told = began([screen] * 5 + reported * 2 + [still] * 20)
    assert set(told) == {Pattern.STUCK_TRACK}
    assert 6.0 <= told[Pattern.STUCK_TRACK].at - (EPOCH + 11) <= 8.0


def test_a_screen_that_stops_after_a_lossy_second_is_no_collapse() -> None:
    stops = [HD] * 20 + [replace(HD, packets=180, packets_lost=20)] + [replace(HD, bytes=500)] * 10
    assert set(began(stops)) == {Pattern.BANDWIDTH_COLLAPSE}
    assert began([replace(window, source=TrackSource.SCREEN_SHARE) for window in stops]) == {}


def test_longer_windows_tell_the_same() -> None:
    """A poller that ticks every two seconds: the same patterns, at most two windows apart."""
    twice = replace(LOSSY, duration_s=2.0, packets=380, packets_lost=20, bytes=440_000, frames=60)
    clean = replace(HD, duration_s=2.0, packets=400, bytes=440_000, frames=60)
    short, long = began([HD] * 20 + [LOSSY] * 20), began([clean] * 10 + [twice] * 10)
    assert set(short) == set(long) == {Pattern.STEADY_LOSS}
    assert abs(short[Pattern.STEADY_LOSS].at - long[Pattern.STEADY_LOSS].at) <= 4.0


def test_kendall_tau_of_orders() -> None:
    assert kendall_tau([1.0, 2.0, 3.0]) == 1.0
    assert kendall_tau([3.0, 2.0, 1.0]) == -1.0
    assert kendall_tau([1.0, 1.0]) == 0.0
    assert kendall_tau([1.0, 3.0, 2.0]) == pytest.approx(1 / 3)


any_window = st.builds(
    lambda **fields: replace(HD, **fields),
    kind=st.just(TrackKind.VIDEO),
    duration_s=st.sampled_from([0.05, 0.5, 1.0, 1.0, 1.0, 2.0, 40.0]),
    measured=st.sampled_from([True, True, True, False]),
    muted=st.sampled_from([False] * 9 + [True]),
    stream_paused=st.sampled_from([False] * 7 + [True]),
    packets=st.integers(0, 400),
    packets_lost=st.sampled_from([0, 0, 0, 5, 60]),
    bytes=st.integers(0, 400_000),
    frames=st.integers(0, 60),
    fps=st.floats(0.0, 60.0),
    frames_dropped=st.sampled_from([0, 0, 10]),
    freeze_count=st.integers(0, 2),
    freeze_s=st.floats(0.0, 3.0),
    pli_count=st.integers(0, 3),
    jitter_s=st.floats(0.0, 0.2),
    frame_width=st.sampled_from([0, 320, 1280]),
    layer_distance=st.integers(0, 2),
    requested_quality=st.sampled_from([VideoQuality.HIGH] * 6 + [VideoQuality.LOW]),
    direction=st.just(Direction.INBOUND),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(any_window, min_size=1, max_size=80), st.sampled_from(TrackKind), st.sampled_from(Direction))
def test_on_any_trace_begins_and_ends_alternate_and_agree_with_the_state(
    windows: list[Window], kind: TrackKind, direction: Direction
) -> None:
    windows = [replace(window, kind=kind, direction=direction) for window in windows]
    state, changes = drive(windows)
    for pattern in Pattern:
        assert alternate(changes, pattern)
        assert (pattern in {active.pattern for active in state.active}) == (len(of(changes, pattern)) % 2 == 1)
    assert all(change.reason for change in changes if change.began)
    assert len(state.samples) <= MAX_SAMPLES
    assert not state.samples or state.samples[-1].at - state.samples[0].at < HISTORY_S
    assert drive(windows) == (state, changes)


@settings(max_examples=60, deadline=None)
@given(st.lists(any_window, min_size=1, max_size=80))
def test_on_any_trace_at_most_one_limit_begins_at_a_time(windows: list[Window]) -> None:
    begun_at = Counter(change.at for change in drive(windows)[1] if change.began and change.pattern in LIMITED)
    assert max(begun_at.values(), default=0) <= 1


def test_short_windows_do_not_grow_the_state() -> None:
    state, _ = drive([replace(HD, duration_s=0.01, packets=2, bytes=2_000, frames=1)] * (MAX_SAMPLES + 50))
    assert len(state.samples) == MAX_SAMPLES
