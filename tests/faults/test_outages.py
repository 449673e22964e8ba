"""Servers, signalling and media paths that go away and come back: the recording goes on, its gaps true to a frame."""

import asyncio
import itertools
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pytest
from livekit.protocol import rtc as protocol
from livekit.rtc import SimulateScenarioKind

from agent.credentials import Credentials
from agent.service.local_server import LocalServer
from media.frames import Codec, MediaKind
from media.record.entries import RecordingState
from media.record.reader import RecordingView, TrackView, read_recording
from media.record.verify import verify_recording
from media.tap.connection import MEDIA_SILENCE_S
from media.tap.tap import TapState
from tests.faults.faulty_network import FaultyNetwork, faulty_network
from tests.faults.numbered import FRAME_S, NumberedPublisher
from tests.faults.recorded import pictures
from tests.faults.watched import WatchedRecorder, recording_room
from tests.integration.participants import room_name
from tests.integration.publishing import eventually

pytestmark = [pytest.mark.faults, pytest.mark.server, pytest.mark.timeout(300)]

BACK_WITHIN_S = 2.0
BLOCKED_S = (3.0, 9.0)  # waited for, and long enough that the tap joins anew
LONGER_THAN_ENCODERS_S = 0.5
OUTAGES_S = (0.5, 2.0, 5.0)


@dataclass(frozen=True, slots=True)
class Hole:
    """Pictures that are not in the recording. Times are seconds of media time; `told_s` is what the recording says."""

    after_number: int
    missing: int
    true_s: float
    told_s: float

    @property
    def error_s(self) -> float:
        """How far the recording is off."""
        return self.told_s - self.true_s


def video_tracks(view: RecordingView) -> list[TrackView]:
    return [track for track in view.tracks if track.descriptor.kind is MediaKind.VIDEO]


def shown(view: RecordingView) -> list[tuple[float, int]]:
    """Media time and number of every recorded picture, in order of time."""
    found: list[tuple[float, int]] = []
    for track in video_tracks(view):
        for picture in pictures(view, track):
            assert picture.number is not None
            found.append((track.media_time_s(picture.decode_time), picture.number))
    return sorted(found)


def holes(view: RecordingView, publisher: NumberedPublisher) -> list[Hole]:
    """Where more than an encoder's own frame drop is missing, as it was and as the recording has it."""
    found = []
    for (one_s, one), (two_s, two) in itertools.pairwise(shown(view)):
        assert two > one, f"picture {two} comes after {one}"
        if two - one > 3:
            true_s = publisher.captured[two] - publisher.captured[one] - FRAME_S
            found.append(Hole(one, two - one - 1, true_s, two_s - one_s - FRAME_S))
    return found


def told_gaps(view: RecordingView) -> list[float]:
    """Lengths of the gaps that the journal tells of within video tracks, in order of time."""
    gaps = [
        (track.media_time_s(gap.decode_time), gap.duration / track.timescale)
        for track in video_tracks(view)
        for gap in track.gaps
        if gap.duration > 3 * FRAME_S * track.timescale
    ]
    return [length_s for _, length_s in sorted(gaps)]


def check_holes(found: Iterable[Hole], most: float = FRAME_S) -> None:
    for hole in found:
        print(
            f"  {hole.missing} pictures missing: truly {hole.true_s:.3f} s, told {hole.told_s:.3f} s, "
            f"off by {hole.error_s * 1000:+.1f} ms"
        )
        assert abs(hole.error_s) <= most, hole


def complete(folder: Path) -> RecordingView:
    """The one recording in `folder`, found sound."""
    assert verify_recording(folder / "one").problems == ()
    view = read_recording(folder / "one")
    assert view.state is RecordingState.COMPLETE
    return view


@pytest.mark.parametrize("outage_s", OUTAGES_S)
async def test_a_server_that_is_killed_and_comes_back(server_binary: Path, tmp_path: Path, outage_s: float) -> None:
    local = LocalServer(server_binary, log_file=tmp_path / "server.log")
    credentials = (await local.start()).credentials
    room = room_name()
    try:
        async with NumberedPublisher(credentials, room) as publisher:
            async with recording_room(credentials, room, tmp_path) as recorder:
                await recorder.more_video(50)
                before = set(recorder.announced)
                await local.kill()
                killed_at = time.time()
                await asyncio.sleep(outage_s)
                await local.start(credentials)
                back_at = time.time()
                await recorder.more_video(100, after=back_at, timeout_s=90)
            rejoined_s = (recorder.connected_after(killed_at) or float("inf")) - back_at
            published_at = min(at for sid, at in recorder.announced.items() if sid not in before)
            first_s = recorder.video_after(back_at)[0]
    finally:
        await local.aclose()
    print(
        f"server away {back_at - killed_at:.2f} s: tap joined {rejoined_s:+.2f} s after its return, publisher "
        f"published {published_at - back_at:+.2f} s, first picture {first_s - back_at:+.2f} s after the return and "
        f"{first_s - published_at:.2f} s after it was published"
    )
    assert rejoined_s <= BACK_WITHIN_S
    assert first_s - max(back_at, published_at) <= BACK_WITHIN_S
    check_holes(holes(complete(tmp_path), publisher))


async def cut_signalling(network: FaultyNetwork) -> None:
    network.cut_signalling()


async def ask_to_reconnect(network: FaultyNetwork) -> None:
    await network.tell_taps_to_leave(protocol.LeaveRequest.Action.RECONNECT)


async def ask_to_resume(network: FaultyNetwork) -> None:
    await network.tell_taps_to_leave(protocol.LeaveRequest.Action.RESUME)


@pytest.mark.parametrize("codec", [Codec.VP8, Codec.H264])
async def test_a_tap_that_loses_its_signalling_or_is_sent_away(
    livekit_server: Credentials, tmp_path: Path, codec: Codec
) -> None:
    room = room_name()
    faults = (cut_signalling, ask_to_reconnect, ask_to_resume, cut_signalling, ask_to_reconnect)
    away: list[float] = []
    async with (
        NumberedPublisher(livekit_server, room, codec=codec) as publisher,
        faulty_network(livekit_server, relay_media=False) as network,
        recording_room(network.credentials, room, tmp_path) as recorder,
    ):
        await recorder.more_video(50)
        for fault in faults:
            at = time.time()
            await fault(network)
            await eventually(lambda at=at: recorder.connected_after(at), timeout_s=30)  # type: ignore[misc]
            await recorder.more_video(50)
            away.append(longest_pause(recorder, at))
    assert len(network.taps) == 0
    print(f"{codec}: no media for " + ", ".join(f"{pause_s:.2f}" for pause_s in away) + " s")
    assert max(away) <= BACK_WITHIN_S
    view = complete(tmp_path)
    assert len(view.tracks) == 2
    found = holes(view, publisher)
    check_holes(found)
    check_told(view, found)


def check_told(view: RecordingView, found: list[Hole]) -> None:
    """The journal tells of each hole that the network made, to a frame, and of none that was not there."""
    told = told_gaps(view)
    for length_s in told:
        # A gap starts a usual frame's duration after the last one: with an encoder that drops some, that is longer.
        assert min(abs(length_s - hole.true_s) for hole in found) <= 2 * FRAME_S
    # Shorter ones may be an encoder's that had too little time.
    assert len(told) >= sum(hole.true_s > LONGER_THAN_ENCODERS_S for hole in found)


def longest_pause(recorder: WatchedRecorder, after: float) -> float:
    """The longest time without a video frame since `after`."""
    return max(two - one for one, two in itertools.pairwise([after, *recorder.video_after(after)]))


@pytest.mark.parametrize("blocked_s", BLOCKED_S)
async def test_a_media_path_that_is_blocked_for_seconds(
    livekit_server: Credentials, tmp_path: Path, blocked_s: float
) -> None:
    room = room_name()
    async with (
        NumberedPublisher(livekit_server, room) as publisher,
        faulty_network(livekit_server) as network,
        recording_room(network.credentials, room, tmp_path) as recorder,
    ):
        await recorder.more_video(50)
        network.block_media(blocked=True)
        await asyncio.sleep(blocked_s)
        network.block_media(blocked=False)
        open_at = time.time()
        await recorder.more_video(100, after=open_at)
        first_s = recorder.video_after(open_at)[0] - open_at
        states = [state for _, state in recorder.states]
    print(f"media blocked for {blocked_s} s: first picture {first_s:.2f} s after it was open again; {states}")
    if blocked_s < MEDIA_SILENCE_S:
        assert states == [TapState.CONNECTED]
        assert first_s <= BACK_WITHIN_S
    else:
        assert states == [TapState.CONNECTED, TapState.RECONNECTING, TapState.CONNECTED]
        # The checks of ICE come ever more seldom while nothing answers.
        assert first_s <= BACK_WITHIN_S + blocked_s - MEDIA_SILENCE_S
    view = complete(tmp_path)
    found = holes(view, publisher)
    check_holes(found)
    check_told(view, found)


@pytest.mark.parametrize(
    "scenario", [SimulateScenarioKind.SIMULATE_SIGNAL_RECONNECT, SimulateScenarioKind.SIMULATE_FULL_RECONNECT]
)
async def test_a_publisher_that_reconnects(
    livekit_server: Credentials, tmp_path: Path, scenario: SimulateScenarioKind.ValueType
) -> None:
    room = room_name()
    async with (
        NumberedPublisher(livekit_server, room) as publisher,
        recording_room(livekit_server, room, tmp_path) as recorder,
    ):
        await recorder.more_video(50)
        before = set(recorder.announced)
        at = time.time()
        await publisher.room.simulate_scenario(scenario)
        await asyncio.sleep(1)
        await recorder.more_video(100)
        pause_s = longest_pause(recorder, at)
        published = [when - at for sid, when in recorder.announced.items() if sid not in before]
        states = [state for _, state in recorder.states]
    print(f"publisher's reconnect ({scenario}): no media for {pause_s:.2f} s, published anew after {published}")
    assert states == [TapState.CONNECTED]
    check_holes(holes(complete(tmp_path), publisher))
