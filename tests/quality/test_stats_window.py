"""Windows between snapshots: rates, resets, reconnects, zero intervals, and layers."""

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quality.content import ContentCounts
from quality.stats import (
    Direction,
    InboundRtp,
    OutboundRtp,
    QualityLimitationReason,
    TrackKind,
    TrackSnapshot,
    TrackSource,
    VideoLayer,
    VideoQuality,
)
from quality.window import combined, delta, received_quality

LAYERS = (
    VideoLayer(VideoQuality.LOW, 320, 180),
    VideoLayer(VideoQuality.MEDIUM, 640, 360),
    VideoLayer(VideoQuality.HIGH, 1280, 720),
)
BEFORE = InboundRtp(
    ssrc=1,
    packets_received=1_000,
    packets_lost=10,
    bytes_received=1_000_000,
    frames_received=300,
    frames_decoded=290,
    freeze_count=1,
    total_freezes_duration=0.5,
    jitter_buffer_delay=10.0,
    jitter_buffer_emitted_count=290,
    reports_sent=4,
)
AFTER = replace(
    BEFORE,
    packets_received=1_380,
    packets_lost=30,
    bytes_received=1_500_000,
    frames_received=350,
    frames_decoded=340,
    freeze_count=2,
    total_freezes_duration=0.9,
    nack_count=12,
    pli_count=1,
    jitter=0.012,
    jitter_buffer_delay=12.0,
    jitter_buffer_emitted_count=340,
    reports_sent=5,
    frame_width=640,
    frame_height=360,
)


def snapshot(stats: InboundRtp | tuple[OutboundRtp, ...], at: float, sid: str = "TR_1") -> TrackSnapshot:
    return TrackSnapshot(
        sid,
        TrackKind.VIDEO,
        TrackSource.CAMERA,
        at,
        stats,
        requested_quality=VideoQuality.HIGH,
        layers=LAYERS,
    )


def test_inbound_window_has_the_rates_of_its_seconds() -> None:
    window = delta(snapshot(BEFORE, 100.0), snapshot(AFTER, 102.0))
    assert window.measured
    assert window.direction is Direction.INBOUND
    assert window.duration_s == 2.0
    assert (window.packets, window.packets_lost, window.packets_expected) == (380, 20, 400)
    assert window.loss_ratio == pytest.approx(0.05)
    assert window.bitrate_bps == pytest.approx(2_000_000)
    assert window.fps == pytest.approx(25.0)
    assert window.freeze_count == 1
    assert window.freeze_s == pytest.approx(0.4)
    assert (window.nack_count, window.pli_count, window.sender_reports) == (12, 1, 1)
    assert window.jitter_s == pytest.approx(0.012)
    assert window.jitter_buffer_delay_s == pytest.approx(0.04)


@pytest.mark.parametrize(
    ("source", "count", "frozen_s"), [(TrackSource.CAMERA, 2, 8.4), (TrackSource.SCREEN_SHARE, 1, 0.4)]
)
def test_a_camera_that_stands_for_long_is_frozen_and_a_screen_pauses(
    source: TrackSource, count: int, frozen_s: float
) -> None:
    after = replace(AFTER, pause_count=1, total_pauses_duration=8.0)
    begin, end = (replace(snapshot(stats, at), source=source) for stats, at in ((BEFORE, 100.0), (after, 110.0)))
    window = delta(begin, end)
    assert window.freeze_count == count
    assert window.freeze_s == pytest.approx(frozen_s)


def test_the_time_in_which_frames_arrive_adds_up() -> None:
    before = replace(BEFORE, frames_assembled_from_multiple_packets=100, total_assembly_time=2.0)
    middle = replace(AFTER, frames_assembled_from_multiple_packets=140, total_assembly_time=2.5)
    after = replace(AFTER, frames_assembled_from_multiple_packets=150, total_assembly_time=2.75)
    first, second = (
        delta(snapshot(before, 0.0), snapshot(middle, 1.0)),
        delta(snapshot(middle, 1.0), snapshot(after, 2.0)),
    )
    assert (first.frames_assembled, first.assembly_s) == (40, 0.5)
    assert (combined((first, second)).frames_assembled, combined((first, second)).assembly_s) == (50, 0.75)


def test_frames_received_count_where_nothing_is_decoded() -> None:
    before = InboundRtp(ssrc=1, frames_received=100, packets_received=100)
    after = InboundRtp(ssrc=1, frames_received=160, packets_received=300)
    assert delta(snapshot(before, 0.0), snapshot(after, 2.0)).fps == pytest.approx(30.0)


def test_a_stuck_decoder_shows_although_frames_arrive() -> None:
    after = replace(AFTER, frames_decoded=BEFORE.frames_decoded)
    assert delta(snapshot(BEFORE, 0.0), snapshot(after, 1.0)).fps == 0.0


@pytest.mark.parametrize(
    ("after", "at", "sid"),
    [
        pytest.param(replace(AFTER, packets_received=5, bytes_received=900), 101.0, "TR_1", id="counter-reset"),
        pytest.param(replace(AFTER, ssrc=2), 101.0, "TR_1", id="new-stream"),
        pytest.param(AFTER, 101.0, "TR_2", id="new-track"),
        pytest.param(AFTER, 100.0, "TR_1", id="zero-interval"),
        pytest.param(AFTER, 99.0, "TR_1", id="time-back"),
    ],
)
def test_what_cannot_be_compared_is_not_measured(after: InboundRtp, at: float, sid: str) -> None:
    window = delta(snapshot(BEFORE, 100.0), snapshot(after, at, sid))
    assert not window.measured
    assert (window.packets, window.bytes, window.fps, window.loss_ratio, window.bitrate_bps) == (0, 0, 0, 0, 0)
    assert window.track_sid == sid


def test_counters_that_went_back_count_again_from_the_next_snapshot_on() -> None:
    restarted = replace(AFTER, packets_received=5, packets_lost=0, bytes_received=900)
    later = replace(restarted, packets_received=105, packets_lost=5, bytes_received=100_900)
    assert not delta(snapshot(BEFORE, 0.0), snapshot(restarted, 1.0)).measured
    window = delta(snapshot(restarted, 1.0), snapshot(later, 2.0))
    assert (window.measured, window.packets, window.packets_lost) == (True, 100, 5)


def test_losses_that_are_taken_back_are_no_restart() -> None:
    # Duplicates and late packets lower packets_lost (RFC 3550 §6.4.1).
    window = delta(snapshot(BEFORE, 0.0), snapshot(replace(AFTER, packets_lost=3), 1.0))
    assert (window.measured, window.packets_lost, window.loss_ratio) == (True, 0, 0.0)


def test_mute_and_pause_hold_even_in_an_unmeasured_window() -> None:
    before = replace(snapshot(BEFORE, 1.0), muted=True)
    window = delta(before, replace(snapshot(BEFORE, 1.0), stream_paused=True))
    assert (window.measured, window.was_muted, window.muted, window.stream_paused) == (False, True, False, True)


def test_concealment_is_a_ratio_of_the_samples() -> None:
    before = InboundRtp(ssrc=1, total_samples_received=48_000, concealed_samples=480)
    after = InboundRtp(ssrc=1, total_samples_received=96_000, concealed_samples=5_280)
    assert delta(snapshot(before, 0.0), snapshot(after, 1.0)).concealed_ratio == pytest.approx(0.1)


def test_outbound_layers_are_added_up() -> None:
    low = OutboundRtp(ssrc=1, rid="q", packets_sent=100, bytes_sent=10_000, frames_encoded=10, frame_width=320)
    high = OutboundRtp(ssrc=2, rid="f", packets_sent=500, bytes_sent=90_000, frames_encoded=10, packets_lost=1)
    low_later = replace(low, packets_sent=150, bytes_sent=20_000, frames_encoded=25)
    high_later = replace(
        high,
        packets_sent=850,
        bytes_sent=180_000,
        frames_encoded=35,
        packets_lost=9,
        frame_width=1280,
        frame_height=720,
        round_trip_time=0.04,
        quality_limitation_reason=QualityLimitationReason.CPU,
    )
    window = delta(snapshot((low, high), 10.0), snapshot((high_later, low_later), 11.0))
    assert window.direction is Direction.OUTBOUND
    assert (window.packets, window.packets_lost, window.bytes) == (400, 8, 100_000)
    assert window.loss_ratio == pytest.approx(0.02)
    assert window.fps == pytest.approx(25.0)
    assert window.round_trip_time_s == pytest.approx(0.04)
    assert (window.frame_width, window.frame_height) == (1280, 720)
    assert window.quality_limitation_reason is QualityLimitationReason.CPU


def test_a_layer_switched_on_within_the_window_waits_for_the_next() -> None:
    low = OutboundRtp(ssrc=1, rid="q", packets_sent=100)
    fresh = OutboundRtp(ssrc=2, rid="f", packets_sent=9_000)
    window = delta(snapshot((low,), 0.0), snapshot((replace(low, packets_sent=150), fresh), 1.0))
    assert (window.measured, window.packets) == (True, 50)


def test_no_outbound_stream_yet_is_not_measured() -> None:
    assert not delta(snapshot((), 0.0), snapshot((), 1.0)).measured


@pytest.mark.parametrize(
    ("size", "quality"),
    [
        ((1280, 720), VideoQuality.HIGH),
        ((360, 640), VideoQuality.MEDIUM),
        ((640, 352), VideoQuality.MEDIUM),
        ((160, 90), VideoQuality.LOW),
    ],
)
def test_received_quality_is_the_nearest_announced_layer(size: tuple[int, int], quality: VideoQuality) -> None:
    assert received_quality(*size, LAYERS) is quality


def test_received_quality_is_unknown_without_sizes() -> None:
    assert received_quality(0, 0, LAYERS) is None
    assert received_quality(640, 360, ()) is None
    assert received_quality(640, 360, (VideoLayer(VideoQuality.HIGH, 0, 0),)) is None


def test_layer_distance_counts_layers_below_the_requested_one() -> None:
    window = delta(snapshot(BEFORE, 0.0), snapshot(AFTER, 1.0))
    assert window.layer_distance == 1
    asked_for_medium = replace(snapshot(AFTER, 1.0), requested_quality=VideoQuality.MEDIUM)
    assert delta(snapshot(BEFORE, 0.0), asked_for_medium).layer_distance == 0


def test_layer_distance_asks_for_no_more_than_is_published() -> None:
    only_two = replace(snapshot(AFTER, 1.0), layers=LAYERS[:2])
    assert delta(snapshot(BEFORE, 0.0), only_two).layer_distance == 0


counters = st.integers(min_value=0, max_value=2**40)


@settings(max_examples=50, deadline=None)
@given(
    first=st.tuples(counters, st.integers(-(2**20), 2**40), counters, counters, counters),
    second=st.tuples(counters, st.integers(-(2**20), 2**40), counters, counters, counters),
    interval=st.floats(-10.0, 10.0),
)
def test_no_window_ever_holds_a_negative_or_impossible_figure(
    first: tuple[int, int, int, int, int], second: tuple[int, int, int, int, int], interval: float
) -> None:
    def stats(values: tuple[int, int, int, int, int]) -> InboundRtp:
        received, lost, size, frames, concealed = values
        return InboundRtp(
            packets_received=received,
            packets_lost=lost,
            bytes_received=size,
            frames_received=frames,
            concealed_samples=concealed,
            total_samples_received=frames,
        )

    window = delta(snapshot(stats(first), 50.0), snapshot(stats(second), 50.0 + interval))
    assert 0.0 <= window.loss_ratio <= 1.0
    assert 0.0 <= window.concealed_ratio <= 1.0
    assert min(window.packets, window.packets_lost, window.bytes, window.frames, window.fps) >= 0
    assert window.bitrate_bps >= 0.0
    assert window.measured or window.packets_expected == 0


def test_a_sent_track_tells_its_layers_their_targets_and_its_level() -> None:
    def layers(packets: int) -> tuple[OutboundRtp, ...]:
        return (
            OutboundRtp(ssrc=1, rid="q", packets_sent=100 + packets, target_bitrate=150_000.0),
            OutboundRtp(ssrc=2, rid="h", packets_sent=200 + 2 * packets, target_bitrate=500_000.0),
            OutboundRtp(ssrc=3, rid="f", packets_sent=300, target_bitrate=1_700_000.0),
        )

    window = delta(snapshot(layers(0), 0.0), snapshot(layers(10), 1.0))
    assert (window.sent_layers, window.target_bitrate_bps) == (2, 650_000.0)
    speech = (OutboundRtp(ssrc=1, packets_sent=5, audio_level=0.25),)
    assert delta(snapshot(speech, 0.0), snapshot(speech, 1.0)).audio_level == 0.25


def test_level_bandwidth_and_round_trip_hold_where_nothing_can_be_compared() -> None:
    heard = replace(AFTER, ssrc=2, audio_level=0.5, round_trip_time=0.08)
    known = replace(snapshot(heard, 1.0), available_bandwidth_bps=900_000.0)
    window = delta(snapshot(BEFORE, 0.0), known)
    assert not window.measured
    assert (window.audio_level, window.round_trip_time_s, window.available_bandwidth_bps) == (0.5, 0.08, 900_000.0)
    silent = delta(snapshot(BEFORE, 0.0), snapshot(AFTER, 1.0))
    assert (silent.audio_level, silent.round_trip_time_s, silent.available_bandwidth_bps) == (None, None, None)


def test_content_is_that_of_the_window_and_adds_up() -> None:
    def seen(second: float, sounds: int | None, packets: int) -> TrackSnapshot:
        content = None if sounds is None else ContentCounts(sounds=sounds, silent=sounds // 2)
        return replace(snapshot(replace(BEFORE, packets_received=1_000 + packets), second), content=content)

    snapshots = [seen(0.0, None, 0), seen(1.0, 10, 50), seen(2.0, 30, 100), seen(3.0, 6, 150), seen(4.0, None, 200)]
    windows = [delta(before, after) for before, after in pairwise(snapshots)]
    assert [window.content.sounds for window in windows] == [10, 20, 6, 0], "where it begins anew, all since then"
    assert combined(windows).content == ContentCounts(sounds=36, silent=18)
    unmeasured = delta(snapshots[1], replace(snapshots[2], timestamp=snapshots[1].timestamp))
    assert combined([*windows, unmeasured]).content.sounds == 36
