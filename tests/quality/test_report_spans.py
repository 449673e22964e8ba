"""When patterns held, by events and by samples: pauses, tracks that go and come, writers that are killed."""

from dataclasses import replace
from itertools import pairwise

from quality.report import ReportBuilder, TrackReport
from quality.report_html import render
from quality.report_spans import MOST_SPANS, UNTOLD, PatternSpan
from tests.quality.test_report import CAMERA, RECORDING, START, sample


def span(pattern: str, began_at_s: float) -> PatternSpan:
    return PatternSpan("TR_1", "ada", pattern, began_at_s, began_at_s, False, "why", {"loss_ratio": 0.1})


def builder_of(*samples: tuple[int, tuple[str, ...]]) -> ReportBuilder:
    """A builder after samples of two seconds up to each time, which have seen these patterns."""
    builder = ReportBuilder(START)
    builder.add_track(CAMERA)
    add(builder, *samples)
    return builder


def add(builder: ReportBuilder, *samples: tuple[int, tuple[str, ...]]) -> None:
    for at, patterns in samples:
        builder.add_sample(replace(sample(at), patterns=patterns))


def track_of(builder: ReportBuilder) -> TrackReport:
    (track,) = builder.build(RECORDING).tracks
    return track


def times(builder: ReportBuilder) -> list[tuple[float, float, bool]]:
    return [(each.began_at_s, each.ended_at_s, each.told_end) for each in track_of(builder).patterns]


def test_patterns_have_their_times_and_one_that_never_ended_ends_with_its_track() -> None:
    builder = builder_of((2, ()))
    builder.begin_pattern(span("freeze", 3.0))
    add(builder, (4, ("freeze",)), (8, ("freeze",)))
    builder.end_pattern("TR_1", "freeze", 9.0)
    add(builder, (10, ("freeze",)))
    builder.begin_pattern(span("steady_loss", 12.0))
    builder.end_pattern("TR_1", "silent_track", 13.0)
    builder.end_pattern("TR_9", "freeze", 13.0)
    builder.begin_pattern(replace(span("freeze", 1.0), track_sid="TR_never_judged"))
    add(builder, (14, ("steady_loss",)), (30, ("steady_loss",)))
    report = builder.build(RECORDING)
    freeze, loss = report.tracks[0].patterns
    assert (freeze.began_at_s, freeze.ended_at_s, freeze.told_end) == (3.0, 9.0, True), (
        "it ended within its last sample"
    )
    assert (loss.began_at_s, loss.ended_at_s, loss.told_end) == (12.0, 30.0, False)
    assert report.patterns == {"freeze": 1, "steady_loss": 1}


def test_a_track_that_was_gone_comes_back_without_its_patterns() -> None:
    builder = builder_of((2, ()))
    builder.begin_pattern(span("steady_loss", 3.0))
    add(builder, (4, ("steady_loss",)), (6, ("steady_loss",)), (8, ()), (1800, ()))
    assert times(builder) == [(3.0, 6.0, True)]
    assert track_of(builder).patterns[0].reason == "why"
    assert "to the end" not in render(builder.build(RECORDING))


def test_a_pattern_that_ended_in_a_pause_held_up_to_the_pause() -> None:
    builder = builder_of((2, ()))
    builder.begin_pattern(span("steady_loss", 60.0))
    add(builder, (68, ("steady_loss",)), (70, ("steady_loss",)), (202, ()), (300, ()))
    assert times(builder) == [(60.0, 70.0, True)]


def test_a_pattern_that_began_in_a_pause_is_seen_from_its_end_on() -> None:
    builder = builder_of((70, ()), (202, ("freeze",)), (204, ("freeze",)), (2000, ("freeze",)))
    assert times(builder) == [(200.0, 2000.0, False)]
    (freeze,) = track_of(builder).patterns
    assert (freeze.pattern, freeze.participant_identity, freeze.reason) == ("freeze", "ada", UNTOLD)
    builder.end_pattern("TR_1", "freeze", 2001.0)
    add(builder, (2002, ("freeze",)), (2004, ()))
    assert times(builder) == [(200.0, 2001.0, True)]
    assert builder.build(RECORDING).patterns == {"freeze": 1}
    assert "None was seen" not in render(builder.build(RECORDING))


def test_a_pattern_that_begins_again_after_its_writer_was_killed_leaves_the_first() -> None:
    builder = builder_of((2, ()))
    builder.begin_pattern(span("steady_loss", 3.0))
    add(builder, (12, ("steady_loss",)))
    builder.begin_pattern(span("steady_loss", 100.0))
    add(builder, (110, ("steady_loss",)))
    assert times(builder) == [(3.0, 12.0, True), (100.0, 110.0, False)]
    first = ReportBuilder(START)
    first.begin_pattern(span("steady_loss", 3.0))
    first.begin_pattern(span("steady_loss", 10.0))
    add(first, (12, ("steady_loss",)))
    assert times(first) == [(3.0, 3.0, True), (10.0, 12.0, False)], "killed before its first sample"


def test_a_pattern_that_ends_and_begins_within_one_sample_is_two() -> None:
    builder = builder_of((2, ()))
    builder.begin_pattern(span("freeze", 3.0))
    builder.end_pattern("TR_1", "freeze", 5.0)
    builder.begin_pattern(span("freeze", 7.0))
    add(builder, (12, ("freeze",)), (14, ("freeze",)))
    assert times(builder) == [(3.0, 5.0, True), (7.0, 14.0, False)]


def test_of_very_many_patterns_neighbours_become_one_and_their_number_stays_exact() -> None:
    builder = builder_of((2, ()))
    pairs = 3 * MOST_SPANS
    for number in range(pairs):
        for pattern, at_s in (("freeze", 10.0 * number), ("steady_loss", 10.0 * number + 4)):
            builder.begin_pattern(span(pattern, at_s))
            builder.end_pattern("TR_1", pattern, at_s + 2)
    add(builder, (10 * pairs, ()))
    report = builder.build(RECORDING)
    spans = report.tracks[0].patterns
    assert report.patterns == {"freeze": pairs, "steady_loss": pairs}
    assert MOST_SPANS <= len(spans) < 2 * MOST_SPANS
    assert [each.began_at_s for each in spans] == sorted(each.began_at_s for each in spans)
    freezes = [each for each in spans if each.pattern == "freeze"]
    assert (freezes[0].began_at_s, freezes[-1].ended_at_s) == (0.0, 10.0 * (pairs - 1) + 2)
    assert all(before.ended_at_s < after.began_at_s for before, after in pairwise(freezes))
    assert freezes[0].count > 1
    assert f"freeze ({freezes[0].count} times)" in render(report)
