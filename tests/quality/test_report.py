"""The report of samples with known truth, and how it stays small."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quality.report import ParticipantReport, ReportBuilder, ReportedRecording, ReportedTrack, TrackReport
from quality.report_gathered import merged_participant
from quality.report_points import MAX_POINTS, MAX_WAITING, PAIRS_AT_ONCE, Points, Stretch, Thinning, merged
from quality.samples import ParticipantSample, TrackSample
from quality.score import ConnectionQuality, mean_opinion_score

START = 1_800_000_000.0
RECORDING = ReportedRecording("one", "lobby", "complete", START, START + 120)
CAMERA = ReportedTrack("TR_1", "camera", "video", "camera", "ada", "video/vp8", "tap")


def sample(at: float, score: float = 100.0, *, packets: int = 400, lost: int = 0) -> TrackSample:
    quality = ConnectionQuality.EXCELLENT if score > 80 else ConnectionQuality.GOOD
    return TrackSample(
        track_sid="TR_1",
        at=START + at,
        duration_s=2.0,
        score=score,
        score_min=score - 5,
        mos=mean_opinion_score(score),
        quality=quality,
        packets=packets,
        packets_lost=lost,
        bitrate_bps=1_000_000.0,
        fps=30.0,
        frame_width=1280,
        frame_height=720,
        freeze_s=0.5 if lost else 0.0,
    )


def person(at: float, score: float, server: ConnectionQuality | None, *, own: bool = False) -> ParticipantSample:
    quality = ConnectionQuality.EXCELLENT if score > 80 else ConnectionQuality.GOOD
    identity = "tap" if own else "ada"
    return ParticipantSample(identity, START + at, score, mean_opinion_score(score), quality, quality, own, server, 4.0)


def test_figures_are_those_of_the_samples() -> None:
    builder = ReportBuilder(START)
    assert builder.empty
    builder.add_track(CAMERA)
    for at in range(2, 62, 2):
        builder.add_sample(sample(at) if at <= 40 else sample(at, 60.0, packets=300, lost=100))
    track = builder.build(RECORDING).tracks[0]
    assert track.track == CAMERA
    assert (track.starts_at_s, track.ends_at_s, track.judged_s) == (0.0, 60.0, 60.0)
    assert (track.packets, track.packets_lost) == (20 * 400 + 10 * 300, 1000)
    assert track.loss_ratio == pytest.approx(1000 / 12_000)
    assert track.score == pytest.approx((20 * 100 + 10 * 60) / 30)
    assert (track.score_min, track.freeze_s) == (55.0, 5.0)
    assert track.fps == pytest.approx(30.0)
    assert track.qualities == {
        "excellent": pytest.approx(2 / 3),
        "good": pytest.approx(1 / 3),
        "poor": 0.0,
        "lost": 0.0,
    }
    assert [point.at_s for point in track.points] == [float(at) for at in range(2, 62, 2)]
    assert track.sizes == ("1280x720",)


def test_participants_are_compared_with_the_server_and_the_worst_speaks_for_the_recording() -> None:
    builder = ReportBuilder(START)
    builder.add_sample(sample(2))
    good, excellent, lost = ConnectionQuality.GOOD, ConnectionQuality.EXCELLENT, ConnectionQuality.LOST
    for at, server in ((2, None), (4, good), (6, excellent), (8, lost)):
        builder.add_participant(person(at, 70.0, server))
    builder.add_participant(person(2, 30.0, good, own=True))
    report = builder.build(RECORDING)
    ada, own = report.participants
    assert (ada.agreement.same, ada.agreement.adjacent, ada.agreement.further, ada.agreement.compared) == (1, 1, 1, 3)
    assert (report.agreement, own.own, own.agreement.same) == (own.agreement, True, 1), "of others it sees other ways"
    assert (report.score, report.quality) == (70.0, good), "what the recorder received is no participant"
    assert ada.server_qualities["lost"] == pytest.approx(1 / 3)
    assert ada.server_mos == 4.0
    nobody = ReportBuilder(START)
    nobody.add_sample(sample(2))
    assert nobody.build(RECORDING).quality is None


def test_a_participants_means_and_shares_are_over_the_time_however_rare_samples_were() -> None:
    builder = ReportBuilder(START)
    builder.add_sample(sample(2))
    busy = replace(person(30, 40.0, ConnectionQuality.LOST), duration_s=30.0, score_min=5.0, server_mos=1.0)
    calm = [person(30 + at, 100.0, ConnectionQuality.EXCELLENT) for at in range(2, 12, 2)]
    for each in (busy, *calm):
        builder.add_participant(each)
    (ada,) = builder.build(RECORDING).participants
    assert ada.score == pytest.approx((30 * 40 + 10 * 100) / 40)
    assert ada.score_min == 5.0
    assert ada.qualities["excellent"] == ada.server_qualities["excellent"] == pytest.approx(10 / 40)
    assert ada.server_mos == pytest.approx((30 * 1.0 + 10 * 4.0) / 40)
    assert (ada.agreement.compared, ada.agreement.same) == (6, 5), "of samples, as before"


def test_a_participant_that_was_lost_and_then_muted_has_the_lowest_score_of_when_it_was_heard() -> None:
    builder, silent = ReportBuilder(START), ReportBuilder(START)
    for each in (builder, silent):
        each.add_sample(sample(2))
        each.add_participant(replace(person(4, 10.0, None), muted=True))
    builder.add_participant(person(2, 60.0, None))
    (heard,), (muted,) = builder.build(RECORDING).participants, silent.build(RECORDING).participants
    assert (heard.score, heard.score_min) == (60.0, 60.0)
    assert (muted.score, muted.score_min) == (10.0, 10.0)


def test_a_participant_whose_samples_have_no_time_has_a_mean() -> None:
    builder = ReportBuilder(START)
    builder.add_sample(sample(2))
    builder.add_participant(replace(person(2, 70.0, None), duration_s=0.0))
    (ada,) = builder.build(RECORDING).participants
    assert ada.score == pytest.approx(70.0)


def test_a_day_has_no_more_points_than_an_hour_and_the_same_figures() -> None:
    builder = ReportBuilder(START)
    count = 24 * 1800
    for number in range(1, count + 1):
        builder.add_sample(sample(2 * number, 40.0 if number == 777 else 100.0, lost=number % 2))
        builder.add_participant(person(2 * number, 20.0 if number == 777 else 100.0, None))
    report = builder.build(RECORDING)
    track, ada = report.tracks[0], report.participants[0]
    assert MAX_POINTS <= len(track.points) <= 2 * MAX_POINTS
    assert (track.packets_lost, track.packets) == (count // 2, 400 * count)
    assert track.judged_s == pytest.approx(2.0 * count)
    assert track.score_min == 35.0
    assert sum(point.duration_s for point in track.points) == pytest.approx(2.0 * count)
    assert min(point.score_min for point in ada.points) == 20.0, "a bad moment does not vanish"


def add_up(parts: Sequence[int]) -> int:
    return sum(parts)


@dataclass
class Line:
    """A timeline of samples that are counted."""

    points: Points[int] = field(default_factory=lambda: Points(add_up))


class Lines(list[Line]):
    """Timelines that count how many of them were looked at."""

    looked_at = 0

    def __iter__(self) -> Iterator[Line]:
        self.looked_at += len(self)
        return super().__iter__()


def test_thousands_who_come_and_go_share_the_points_with_one_who_stays() -> None:
    thinning, host, lines = Thinning(6000), Line(), Lines()
    for guest in (host, *(Line() for _ in range(1500))):
        thinning.begin(guest)
        lines.append(guest)
        for line in (guest, host) * 60:
            line.points.add(1)
            thinning.added(lines)
        assert sum(len(line.points) for line in list.__iter__(lines)) <= 6000
    assert [sum(line.points.all) for line in lines[1:]] == [60] * 1500, "nothing is lost"
    assert len(host.points) > 100 * len(lines[-1].points) > 0
    assert lines.looked_at < 5 * 1500 * 120, "the work grows with the samples, and not with their square"


def test_of_more_timelines_than_points_each_keeps_a_few_at_no_more_cost() -> None:
    thinning, lines = Thinning(300), Lines()
    for _ in range(1000):
        thinning.begin(line := Line())
        lines.append(line)
    for line in [*list.__iter__(lines)] * 30:
        line.points.add(1)
        thinning.added(lines)
        assert max(len(each.points) for each in lines[:3]) <= 30
    assert sum(len(line.points) for line in list.__iter__(lines)) <= 3 * 1000
    assert lines.looked_at < 5 * 30_000
    assert sum(sum(line.points.all) for line in lines) == 30_000


def test_samples_of_a_point_that_stands_for_very_many_do_not_pile_up() -> None:
    sizes: list[int] = []

    def counted(parts: Sequence[int]) -> int:
        sizes.append(len(parts))
        return sum(parts)

    points = Points(counted)
    points.thin(4096)
    for _ in range(10_000):
        points.add(1)
    assert points.all == [4096, 4096, 10_000 - 2 * 4096]
    assert max(sizes) <= MAX_WAITING


def test_no_sample_has_a_thousand_points_put_together_at_once() -> None:
    merges = 0

    def counted(parts: Sequence[int]) -> int:
        nonlocal merges
        merges += 1
        return sum(parts)

    thinning, lines = Thinning(6000), [Line(Points(counted)) for _ in range(10)]
    for line in lines:
        thinning.begin(line)
    most, gone = 0, 1500
    for number in range(6000):
        for line in lines if number < gone else lines[:4]:
            before = merges
            line.points.add(1)
            thinning.added(lines)
            most = max(most, merges - before)
        assert sum(len(line.points) for line in lines) <= 6000 + len(lines)
    assert most <= 2 * PAIRS_AT_ONCE + 2, "an event loop adds them"
    assert [sum(line.points.all) for line in lines] == [6000] * 4 + [gone] * 6
    assert max(len(line.points.all) - len(line.points) for line in lines) == 0, "counted as if all were put together"


def test_tracks_and_participants_that_come_take_points_and_no_figures_from_the_others() -> None:
    builder, whole = ReportBuilder(START, most_points=200), ReportBuilder(START)
    people = [f"guest {number}" for number in range(30)]
    for number in range(1, 1501):
        at, guest = 2 * number, people[number // 50 % 30]
        score, lost = (40.0 if number % 99 == 7 else 100.0), number % 2
        said = person(at, score, ConnectionQuality.GOOD)
        muted = replace(sample(at, score, lost=lost), muted=number % 5 == 0, model_mos=4.0, level_dbfs=-20.0)
        for each in (builder, whole):
            for sid in ("TR_1", guest):
                each.add_sample(replace(muted, track_sid=sid))
            for identity in ("ada", guest):
                each.add_participant(replace(said, participant_identity=identity))
    thin, full = builder.build(RECORDING), whole.build(RECORDING)
    assert sum(len(item.points) for item in full.tracks) == 1500 + 750
    for lines in (thin.tracks, thin.participants):
        assert sum(len(item.points) for item in lines) <= 200
        assert min(len(item.points) for item in lines) >= 1
    host = next(item for item in thin.tracks if item.track.track_sid == "TR_1")
    assert len(host.points) > 10
    assert min(point.score_min for point in host.points) == 35.0, "a bad moment does not vanish"
    for ours, its in zip(thin.tracks, full.tracks, strict=True):
        assert figures_of(ours) == pytest.approx(figures_of(its))
    for our, other in zip(thin.participants, full.participants, strict=True):
        assert figures_of(our) == pytest.approx(figures_of(other))


def figures_of(item: TrackReport | ParticipantReport) -> dict[str, object]:
    """All that is said of it in one value, and its shares, without the points."""
    plain = {name: value for name, value in asdict(item).items() if not isinstance(value, dict | tuple | list)}
    return plain | dict(item.qualities)


def test_a_copy_does_not_change_with_what_is_added_later() -> None:
    builder = ReportBuilder(START)
    builder.add_track(CAMERA)
    for number in range(1, 1500):
        builder.add_sample(replace(sample(2 * number), patterns=("freeze",)))
        builder.add_participant(person(2 * number, 100.0, ConnectionQuality.GOOD))
    copied, before = builder.copy(), builder.build(RECORDING)
    builder.unreadable_lines = 1
    builder.add_track(replace(CAMERA, name="another"))
    builder.end_pattern("TR_1", "freeze", 3000.0)
    builder.add_sample(replace(sample(3002, 10.0), frame_width=1, track_sid="TR_1"))
    builder.add_sample(replace(sample(3002), track_sid="TR_2"))
    builder.add_participant(replace(person(3002, 1.0, ConnectionQuality.LOST), server_mos=1.0))
    assert copied.build(RECORDING) == before
    assert builder.build(RECORDING) != before


figures = st.floats(0, 100)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(figures, st.integers(0, 500), st.integers(0, 500)), min_size=2, max_size=20))
def test_merging_keeps_sums_and_means(seconds: list[tuple[float, int, int]]) -> None:
    samples = [sample(2 * n, score, packets=got, lost=lost) for n, (score, got, lost) in enumerate(seconds)]
    one = Stretch.of(samples[0])
    for each in samples[1:]:
        one = merged([one, Stretch.of(each)])
    whole = one.sample
    together = merged([Stretch.of(each) for each in samples]).sample
    assert together.packets == whole.packets
    assert together.score == pytest.approx(whole.score), "however they were taken together"
    assert whole.packets == sum(got for _, got, _ in seconds)
    assert whole.score == pytest.approx(sum(score for score, _, _ in seconds) / len(seconds))
    assert whole.score_min == min(each.score_min for each in samples)
    assert whole.at == samples[-1].at


def test_what_only_one_of_two_knows_is_kept() -> None:
    known = replace(sample(2), model_mos=4.0, level_dbfs=-20.0)
    both = merged([Stretch.of(known), Stretch.of(sample(4))]).sample
    assert (both.model_mos, both.level_dbfs, both.round_trip_time_s) == (4.0, -20.0, None)


IF_KNOWN = (
    "model_mos",
    "round_trip_time_s",
    "available_bandwidth_bps",
    "audio_level",
    "level_dbfs",
    "silent_ratio",
    "clipped_ratio",
    "black_ratio",
    "still_ratio",
)


@given(st.lists(st.tuples(st.sampled_from((0.0, 1.0, 2.0, 30.0)), st.none() | st.floats(0, 5)), min_size=1, max_size=9))
def test_means_are_over_the_time_in_which_a_figure_was_known(parts: list[tuple[float, float | None]]) -> None:
    samples = [replace(sample(9), duration_s=long, **dict.fromkeys(IF_KNOWN, value)) for long, value in parts]
    one = Stretch.of(samples[0])
    for each in samples[1:]:
        one = merged([one, Stretch.of(each)])
    known = [(long, value) for long, value in parts if value is not None]
    seconds = sum(long for long, _ in known)
    for name in IF_KNOWN:
        mean = getattr(one.sample, name)
        if seconds and name == "level_dbfs":
            assert 10 ** (mean / 10) == pytest.approx(sum(long * 10 ** (value / 10) for long, value in known) / seconds)
        elif seconds:
            assert mean == pytest.approx(sum(long * value for long, value in known) / seconds)
        else:
            assert (mean is None) == (not known)


def test_pauses_make_speech_no_whisper() -> None:
    speech, pause = (Stretch.of(replace(sample(2), level_dbfs=level)) for level in (-20.0, -127.0))
    assert merged([speech, pause, speech, pause]).sample.level_dbfs == pytest.approx(-23.0, abs=0.02)
    absurd = [Stretch.of(replace(sample(2), level_dbfs=level)) for level in (-1e9, -1e9)]
    assert merged(absurd).sample.level_dbfs == pytest.approx(-127.0)


@pytest.mark.parametrize("muted_samples", [0, 900, 9000])
def test_a_long_mute_does_not_weigh_in_what_was_heard(muted_samples: int) -> None:
    builder = ReportBuilder(START)
    heard = [replace(sample(2), model_mos=1.5, silent_ratio=1.0)] * 2
    muted = [replace(sample(2), muted=True)] * muted_samples
    heard_again = [replace(sample(2), model_mos=4.5, silent_ratio=0.0)] * 6
    for number, each in enumerate([*heard, *muted, *heard_again]):
        builder.add_sample(replace(each, at=START + 2 * number))
    (track,) = builder.build(RECORDING).tracks
    assert track.model_mos == pytest.approx((2 * 1.5 + 6 * 4.5) / 8)
    assert track.silent_ratio == pytest.approx(2 / 8)


def test_a_long_mute_does_not_weigh_in_a_tracks_figures() -> None:
    builder = ReportBuilder(START)
    for at in range(2, 602, 2):
        builder.add_sample(replace(sample(at, 35.0), jitter_buffer_delay_s=0.06))
    for at in range(602, 3602, 2):
        muted = replace(sample(at, 100.0, packets=0), muted=True, fps=0.0, bitrate_bps=0.0, jitter_buffer_delay_s=0.0)
        builder.add_sample(muted)
    report = builder.build(RECORDING)
    (track,) = report.tracks
    assert (track.score, track.fps, track.jitter_buffer_delay_s) == pytest.approx((35.0, 30.0, 0.06))
    assert (track.judged_s, track.ends_at_s, track.packets) == (600.0, 3600.0, 300 * 400)
    assert track.qualities["excellent"] == report.qualities["excellent"] == 0.0
    assert track.points[-1].muted


def test_points_of_what_was_muted_for_a_part_are_of_the_rest_of_it() -> None:
    muted = replace(sample(2, 100.0, packets=0), muted=True, fps=0.0, bitrate_bps=0.0, silent_ratio=1.0)
    heard = replace(sample(4, 40.0), silent_ratio=0.25)
    for parts in ((muted, heard, muted), (heard, muted, muted), (muted, muted, heard)):
        one = Stretch.of(parts[0])
        for each in parts[1:]:
            one = merged([one, Stretch.of(each)])
        both = merged([one, Stretch.of(replace(heard, score=70.0))]).sample
        assert (one.sample.muted, one.sample.score, one.sample.fps, one.sample.silent_ratio) == (
            False,
            40.0,
            30.0,
            0.25,
        )
        assert (one.sample.duration_s, one.sample.packets) == (6.0, 400)
        assert both.score == pytest.approx(55.0), "two seconds of each were heard"
    assert merged([Stretch.of(muted), Stretch.of(muted)]).sample.muted
    paused = replace(sample(2, 30.0), stream_paused=True)
    assert not merged([Stretch.of(sample(2)), Stretch.of(paused)]).sample.stream_paused
    assert merged([Stretch.of(paused), Stretch.of(paused)]).sample.stream_paused


def test_points_of_a_participant_keep_the_worst_word_of_either_side_and_the_mean_score() -> None:
    excellent, good, poor, lost = ConnectionQuality
    samples = [person(2, 90.0, lost), person(4, 60.0, excellent), replace(person(6, 100.0, None), muted=True)]
    one = merged_participant([replace(samples[0], quality=excellent), replace(samples[1], as_server_quality=poor)])
    both = merged_participant([one, samples[2]])
    assert (both.score, both.score_min) == pytest.approx((75.0, 60.0))
    assert (both.quality, both.as_server_quality, both.server_quality) == (good, poor, lost)
    assert (both.at, both.duration_s, both.muted) == (START + 6, 6.0, False)
    assert merged_participant([samples[2], samples[2]]).muted


def test_a_track_that_was_always_muted_has_figures_too_and_no_words() -> None:
    builder = ReportBuilder(START)
    builder.add_sample(replace(sample(2, packets=0), muted=True))
    (track,) = builder.build(RECORDING).tracks
    assert (track.score, track.judged_s, track.qualities) == (100.0, 2.0, {})


def test_time_in_which_all_that_a_participant_publishes_is_muted_weighs_in_none_of_its_figures() -> None:
    builder = ReportBuilder(START)
    builder.add_sample(sample(2))
    builder.add_participant(person(4, 60.0, ConnectionQuality.GOOD))
    for at in range(8, 408, 4):
        builder.add_participant(replace(person(at, 100.0, ConnectionQuality.EXCELLENT), muted=True))
    builder.add_participant(person(408, 50.0, ConnectionQuality.GOOD))
    report = builder.copy().build(RECORDING)
    (ada,) = report.participants
    assert report.score == ada.score == pytest.approx(55.0)
    assert ada.qualities["good"] == 1.0
    assert ada.agreement.compared == 102, "the server judges it all the same"
    always = ReportBuilder(START)
    always.add_sample(sample(2))
    always.add_participant(replace(person(4, 100.0, None), muted=True))
    (silent,) = always.build(RECORDING).participants
    assert (silent.score, silent.qualities) == (100.0, {})
