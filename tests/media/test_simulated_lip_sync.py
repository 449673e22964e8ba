"""Lip sync over simulated time: two hours of drift, stalls, mutes, bursts, lost and wrong sender reports."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from media.frames import MediaKind
from tests.media.simulated_room import Participant, SimulatedRecording, Span, simulate

WITHIN_MS = 20.0
BETWEEN_MS = 40.0
FRAME_MS = 40.0
NEVER = Span(float("inf"), 0.0)

ALICE = Participant("alice", ntp_error_s=-37.0, ntp_drift_ppm=30.0, audio_drift_ppm=200.0, video_drift_ppm=-200.0)
BOB = Participant("bob", ntp_error_s=0.2, ntp_drift_ppm=-200.0, audio_drift_ppm=-200.0, delay_s=0.045)


def p99(differences_ms: Sequence[float]) -> float:
    """Of what is away from zero; there must be something to look at."""
    assert len(differences_ms) >= 10
    return float(np.percentile(np.abs(differences_ms), 99))


def assert_times_rise(recording: SimulatedRecording) -> None:
    for shown in recording.shown.values():
        assert all(before.shown_s < after.shown_s for before, after in pairwise(shown))


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_two_hours_of_two_participants_stay_together() -> None:
    """Media clocks drift by ±200 ppm against NTP clocks that drift themselves; what happens in two hours happens."""
    alice = replace(
        ALICE,
        burst_s=0.7,
        stalls=(Span(1800, 18),),
        audio_mutes=(Span(600, 60), Span(5000, 5)),
        queues=(Span(3000, 20),),
        report_loss=0.3,
    )
    bob = replace(BOB, video_mutes=(Span(900, 40),), delay_change=(3600.0, 0.01))
    recording = simulate([alice, bob], 7200.0)
    for name in ("alice", "bob"):
        assert p99(recording.lip_sync_ms(name)) <= WITHIN_MS
        assert abs(np.mean(recording.lip_sync_ms(name)[-60:])) < FRAME_MS
    for kind in MediaKind:
        assert p99(recording.between_ms(kind, "alice", "bob")) <= BETWEEN_MS
    for shown in recording.shown.values():
        # 200 ppm are 1.44 s by now: what is left is the network's delay.
        assert 0 < 1000 * shown[-1].error_s < 55 + FRAME_MS
    assert_times_rise(recording)


def test_a_recording_of_ten_seconds_is_in_sync_from_its_first_frame() -> None:
    """One report of each track is enough, though four would be better; video comes 40 ms later than audio."""
    recording = simulate([replace(ALICE, report_loss=0.0, burst_s=0.5), replace(BOB, report_loss=0.0)], 12.0)
    for name in ("alice", "bob"):
        assert p99(recording.lip_sync_ms(name)) <= WITHIN_MS
    assert p99(recording.between_ms(MediaKind.AUDIO, "alice", "bob")) <= BETWEEN_MS


def test_a_burst_at_the_start_does_not_anchor_the_track() -> None:
    """Three seconds of media arrive at once: by the arrival of its first frame the track would be three seconds off."""
    recording = simulate([replace(ALICE, burst_s=3.0, report_loss=1.0)], 15.0)
    for shown in recording.shown.values():
        assert all(0 < item.error_s < 0.12 for item in shown)


@pytest.mark.parametrize("report_loss", [0.0, 1.0])
def test_after_a_stall_that_rtp_time_does_not_show_every_frame_is_where_it_belongs(report_loss: float) -> None:
    """By the first report from after it, or by arrival alone; and from the first frame after it on."""
    stalled = replace(ALICE, stalls=(Span(30.0, 18.0), Span(90.0, 2.5)), report_loss=report_loss)
    recording = simulate([stalled], 150.0)
    for shown in recording.shown.values():
        errors_ms = [1000 * item.error_s for item in shown]
        assert min(errors_ms) > 0
        assert max(errors_ms) < 160
    assert_times_rise(recording)


def test_a_network_that_queues_for_a_while_is_no_stall() -> None:
    """Two seconds of queue at its longest: reports say that the sender went on, and frames stay where they were."""
    queue = Span(40.0, 20.0)
    recording = simulate([replace(ALICE, queues=(queue,) * 8, report_loss=0.0)], 120.0)
    assert max(abs(value) for value in recording.lip_sync_ms("alice")) < WITHIN_MS
    assert max(item.error_s for item in recording.shown["alice", MediaKind.AUDIO]) < 0.2


def test_video_reports_that_are_off_by_over_half_a_second_are_not_believed() -> None:
    """For a minute video's NTP time is 700 ms wrong: it then goes by arrival, which is right to a frame or two."""
    wrong = replace(ALICE, wrong_video_ntp=(Span(60.0, 60.0), -0.7), report_loss=0.0)
    recording = simulate([wrong], 200.0)
    differences_ms = recording.lip_sync_ms("alice")
    assert max(map(abs, differences_ms)) < 100
    assert max(map(abs, differences_ms[:55])) <= WITHIN_MS
    assert max(map(abs, differences_ms[-40:])) <= WITHIN_MS
    assert_times_rise(recording)


@settings(max_examples=12, deadline=None)
@given(
    ntp_error_s=st.floats(-5000, 5000),
    drifts=st.tuples(*[st.floats(-200, 200)] * 3),
    delay_s=st.floats(0.002, 0.03),
    video_extra_s=st.floats(0, 0.08),
    burst_s=st.sampled_from([0.0, 0.4, 1.5]),
    mute_s=st.floats(0, 20),
    seed=st.integers(0, 1000),
)
def test_whatever_the_clocks_lips_and_voice_stay_together(
    ntp_error_s: float,
    drifts: tuple[float, float, float],
    delay_s: float,
    video_extra_s: float,
    burst_s: float,
    mute_s: float,
    seed: int,
) -> None:
    sender = Participant(
        "alice",
        ntp_error_s,
        *drifts,
        delay_s=delay_s,
        video_extra_s=video_extra_s,
        burst_s=burst_s,
        audio_mutes=(Span(40.0, mute_s),),
    )
    recording = simulate([sender, BOB], 120.0, seed)
    assert p99(recording.lip_sync_ms("alice")) <= WITHIN_MS
    assert p99(recording.between_ms(MediaKind.AUDIO, "alice", "bob")) <= 45 + WITHIN_MS
    assert_times_rise(recording)
