"""Which tracks make one output, and when their samples are shown."""

from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from media.errors import ExportError
from media.frames import Codec, MediaKind
from media.process.output import to_json
from media.process.timeline import (
    CAMERA,
    SCREEN_SHARE,
    Program,
    Retimer,
    TrackPart,
    file_stem,
    plan_programs,
    program_from_json,
)
from media.record.entries import ClockMapping, RecordingState, SegmentEntry, TrackDescriptor
from media.record.reader import RecordingView, TrackView
from media.rtp.clock_mapping import ClockSource


def track(
    number: int,
    source: str,
    start_s: float,
    end_s: float,
    *,
    identity: str = "alice",
    mappings: tuple[tuple[int, float], ...] = (),
) -> TrackView:
    """A track with one segment; `mappings` are (decode time, media time) pairs instead of the usual one."""
    kind = MediaKind.AUDIO if source in {"microphone", "screen_share_audio"} else MediaKind.VIDEO
    codec = Codec.OPUS if kind is MediaKind.AUDIO else Codec.H264
    rate = codec.clock_rate
    segment = SegmentEntry(
        f"RM/{number}/0", number, 0, "s", "i", "", 1, 0, round((end_s - start_s) * rate), 1, 1, 1, False, True, False, 0
    )
    return TrackView(
        number,
        TrackDescriptor("TR", "", source, kind, codec, identity, identity, "PA"),
        Path("tracks"),
        rate,
        (),
        (segment,),
        tuple(
            ClockMapping(number, decode_time, media_time_s, 0.0, 1.0, ClockSource.SENDER_REPORT)
            for decode_time, media_time_s in mappings or ((0, start_s),)
        ),
        (),
        (),
    )


def recording(*tracks: TrackView) -> RecordingView:
    return RecordingView(Path("r"), "RM_1", "room", "", 0.0, 9.0, RecordingState.COMPLETE, tracks)


def test_camera_and_microphone_are_one_output_and_the_screen_another() -> None:
    view = recording(
        track(1, "microphone", 0, 9),
        track(2, "camera", 0, 9),
        track(3, "screen_share", 3, 6),
        track(4, "screen_share_audio", 3, 6),
    )
    camera, screen = plan_programs(view, "alice")
    assert (camera.source, camera.video, camera.audio) == (CAMERA, (TrackPart(2, 1),), (TrackPart(1, 1),))
    assert (screen.source, screen.video, screen.audio) == (SCREEN_SHARE, (TrackPart(3, 1),), (TrackPart(4, 1),))
    assert screen.stem == "RM_1-alice-screen_share"


def test_a_republished_camera_follows_in_the_same_output() -> None:
    view = recording(track(1, "camera", 0, 4), track(2, "camera", 4.5, 9), track(3, "microphone", 0, 9))
    (program,) = plan_programs(view, None)
    assert [part.number for part in program.video] == [1, 2]


def test_two_cameras_at_once_are_two_outputs() -> None:
    view = recording(track(1, "camera", 0, 9), track(2, "camera", 1, 9), track(3, "microphone", 0, 9))
    first, second = plan_programs(view, None)
    assert [part.number for part in first.video + first.audio] == [1, 3]
    assert [part.number for part in second.video + second.audio] == [2]
    assert second.stem == "RM_1-alice-2"


def test_everybody_gets_an_output_and_a_stranger_an_error_that_names_who_is_there() -> None:
    view = recording(track(1, "camera", 0, 9), track(2, "camera", 0, 9, identity="bob"))
    assert [program.participant_identity for program in plan_programs(view, None)] == ["alice", "bob"]
    with pytest.raises(ExportError, match="'alice', 'bob'"):
        plan_programs(view, "mallory")


def test_stems_differ_and_do_not_depend_on_who_else_is_exported() -> None:
    view = recording(
        track(1, "camera", 0, 9),
        track(2, "camera", 1, 9),
        track(3, "camera", 0, 9, identity="alice-2"),
        track(4, "screen_share", 0, 9),
        track(5, "camera", 0, 9, identity="alice-screen_share"),
        track(6, "camera", 0, 9, identity="Alice"),
    )
    everybody = plan_programs(view, None)
    assert len({program.stem.casefold() for program in everybody}) == len(everybody) == 6
    for identity in ("alice", "alice-2", "alice-screen_share", "Alice"):
        mine = tuple(program for program in everybody if program.participant_identity == identity)
        assert plan_programs(view, identity) == mine


def test_an_empty_recording_cannot_be_exported() -> None:
    with pytest.raises(ExportError, match="no media"):
        plan_programs(recording(), None)


def test_a_program_survives_json() -> None:
    program = Program("alice", CAMERA, "stem", (TrackPart(1, 2),), (TrackPart(2, 3), TrackPart(4, 1)))
    assert program_from_json(to_json(program)) == program


@given(st.lists(st.text(min_size=1, max_size=20), min_size=2, max_size=6, unique=True))
@settings(max_examples=50)
def test_file_stems_are_safe_and_do_not_collide(identities: list[str]) -> None:
    stems = [file_stem("RM_1", identity) for identity in identities]
    assert len(set(stems)) == len(stems)
    assert all("/" not in stem and stem.isascii() and stem.startswith("RM_1-") for stem in stems)


def test_samples_lie_where_their_clock_mapping_says() -> None:
    audio = track(1, "microphone", 2.0, 9)
    retimer = Retimer(48_000, 1.5)
    assert [retimer.place(audio, at, 960) for at in (0, 960, 1920)] == [24_000, 24_960, 25_920]


def test_a_corrected_clock_is_slewed_in_without_a_jump() -> None:
    audio = track(1, "microphone", 0, 9, mappings=((0, 0.0), (9_600, 0.25)))
    retimer = Retimer(48_000, 0.0)
    times = [retimer.place(audio, at, 960) for at in range(0, 960 * 200, 960)]
    steps = [after - before for before, after in pairwise(times)]
    assert max(steps) <= 960 * 1.03
    assert times[-1] == 199 * 960 + round(0.05 * 48_000)
    assert retimer.lag == 0


def test_after_a_hole_the_new_clock_holds_at_once() -> None:
    audio = track(1, "microphone", 0, 9, mappings=((0, 0.0), (48_000, 1.05)))
    retimer = Retimer(48_000, 0.0)
    retimer.place(audio, 0, 960)
    assert retimer.place(audio, 48_000, 960) == round(1.05 * 48_000)


def test_a_first_sample_that_webm_rounded_down_has_its_own_clock_already() -> None:
    audio = track(1, "microphone", 0, 9, mappings=((0, 0.0), (48_040, 0.95)))
    retimer = Retimer(48_000, 0.0)
    retimer.place(audio, 0, 960)
    assert [retimer.place(audio, at, 960) for at in (48_000, 48_960)] == [45_560, 46_520]


@given(
    st.lists(st.tuples(st.integers(0, 5_000), st.integers(1, 3_000)), min_size=1, max_size=30),
    st.lists(st.tuples(st.integers(1, 50_000), st.floats(-2, 2)), max_size=4),
)
@settings(max_examples=100)
def test_output_times_always_rise(gaps: list[tuple[int, int]], jumps: list[tuple[int, float]]) -> None:
    mappings = [(0, 0.0), *((at, at / 48_000 + error_s) for at, error_s in sorted(jumps))]
    audio = track(1, "microphone", 0, 9, mappings=tuple(mappings))
    retimer = Retimer(48_000, 0.0)
    decode_time = 0
    times = []
    for hole, duration in gaps:
        decode_time += hole
        times.append(retimer.place(audio, decode_time, duration))
        decode_time += duration
    assert all(before < after for before, after in pairwise(times))
