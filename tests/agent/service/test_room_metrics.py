"""Samples of a room: totals that never fall, though tracks come and go."""

import tracemalloc
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from agent.room.counters import RoomCounters
from agent.room.state import (
    ConnectionState,
    PublicationState,
    ReceiveState,
    RecordingStatus,
    RoomState,
    TrackState,
    UndecryptableTrack,
)
from agent.service.room_metrics import VANISHED_KEPT, MetricsSampler, ReceiveTotals, RoomMetrics

TRACK = TrackState("TR_1", "cam", "video", "camera", "alice", "video/VP8", False, True, 1280, 720)


def state(*tracks: TrackState) -> RoomState:
    return RoomState("r", "RM_1", "bot", ConnectionState.CONNECTED, 0.0, tracks=tracks)


def received(sid: str = "TR_1", packets_received: int = 0, packets_lost: int = 0, nack_count: int = 0) -> TrackState:
    counts = ReceiveState(packets_received=packets_received, packets_lost=packets_lost, nack_count=nack_count)
    return replace(TRACK, sid=sid, tap=counts)


def totals(sample: RoomMetrics) -> ReceiveTotals:
    (only,) = sample.receive
    return only


def test_totals_outlive_the_track() -> None:
    sampler = MetricsSampler()
    sampler.sample(state(received(packets_received=10)), RoomCounters())
    assert totals(sampler.sample(state(), RoomCounters())) == ReceiveTotals("video", "tap", 0, packets_received=10)
    sample = sampler.sample(state(received("TR_2", packets_received=5)), RoomCounters())
    assert totals(sample) == ReceiveTotals("video", "tap", 1, packets_received=15)


def test_a_new_subscription_counts_from_nothing() -> None:
    sampler = MetricsSampler()
    sampler.sample(state(received(packets_received=100, nack_count=4)), RoomCounters())
    sample = sampler.sample(state(received(packets_received=3, nack_count=1)), RoomCounters())
    assert (totals(sample).packets_received, totals(sample).nack_count) == (103, 5)


def test_a_second_of_which_nothing_is_known_counts_nothing_twice() -> None:
    sampler = MetricsSampler()
    sampler.sample(state(received(packets_received=100, packets_lost=9)), RoomCounters())
    sampler.sample(state(replace(TRACK, tap=None)), RoomCounters())
    sample = sampler.sample(state(received(packets_received=110, packets_lost=9)), RoomCounters())
    assert (totals(sample).packets_received, totals(sample).packets_lost) == (110, 9)


def test_what_the_tap_goes_on_receiving_while_the_participant_reconnects_counts_once() -> None:
    sampler = MetricsSampler()
    before, after = received(packets_received=100, packets_lost=9), received(packets_received=110, packets_lost=9)
    sampler.sample(state(before, received("TR_2", packets_received=7)), RoomCounters())
    for _ in range(3):
        away = sampler.sample(state(), RoomCounters())
    assert totals(away) == ReceiveTotals("video", "tap", 0, packets_received=107, packets_lost=9)
    sampler.sample(state(after), RoomCounters())
    sample = sampler.sample(state(after, received("TR_2", packets_received=8)), RoomCounters())
    assert totals(sample) == ReceiveTotals("video", "tap", 2, packets_received=118, packets_lost=9)


def test_all_tracks_of_a_large_room_may_be_away_at_once() -> None:
    sampler = MetricsSampler()
    room = [received(f"TR_{number}", packets_received=5) for number in range(VANISHED_KEPT)]
    for tracks in (room, [], room):
        sample = sampler.sample(state(*tracks), RoomCounters())
    assert totals(sample).packets_received == 5 * VANISHED_KEPT


def test_many_short_tracks_take_no_more_memory_and_push_out_no_newer_one() -> None:
    sampler = MetricsSampler()
    long, unknown = received("TR_long", packets_received=9), received("TR_unknown", packets_received=9)
    sampler.sample(state(long, unknown), RoomCounters())
    tracemalloc.start()
    try:
        for number in range(4 * VANISHED_KEPT):
            if number == VANISHED_KEPT:
                before = tracemalloc.get_traced_memory()[0]
            short = received(f"TR_{number}", packets_received=1)
            sampler.sample(state(long, replace(unknown, tap=None), short), RoomCounters())
        grown = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert grown < VANISHED_KEPT * 100  # each takes some hundred bytes
    newer = [received(f"TR_{number}", packets_received=1) for number in range(3 * VANISHED_KEPT, 4 * VANISHED_KEPT)]
    sample = sampler.sample(state(long, unknown, *newer), RoomCounters())
    assert totals(sample).packets_received == 9 + 9 + 4 * VANISHED_KEPT


def test_late_packets_take_nothing_back_and_count_no_loss_twice() -> None:
    sampler = MetricsSampler()
    for number, lost in enumerate((5, 4, 5), start=1):
        sample = sampler.sample(state(received(packets_received=number, packets_lost=lost)), RoomCounters())
    assert totals(sample).packets_lost == 5


def test_jitter_is_observed_while_packets_come_and_scores_once_judged() -> None:
    sampler = MetricsSampler()
    track = replace(TRACK, subscription=ReceiveState(packets_received=9, jitter=0.02))
    first = sampler.sample(state(track), RoomCounters())
    assert [item.value for item in first.jitter_s] == [0.02]
    assert first.scores == ()
    judged = replace(TRACK, subscription=ReceiveState(packets_received=9, jitter=0.02, score=77.0))
    second = sampler.sample(state(judged), RoomCounters())
    assert second.jitter_s == ()
    assert [(item.kind, item.value) for item in second.scores] == [("video", 77.0)]


def test_what_a_command_brings_about_counts_and_observes_nothing_twice() -> None:
    sampler = MetricsSampler()
    judged = replace(TRACK, subscription=ReceiveState(packets_received=9, jitter=0.02, score=77.0))
    answered = sampler.sample(state(judged), RoomCounters(), observe=False)
    assert (answered.jitter_s, answered.scores) == ((), ())
    assert totals(answered).packets_received == 9


@settings(max_examples=50)
@given(st.lists(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 50), st.integers(-3, 9)), max_size=3)))
def test_totals_never_fall(seconds: list[list[tuple[str, int, int]]]) -> None:
    sampler = MetricsSampler()
    before = ReceiveTotals("video", "tap")
    for tracks in seconds:
        unique = {sid: received(sid, packets_received=got, packets_lost=lost) for sid, got, lost in tracks}
        sample = sampler.sample(state(*unique.values()), RoomCounters())
        if not sample.receive:
            continue
        now = totals(sample)
        assert now.packets_received >= before.packets_received
        assert now.packets_lost >= before.packets_lost
        assert now.subscriptions == len(unique)
        before = now


def test_tracks_that_cannot_be_decrypted_count_while_the_recording_runs() -> None:
    lost = tuple(UndecryptableTrack(f"TR_{n}", "cam", "video", "alice", "missing_key") for n in range(2))
    running = RecordingStatus("rec", "/rec", "recording", 0.0, 0, 0, 0, 0, 0, undecryptable=lost)
    sampler = MetricsSampler()
    assert sampler.sample(replace(state(), recording=running), RoomCounters()).undecryptable == {"missing_key": 2}
    over = replace(running, state="complete")
    assert sampler.sample(replace(state(), recording=over), RoomCounters()).undecryptable == {}


def test_patterns_that_hold_and_participants_by_quality_are_counted() -> None:
    good = ReceiveState(score=95.0, patterns=("freeze",))
    bad = ReceiveState(score=35.0, patterns=("freeze", "steady_loss"))
    tracks = (
        replace(TRACK, subscription=good, tap=bad),
        replace(TRACK, sid="TR_2", participant_identity="bob", tap=good),
        replace(TRACK, sid="TR_3", participant_identity="carol"),
    )
    sample = MetricsSampler().sample(state(*tracks), RoomCounters())
    assert sample.patterns == {"freeze": 3, "steady_loss": 1}
    assert sample.participant_qualities == {"poor": 1, "excellent": 1}


def test_muted_microphones_hide_no_lost_speaker() -> None:
    mic = replace(TRACK, kind="audio", source="microphone")
    quiet = ReceiveState(packets_received=9, score=100.0, muted=True)
    crowd = [replace(mic, sid=f"TR_{n}", participant_identity=f"p{n}", muted=True, tap=quiet) for n in range(20)]
    speaker = replace(mic, sid="TR_speaker", participant_identity="ada", tap=ReceiveState(score=20.0))
    sample = MetricsSampler().sample(state(*crowd, speaker), RoomCounters())
    assert [item.value for item in sample.scores] == [20.0]
    assert sample.participant_qualities == {"lost": 1}
    assert sample.judged_tracks == 1
    assert totals(sample).packets_received == 20 * 9


def test_judged_is_what_is_received_or_sent_and_not_muted() -> None:
    camera, fresh = (
        replace(TRACK, subscription=ReceiveState(score=90.0), tap=ReceiveState(score=80.0)),
        received("TR_2"),
    )
    own = PublicationState("TR_3", "music", "audio", "microphone", "published", muted=False, score=99.0)
    room = replace(state(camera, fresh), publications=(own, replace(own, sid="TR_4", muted=True)))
    assert MetricsSampler().sample(room, RoomCounters()).judged_tracks == 3


def test_who_was_lost_and_then_muted_is_not_lost_for_ever() -> None:
    mic = replace(TRACK, muted=True, tap=ReceiveState(score=20.0, muted=True))
    camera = replace(TRACK, sid="TR_2", tap=ReceiveState(score=95.0))
    alone = MetricsSampler().sample(state(mic), RoomCounters())
    assert (alone.scores, alone.participant_qualities) == ((), {})
    seen = MetricsSampler().sample(state(mic, camera), RoomCounters())
    assert seen.participant_qualities == {"excellent": 1}


def test_a_video_that_is_off_on_one_connection_counts_on_the_other() -> None:
    off, recorded = ReceiveState(score=100.0, muted=True), ReceiveState(score=30.0)
    sample = MetricsSampler().sample(state(replace(TRACK, subscription=off, tap=recorded)), RoomCounters())
    assert [item.value for item in sample.scores] == [30.0]
    assert sample.participant_qualities == {"poor": 1}
