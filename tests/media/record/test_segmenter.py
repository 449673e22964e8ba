"""The segmenter: where frames go, and what never happens whatever comes."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from media.frames import Codec, EncodedFrame, MediaKind
from media.record.decode_timeline import ResumePoint
from media.record.entries import GapReason
from media.record.sample import Sample
from media.record.segmenter import (
    Action,
    AppendPart,
    CloseSegment,
    ReportGap,
    RequestKeyframe,
    Segmenter,
    SegmenterConfig,
    SetAnchor,
    StartSegment,
)

VP8_SYNC = b"\x10\x00\x00\x9d\x01\x2a\x40\x01\xb4\x00" + b"sync"
VP8_OTHER = b"\x11\x00\x00other"
OPUS_20_MS = b"\xfc\x00\x01"
TICKS_PER_S = 90_000


@dataclass
class Segment:
    """What the actions say one segment holds."""

    start: StartSegment
    parts: list[tuple[Sample, ...]] = field(default_factory=list)
    end: int = 0

    @property
    def samples(self) -> list[Sample]:
        return [sample for part in self.parts for sample in part]


@dataclass
class Outcome:
    """The actions sorted by what they are about; parts outside of a segment fail the test."""

    segments: list[Segment] = field(default_factory=list)
    gaps: list[ReportGap] = field(default_factory=list)
    anchors: list[SetAnchor] = field(default_factory=list)
    keyframe_requests: int = 0
    open: bool = False

    def apply(self, actions: Sequence[Action]) -> None:
        for action in actions:
            match action:
                case StartSegment():
                    assert not self.open
                    self.segments.append(Segment(action))
                    self.open = True
                case AppendPart(samples):
                    assert self.open
                    self.segments[-1].parts.append(samples)
                case CloseSegment(end):
                    assert self.open
                    self.segments[-1].end = end
                    self.open = False
                case ReportGap():
                    self.gaps.append(action)
                case SetAnchor():
                    self.anchors.append(action)
                case RequestKeyframe():
                    self.keyframe_requests += 1

    @property
    def samples(self) -> list[Sample]:
        return [sample for segment in self.segments for sample in segment.samples]


def vp8(at_s: float, *, sync: bool = False, discontinuity: bool = False, arrival: float | None = None) -> EncodedFrame:
    data = VP8_SYNC if sync else VP8_OTHER
    return EncodedFrame(
        Codec.VP8, data, round(at_s * TICKS_PER_S), 100 + (at_s if arrival is None else arrival), sync, discontinuity
    )


def opus(at_s: float, *, discontinuity: bool = False) -> EncodedFrame:
    return EncodedFrame(Codec.OPUS, OPUS_20_MS, round(at_s * 48_000), 100 + at_s, True, discontinuity)


def run(
    frames: Sequence[EncodedFrame], kind: MediaKind = MediaKind.VIDEO, config: SegmenterConfig | None = None
) -> Outcome:
    clock_rate = 90_000 if kind is MediaKind.VIDEO else 48_000
    segmenter = Segmenter(kind, clock_rate, config or SegmenterConfig())
    outcome = Outcome()
    for frame in frames:
        outcome.apply(segmenter.write(frame))
    outcome.apply(segmenter.close())
    return outcome


def test_cuts_at_the_first_sync_sample_past_the_duration() -> None:
    outcome = run([vp8(index / 30, sync=index % 60 == 0) for index in range(30 * 20)])
    starts = [segment.start.decode_time / TICKS_PER_S for segment in outcome.segments]
    assert starts == [0, 6, 12, 18]
    assert [len(segment.samples) for segment in outcome.segments] == [180, 180, 180, 60]
    assert outcome.gaps == []
    assert [segment.end for segment in outcome.segments[:3]] == [s.start.decode_time for s in outcome.segments[1:]]


def test_audio_is_cut_anywhere() -> None:
    outcome = run([opus(index * 0.02) for index in range(700)], MediaKind.AUDIO)
    assert [len(segment.samples) for segment in outcome.segments] == [300, 300, 100]
    assert all(len(part) <= 50 for segment in outcome.segments for part in segment.parts)


def test_video_without_sync_samples_goes_on_and_asks_until_the_bound() -> None:
    frames = [vp8(index / 10, sync=index == 0) for index in range(10 * 130)]
    outcome = run(frames)
    assert [segment.start.independent for segment in outcome.segments] == [True, False, False]
    assert [segment.start.decode_time / TICKS_PER_S for segment in outcome.segments] == [0, 60, 120]
    assert len(outcome.samples) == len(frames)
    # Every two seconds from the sixth of each segment on, and where a segment starts without one.
    assert 56 <= outcome.keyframe_requests <= 60


def test_frames_before_the_first_sync_sample_are_refused_and_asked_for() -> None:
    segmenter = Segmenter(MediaKind.VIDEO, 90_000, SegmenterConfig())
    outcome = Outcome()
    for index in range(3):
        outcome.apply(segmenter.write(vp8(index / 30)))
    assert (segmenter.counters.refused, outcome.keyframe_requests) == (3, 1)
    outcome.apply(segmenter.write(vp8(0.2, sync=True)))
    assert outcome.anchors[0].anchor.decode_time == 0
    assert segmenter.counters.accepted == 1


def test_a_jump_cannot_stretch_a_segment() -> None:
    before = [vp8(index / 30, sync=index == 0) for index in range(30)]
    after = [vp8(7200 + index / 30, sync=index == 0, discontinuity=index == 0) for index in range(30)]
    outcome = run(before + after)
    assert [segment.end - segment.start.decode_time for segment in outcome.segments] == [TICKS_PER_S] * 2
    gap = outcome.gaps[0]
    assert (gap.decode_time, gap.duration) == (TICKS_PER_S, 7199 * TICKS_PER_S)
    assert gap.reason is GapReason.MISSING
    assert outcome.segments[1].start.discontinuity
    assert outcome.segments[1].start.decode_time == 7200 * TICKS_PER_S


def test_a_leap_that_arrival_does_not_show_is_a_reset() -> None:
    before = [vp8(index / 30, sync=index == 0) for index in range(30)]
    after = [vp8(7200 + index / 30, sync=index == 0, arrival=2 + index / 30) for index in range(30)]
    outcome = run(before + after)
    arrival_gap = 2 - 29 / 30
    expected = 29 * 3000 + round(arrival_gap * TICKS_PER_S)
    assert outcome.segments[1].start.decode_time == expected
    assert [anchor.anchor.reset for anchor in outcome.anchors] == [False, True]
    assert outcome.gaps[0].reason is GapReason.TIMESTAMP_RESET


def test_frames_that_could_not_be_decrypted_leave_a_gap_that_says_so() -> None:
    before = [vp8(index / 30, sync=index == 0) for index in range(30)]
    after = [vp8(2 + index / 30, sync=index == 0, discontinuity=index == 0) for index in range(30)]
    outcome = run([*before, replace(after[0], undecryptable_before=30), *after[1:]])
    assert outcome.gaps == [ReportGap(TICKS_PER_S, TICKS_PER_S, GapReason.ENCRYPTED, 30)]
    assert outcome.segments[1].start.discontinuity


def test_a_lost_packet_of_audio_is_told_but_cuts_nothing() -> None:
    frames = [opus(index * 0.02, discontinuity=index == 11) for index in range(20) if index != 10]
    outcome = run(frames, MediaKind.AUDIO)
    assert len(outcome.segments) == 1
    assert outcome.gaps == [ReportGap(9600, 960, GapReason.MISSING, 0)]
    assert outcome.samples[9].duration == 1920


@pytest.mark.parametrize("late_ms", [0, 1, 30])
def test_where_a_pause_was_as_short_as_a_frame_what_is_left_of_it_is_told(late_ms: int) -> None:
    """A pause that ends at once: the last frame was given its usual time, and the next one comes a little later."""
    segmenter = Segmenter(MediaKind.VIDEO, 90_000, SegmenterConfig())
    outcome = Outcome()
    for index in range(30):
        outcome.apply(segmenter.write(vp8(index / 30, sync=index == 0)))
    outcome.apply(segmenter.pause(GapReason.PAUSED))
    outcome.apply(segmenter.write(vp8(1 + late_ms / 1000, sync=True)))
    outcome.apply(segmenter.close())
    ticks = late_ms * 90
    assert outcome.gaps == ([ReportGap(TICKS_PER_S, ticks, GapReason.PAUSED, 0)] if ticks else [])
    assert [segment.start.decode_time for segment in outcome.segments] == [0, TICKS_PER_S + ticks]


def test_a_timestamp_that_does_not_grow_is_clamped_and_counted() -> None:
    segmenter = Segmenter(MediaKind.VIDEO, 90_000, SegmenterConfig())
    outcome = Outcome()
    for at_s in (0, 1 / 30, 1 / 30, 0.02, 0.1):
        outcome.apply(segmenter.write(vp8(at_s, sync=at_s == 0)))
    outcome.apply(segmenter.close())
    assert [sample.decode_time for sample in outcome.samples] == [0, 3000, 3090, 3180, 9000]
    assert segmenter.timeline.clamped == 2


def test_tick_flushes_a_stalled_track_within_a_second() -> None:
    segmenter = Segmenter(MediaKind.VIDEO, 90_000, SegmenterConfig())
    outcome = Outcome()
    for index in range(3):
        outcome.apply(segmenter.write(vp8(index / 30, sync=index == 0)))
    outcome.apply(segmenter.tick(100.9))
    assert outcome.samples == []
    outcome.apply(segmenter.tick(101.0))
    assert len(outcome.samples) == 3
    assert segmenter.in_memory == 0
    # A static screen share goes on 1.2 s later: the part says where, nothing counts as missing but the pause is told.
    outcome.apply(segmenter.write(vp8(1.3)))
    outcome.apply(segmenter.close())
    assert outcome.samples[-1].decode_time == round(1.3 * TICKS_PER_S)
    assert [gap.reason for gap in outcome.gaps] == [GapReason.PAUSE]


def test_what_a_gap_is_does_not_depend_on_how_long_parts_are() -> None:
    for part_duration_s in (0.1, 0.5, 1.0):
        config = SegmenterConfig(part_duration_s=part_duration_s)
        at_s = [0, 0.04, 0.08, 0.78, 0.82, 1.82, 1.86, 2.87, 2.91]
        outcome = run([vp8(item, sync=item == 0) for item in at_s], config=config)
        assert [(gap.decode_time, gap.duration) for gap in outcome.gaps] == [(171_000, 87_300)], part_duration_s
        (segment,) = outcome.segments
        assert [sample.decode_time for sample in segment.samples] == [round(item * TICKS_PER_S) for item in at_s]
        for part in segment.parts:
            assert part[-1].end_decode_time - part[0].decode_time <= part_duration_s * TICKS_PER_S


def test_a_silent_audio_track_gets_its_segment_closed() -> None:
    segmenter = Segmenter(MediaKind.AUDIO, 48_000, SegmenterConfig())
    outcome = Outcome()
    for index in range(5):
        outcome.apply(segmenter.write(opus(index * 0.02)))
    outcome.apply(segmenter.tick(101.1))
    assert outcome.segments[0].end == 0
    outcome.apply(segmenter.tick(106.5))
    assert outcome.segments[0].end == 5 * 960


def test_new_resolution_starts_a_segment_with_another_config() -> None:
    larger = VP8_SYNC[:6] + (640).to_bytes(2, "little") + (360).to_bytes(2, "little")
    frames = [vp8(0, sync=True), vp8(0.1), EncodedFrame(Codec.VP8, larger, 18_000, 100.2, sync_sample=True), vp8(0.3)]
    outcome = run(frames)
    assert [(s.start.config.width, s.start.config.height) for s in outcome.segments] == [(320, 180), (640, 360)]
    assert [len(segment.samples) for segment in outcome.segments] == [2, 2]
    assert not outcome.segments[1].start.discontinuity


def test_resume_goes_on_by_the_time_that_passed() -> None:
    segmenter = Segmenter(MediaKind.AUDIO, 48_000, SegmenterConfig(), ResumePoint(96_000, 90.0))
    outcome = Outcome()
    outcome.apply(segmenter.write(opus(0)))
    assert outcome.segments[0].start.decode_time == 96_000 + 10 * 48_000
    assert outcome.segments[0].start.discontinuity
    assert outcome.gaps == [ReportGap(96_000, 480_000, GapReason.RESTART, 0)]


def test_an_abort_counts_what_was_lost_and_waits_for_a_sync_sample() -> None:
    segmenter = Segmenter(MediaKind.VIDEO, 90_000, SegmenterConfig())
    outcome = Outcome()
    for index in range(10):
        outcome.apply(segmenter.write(vp8(index / 30, sync=index == 0)))
    segmenter.abort(GapReason.STORAGE)
    outcome.open = False
    outcome.apply(segmenter.write(vp8(1)))
    outcome.apply(segmenter.write(vp8(2, sync=True)))
    outcome.apply(segmenter.close())
    counters = segmenter.counters
    assert (counters.accepted, counters.written, counters.aborted, counters.refused) == (11, 1, 10, 1)
    assert outcome.gaps == [ReportGap(0, 2 * TICKS_PER_S, GapReason.STORAGE, 11)]
    assert outcome.segments[-1].start.discontinuity


STEPS = st.tuples(
    st.one_of(st.integers(-200_000, 200_000), st.integers(1, 9_000), st.integers(-(10**9), 10**9)),
    st.floats(0, 3),
    st.integers(0, 9).map(lambda value: value == 0),
    st.integers(0, 9).map(lambda value: value == 0),
    st.booleans(),
)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(STEPS, max_size=60),
    st.sampled_from([MediaKind.VIDEO, MediaKind.AUDIO]),
    st.sampled_from([0.1, 0.5, 1.0]),
)
def test_whatever_comes_nothing_is_lost_and_time_goes_on(
    steps: list[tuple[int, float, bool, bool, bool]], kind: MediaKind, part_duration_s: float
) -> None:
    rate = 90_000 if kind is MediaKind.VIDEO else 48_000
    segmenter = Segmenter(kind, rate, SegmenterConfig(part_duration_s=part_duration_s))
    outcome = Outcome()
    rtp, arrival = 5_000, 100.0
    payloads: list[bytes] = []
    for number, (step, wait_s, sync, discontinuity, ticks) in enumerate(steps):
        rtp, arrival = rtp + step, arrival + wait_s
        if kind is MediaKind.AUDIO:
            frame = EncodedFrame(Codec.OPUS, OPUS_20_MS + b"%d" % number, rtp, arrival, True, discontinuity)
        else:
            data = (VP8_SYNC if sync else VP8_OTHER) + b"%d" % number
            frame = EncodedFrame(Codec.VP8, data, rtp, arrival, sync, discontinuity)
        accepted = segmenter.counters.accepted
        outcome.apply(segmenter.write(frame))
        if segmenter.counters.accepted > accepted:
            payloads.append(frame.data)
        if ticks:
            outcome.apply(segmenter.tick(arrival + wait_s / 2))
    outcome.apply(segmenter.close())

    samples = outcome.samples
    assert [sample.data for sample in samples] == payloads
    assert segmenter.counters.written == len(payloads)
    assert all(before.decode_time < after.decode_time for before, after in itertools.pairwise(samples))
    for segment in outcome.segments:
        assert segment.parts
        assert segment.start.decode_time == segment.samples[0].decode_time
        assert segment.start.independent == segment.samples[0].sync_sample
        assert segment.end > segment.samples[-1].decode_time
        for part in segment.parts:
            assert part[-1].end_decode_time - part[0].decode_time <= part_duration_s * rate
            chained = itertools.pairwise(part)
            assert all(one.end_decode_time == other.decode_time for one, other in chained)
    for before, after in itertools.pairwise(outcome.segments):
        assert before.end <= after.start.decode_time
        if before.end < after.start.decode_time:
            assert any(g.decode_time + g.duration == after.start.decode_time for g in outcome.gaps)
