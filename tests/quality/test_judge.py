"""One step a second: score, models and patterns together, participants beside the server, samples of some seconds."""

import itertools
from collections.abc import Collection
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quality import judge
from quality.content import ContentCounts
from quality.judge import Coding, Judgement
from quality.participants import Agreement, ParticipantJudgement, ServerOpinion, agreement, judge_participants
from quality.patterns import Pattern
from quality.samples import participant_sample, track_sample
from quality.score import ConnectionQuality, Score, mean_opinion_score
from quality.stats import InboundRtp, TrackKind, TrackSnapshot, TrackSource
from quality.video_model import VideoCodec
from quality.window import Window, combined, delta
from tests.quality.traces import EPOCH, camera_window, received

VP8 = Coding(VideoCodec.VP8)
PLAIN = Coding()


def judged(snapshots: tuple[TrackSnapshot, ...], coding: Coding = VP8) -> list[Judgement]:
    state, found = judge.start(snapshots[0], coding), []
    for snapshot in snapshots[1:]:
        state, judgement = judge.step(state, snapshot, snapshot.timestamp)
        found.append(judgement)
    return found


@pytest.mark.parametrize(
    ("mime_type", "coding"),
    [
        ("video/VP8", Coding(VideoCodec.VP8)),
        ("video/av1", Coding(VideoCodec.AV1)),
        ("audio/red", Coding(None, red=True)),
        ("audio/opus", Coding()),
        ("audio/vp8", Coding()),
        ("video/future", Coding()),
        ("", Coding()),
    ],
)
def test_the_coding_is_what_the_mime_type_says(mime_type: str, coding: Coding) -> None:
    assert judge.coding_of(mime_type) == coding
    after = judge.coding_of(mime_type, repaired=True)
    assert (after.red, after.mends) == (coding.red, False)


def test_a_clean_camera_is_excellent_by_both_and_has_no_pattern() -> None:
    found = judged(received("TR", TrackKind.VIDEO, [0.0] * 20))
    assert [item.model is None for item in found[:3]] == [True, True, False], "three seconds tell something"
    for judgement in found[2:]:
        assert (judgement.score.quality, judgement.patterns) == (ConnectionQuality.EXCELLENT, ())
        assert judgement.model is not None
        assert judgement.model.mos > 4.2


def test_loss_lowers_score_and_models_and_is_named_once() -> None:
    for kind in TrackKind:
        found = judged(received("TR", kind, [0.0] * 10 + [0.1] * 20 + [0.0] * 30))
        changes = [change for judgement in found for change in judgement.changes]
        steady = [change for change in changes if change.pattern is Pattern.STEADY_LOSS]
        assert [change.began for change in steady] == [True, False]
        assert found[5].score.value > found[25].score.value
        assert found[25].score.reasons[0].startswith("10.0% of packets lost")
        assert Pattern.STEADY_LOSS in {active.pattern for active in found[25].patterns}
        assert found[-1].score.quality is ConnectionQuality.EXCELLENT


def test_speech_that_loses_packets_is_heard_to() -> None:
    found = judged(received("TR", TrackKind.AUDIO, [0.0] * 10 + [0.1] * 10), Coding())
    clean, lossy = found[5].model, found[-1].model
    assert clean is not None
    assert lossy is not None
    assert lossy.mos < clean.mos - 1
    assert any(reason.startswith("10.0% of packets lost") for reason in lossy.reasons)


def heard(losses: list[float], coding: Coding = PLAIN, **last: float) -> tuple[str, ...]:
    """What is told of speech at 32 kb/s on the wire; `last` are counters of the last second."""
    snapshots = received("TR", TrackKind.AUDIO, losses, packets=50, packet_bytes=80)
    stats = snapshots[-1].stats
    assert isinstance(stats, InboundRtp)
    ended = replace(snapshots[-1], stats=replace(stats, **last))  # type: ignore[arg-type]  # fields of the test's own
    model = judged((*snapshots[:-1], ended), coding)[-1].model
    assert model is not None
    return model.reasons


def told(reasons: tuple[str, ...], start: str) -> bool:
    return any(reason.startswith(start) for reason in reasons)


def test_losses_in_bursts_are_heard_as_such() -> None:
    assert told(heard([0.1] * 40), "10.0% of packets lost:")
    (lost,) = [reason for reason in heard([0.0, 0.0, 0.0, 0.0, 0.5] * 8) if "lost" in reason]
    assert lost.startswith("10.0% of packets lost in bursts (")


def test_bursts_are_those_of_the_last_half_minute() -> None:
    in_bursts = [0.0, 0.0, 0.0, 0.0, 0.5]
    assert "in bursts" in str(heard(in_bursts * 6 + [0.1] * 20))
    assert "in bursts" not in str(heard(in_bursts * 6 + [0.1] * 35))


def test_the_way_there_and_back_and_the_jitter_buffer_are_heard_as_delay() -> None:
    calm = [0.0] * 10
    assert not told(heard(calm), "230")
    assert told(heard(calm, round_trip_time=0.407), "230 ms from mouth to ear")
    # Five seconds count, of which the last has the delay.
    buffered = heard(calm, round_trip_time=0.407, jitter_buffer_delay=500.0, jitter_buffer_emitted_count=1000)
    assert told(buffered, "330 ms from mouth to ear")


def test_half_of_what_redundant_sound_takes_is_the_codecs() -> None:
    assert told(heard([0.0] * 10), "Opus at 32 kb/s")
    assert told(heard([0.0] * 10, Coding(red=True)), "Opus at 16 kb/s")
    assert told(heard([0.0] * 10, Coding(red=True, repaired=True)), "Opus at 16 kb/s"), "also where this end mended"


def test_redundancy_mends_half_of_the_losses_that_are_told_before_it() -> None:
    points = [
        int(reason.rpartition(": ")[2].removesuffix(" points"))
        for coding in (PLAIN, Coding(red=True))
        for reason in heard([0.1] * 20, coding)
        if "lost" in reason
    ]
    plain, redundant = points
    assert redundant < 0.75 * plain


def test_the_bitrate_of_speech_is_that_of_its_loudest_second() -> None:
    loud = received("TR", TrackKind.AUDIO, [0.0] * 5, packets=50, packet_bytes=80)
    pause = received("TR", TrackKind.AUDIO, [0.0] * 8, packets=50, packet_bytes=30)
    before = loud[-1].stats
    assert isinstance(before, InboundRtp)
    after = []
    for snapshot in pause[1:]:
        stats = snapshot.stats
        assert isinstance(stats, InboundRtp)
        grown = replace(
            stats,
            packets_received=before.packets_received + stats.packets_received,
            bytes_received=before.bytes_received + stats.bytes_received,
            reports_sent=None,
        )
        after.append(replace(snapshot, timestamp=snapshot.timestamp + 5, stats=grown))
    model = judged((*loud, *after), PLAIN)[-1].model
    assert model is not None
    assert told(model.reasons, "Opus at 32 kb/s")


def spoken(seconds: list[tuple[int, int, int]]) -> tuple[TrackSnapshot, ...]:
    """Seconds of sound: packets that came, that were lost, and bytes of each."""
    stats = InboundRtp(ssrc=7)
    snapshots = [TrackSnapshot("TR", TrackKind.AUDIO, TrackSource.MICROPHONE, EPOCH, stats)]
    for at, (packets, lost, size) in enumerate(seconds, 1):
        stats = replace(
            stats,
            packets_received=stats.packets_received + packets,
            packets_lost=stats.packets_lost + lost,
            bytes_received=stats.bytes_received + packets * size,
        )
        snapshots.append(TrackSnapshot("TR", TrackKind.AUDIO, TrackSource.MICROPHONE, EPOCH + at, stats))
    return tuple(snapshots)


def test_who_says_a_word_now_and_then_is_not_taken_for_a_low_bitrate() -> None:
    """With discontinuous transmission, 0.4 s at 32 kb/s among pauses are 13 kb/s in their second."""
    pause, word, speech = (3, 0, 20), (22, 0, 75), (50, 0, 45)
    listener = judged(spoken(([word] + [pause] * 9) * 3), PLAIN)[-1].model
    assert listener is not None
    assert not told(listener.reasons, "Opus at")
    speaker = judged(spoken([speech, word, pause] * 3), PLAIN)[-1].model
    assert speaker is not None
    assert told(speaker.reasons, "Opus at 18 kb/s"), "of the second without a pause"


def test_lost_packets_are_no_lower_bitrate_of_what_is_spoken() -> None:
    model = judged(spoken([(25, 25, 80)] * 10), PLAIN)[-1].model
    assert model is not None
    assert told(model.reasons, "Opus at 32 kb/s")
    assert told(model.reasons, "50.0% of packets lost")


def seconds_of_video(seconds: list[InboundRtp], muted: Collection[int] = ()) -> tuple[TrackSnapshot, ...]:
    """A camera whose counters rise by those of `seconds`; frame sizes are as they say. It is `muted` at those ends."""
    total = InboundRtp(ssrc=7, frame_width=seconds[0].frame_width, frame_height=seconds[0].frame_height)
    snapshots = [TrackSnapshot("TR", TrackKind.VIDEO, TrackSource.CAMERA, EPOCH, total)]
    for at, second in enumerate(seconds, 1):
        total = replace(
            second,
            packets_received=total.packets_received + second.packets_received,
            bytes_received=total.bytes_received + second.bytes_received,
            frames_received=total.frames_received + second.frames_received,
            freeze_count=total.freeze_count + second.freeze_count,
            total_freezes_duration=total.total_freezes_duration + second.total_freezes_duration,
        )
        camera = TrackSnapshot("TR", TrackKind.VIDEO, TrackSource.CAMERA, EPOCH + at, total, muted=at in muted)
        snapshots.append(camera)
    return tuple(snapshots)


LOW = InboundRtp(
    ssrc=7, packets_received=25, bytes_received=20_000, frames_received=30, frame_width=320, frame_height=180
)
HIGH = InboundRtp(
    ssrc=7, packets_received=200, bytes_received=212_500, frames_received=30, frame_width=1280, frame_height=720
)


@pytest.mark.parametrize(("before", "after"), [(LOW, HIGH), (HIGH, LOW)])
def test_another_layer_is_judged_by_its_own_bits(before: InboundRtp, after: InboundRtp) -> None:
    """The second of the change has frames of both."""
    half = (before.bytes_received + after.bytes_received) // 2
    found = judged(seconds_of_video([before] * 6 + [replace(after, bytes_received=half)] + [after] * 6))
    settled = found[-1].model
    assert settled is not None
    assert [judgement.model for judgement in found[7:]] == [settled] * 6


def test_the_time_of_a_mute_is_no_freeze() -> None:
    """A key frame takes a second to come, and the receiver counts all the time since the picture before."""
    none = replace(HIGH, packets_received=0, bytes_received=0, frames_received=0)
    back = replace(HIGH, freeze_count=1, total_freezes_duration=5.2)
    seconds = [HIGH] * 6 + [none] * 5 + [back] + [HIGH] * 8 + [replace(back, total_freezes_duration=0.7)]
    found = judged(seconds_of_video(seconds, muted=range(7, 11)))
    assert [judgement.window.freeze_s for judgement in found[:-1]] == [0.0] * 20
    assert found[-1].window.freeze_s == pytest.approx(0.7), "what comes later is one"
    modelled = [judgement.model for judgement in found[:-1] if judgement.model is not None]
    assert len(modelled) == 11
    assert min(model.mos for model in modelled) == modelled[0].mos


def test_nothing_is_modelled_that_is_muted_paused_sent_or_of_an_unknown_codec() -> None:
    snapshots = received("TR", TrackKind.VIDEO, [0.0] * 5)
    assert all(item.model is None for item in judged(snapshots, Coding()))
    for change in ({"muted": True}, {"stream_paused": True}):
        held = (*snapshots[:-1], replace(snapshots[-1], **change))  # type: ignore[arg-type]  # fields of the test's own
        assert judged(held)[-1].model is None
    paused = judged((*snapshots[:-1], replace(snapshots[-1], stream_paused=True)))[-1]
    assert paused.score.reasons == ("paused by the server for want of bandwidth",)


def test_patterns_end_with_their_track() -> None:
    snapshots = received("TR", TrackKind.VIDEO, [0.1] * 15)
    state = judge.start(snapshots[0], VP8)
    for snapshot in snapshots[1:]:
        state, _ = judge.step(state, snapshot, snapshot.timestamp)
    (ended,) = [item for item in judge.end(state, EPOCH + 16) if item.pattern is Pattern.STEADY_LOSS]
    assert (ended.began, ended.at, ended.reason) == (False, EPOCH + 16, "track ended")


def test_what_was_mended_lowers_only_the_score_that_counts_as_the_server() -> None:
    def mended(snapshot: TrackSnapshot) -> TrackSnapshot:
        assert isinstance(snapshot.stats, InboundRtp)
        lost = snapshot.stats.packets_lost
        again = snapshot.stats.packets_received + lost  # by retransmission
        return replace(
            snapshot, stats=replace(snapshot.stats, packets_received=again, packets_lost=0, packets_repaired=lost)
        )

    snapshots = received("TR", TrackKind.VIDEO, [0.05] * 20)
    raw, repaired = judged(snapshots)[-1], judged(tuple(mended(item) for item in snapshots))[-1]
    assert repaired.score.quality is ConnectionQuality.EXCELLENT
    assert repaired.patterns == ()
    assert repaired.as_server.quality is raw.score.quality is ConnectionQuality.GOOD
    assert repaired.as_server.value == pytest.approx(raw.as_server.value)


def test_a_counter_reset_costs_a_second_and_no_verdict() -> None:
    snapshots = received("TR", TrackKind.VIDEO, [0.0] * 10)

    def renewed(snapshot: TrackSnapshot) -> TrackSnapshot:
        assert isinstance(snapshot.stats, InboundRtp)
        return replace(snapshot, stats=replace(snapshot.stats, ssrc=8))

    restarted = [renewed(item) for item in received("TR", TrackKind.VIDEO, [0.0] * 5)]
    shifted = [replace(item, timestamp=EPOCH + 11 + second) for second, item in enumerate(restarted)]
    found = judged((*snapshots, *shifted))
    assert [item.at for item in found if not item.window.measured] == [EPOCH + 11]
    assert all(item.score.value == 100.0 for item in found)


def score_of(value: float) -> Score:
    quality = ConnectionQuality.EXCELLENT if value > 80 else ConnectionQuality.POOR
    return Score(value, quality, mean_opinion_score(value))


def test_a_participant_is_its_worst_track_and_this_end_is_all_of_them() -> None:
    tracks = [
        Judgement("TR_1", 5.0, camera_window(), score_of(95), score_of(95 - 10)),
        Judgement("TR_2", 5.0, camera_window(), score_of(35), score_of(35 - 10)),
        Judgement("TR_3", 5.0, camera_window(), score_of(90), score_of(90 - 10)),
    ]
    publisher_of = {"TR_1": "ada", "TR_2": "ada", "TR_3": "bob"}
    opinions = {"ada": ServerOpinion(ConnectionQuality.GOOD, 3.5)}
    ada, bob, own = judge_participants(tracks, publisher_of, "tap", opinions, 5.0)
    assert (ada.participant_identity, ada.score.value, ada.own, ada.server) == ("ada", 35, False, opinions["ada"])
    assert ada.as_server.value == 25
    assert not ada.muted
    silent = [replace(each, window=replace(each.window, muted=each.track_sid != "TR_1")) for each in tracks]
    said = judge_participants(silent, publisher_of, "tap", opinions, 5.0)
    assert [each.muted for each in said] == [False, True, False], "who shows something is not muted"
    assert (bob.score.value, bob.server) == (90, None)
    assert (own.participant_identity, own.score.value, own.own) == ("tap", 35, True)
    assert judge_participants([], {}, "tap", opinions, 5.0) == ()
    left = judge_participants(tracks, publisher_of, "", opinions, 5.0)
    assert [each.participant_identity for each in left] == ["ada", "bob"], "an end that left has no name"


def test_agreement_counts_levels() -> None:
    excellent, good, poor, lost = ConnectionQuality
    assert agreement(good, good) is Agreement.SAME
    assert agreement(excellent, good) is agreement(lost, poor) is Agreement.ADJACENT
    assert agreement(excellent, poor) is agreement(lost, excellent) is Agreement.FURTHER


def test_a_sample_sums_up_its_seconds_and_keeps_the_worst() -> None:
    shown = [ContentCounts(pictures=n, black=n // 2) for n in range(5)]
    snapshots = received("TR", TrackKind.VIDEO, [0.0, 0.0, 0.1, 0.0])
    found = judged(tuple(replace(item, content=seen) for item, seen in zip(snapshots, shown, strict=True)))
    sample = track_sample(found[:3])
    assert (sample.packets, sample.packets_lost, sample.duration_s) == (580, 20, 3.0)
    assert sample.loss_ratio == pytest.approx(20 / 600)
    assert sample.score_min == found[2].score.value < sample.score < 100.0
    assert sample.reasons == found[2].score.reasons
    assert (sample.fps, sample.frame_width, sample.requested_quality) == (30.0, 1280, "high")
    assert sample.black_ratio == pytest.approx(1 / 3)
    assert sample.level_dbfs is None
    mine = ParticipantJudgement("ada", 1.0, score_of(95), score_of(35), server=ServerOpinion(ConnectionQuality.GOOD))
    before = replace(mine, at=0.0, score=score_of(30), as_server=score_of(95))
    kept = participant_sample([before, mine], 3.0)
    assert (kept.at, kept.score, kept.score_min, kept.duration_s) == (1.0, 62.5, 30.0, 3.0)
    assert kept.mos == mean_opinion_score(62.5)
    assert not kept.muted
    heard = participant_sample([replace(before, muted=True), mine], 3.0)
    assert (heard.score, heard.score_min, heard.muted) == (95.0, 95.0, False), "of when it was not muted"
    assert participant_sample([replace(mine, muted=True)], 1.0).muted
    assert (kept.quality, kept.as_server_quality, kept.server_quality) == (
        ConnectionQuality.EXCELLENT,
        ConnectionQuality.POOR,
        ConnectionQuality.GOOD,
    )


counts = st.integers(0, 10_000)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(counts, counts, counts), min_size=1, max_size=8))
def test_windows_combined_count_what_one_window_over_all_of_them_counts(gains: list[tuple[int, int, int]]) -> None:
    start = received("TR", TrackKind.VIDEO, [])[0]
    snapshots = [start]
    for second, (packets, lost, frames) in enumerate(gains, start=1):
        stats = snapshots[-1].stats
        assert isinstance(stats, InboundRtp)
        grown = replace(
            stats,
            packets_received=stats.packets_received + packets,
            packets_lost=stats.packets_lost + lost,
            frames_received=stats.frames_received + frames,
        )
        snapshots.append(replace(start, timestamp=EPOCH + second, stats=grown))
    parts = [delta(before, after) for before, after in itertools.pairwise(snapshots)]
    whole = delta(snapshots[0], snapshots[-1])
    together = combined(parts)
    assert (together.packets, together.packets_lost, together.frames) == (
        whole.packets,
        whole.packets_lost,
        whole.frames,
    )
    assert together.duration_s == pytest.approx(whole.duration_s)
    assert together.fps == pytest.approx(whole.fps)


def test_what_was_not_measured_is_left_out_of_a_combination() -> None:
    good = camera_window(packets=100)
    unmeasured = replace(good, measured=False, packets=0, duration_s=0.0, muted=True)
    assert combined([unmeasured]) == unmeasured
    assert (combined([good, unmeasured]).packets, combined([good, unmeasured]).muted) == (100, True)
    with pytest.raises(ValueError, match="no window"):
        combined([])
    assert isinstance(combined([good, good]), Window)
