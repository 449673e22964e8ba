"""A frame rate that a recording asks for, on a real server: it leaves temporal layers out, and brings them back."""

import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from agent import RoomAgent, RoomRequest, load_settings
from agent.credentials import Credentials
from agent.room.recording_plan import LayerPolicy, RecordingPlan
from agent.room.subscription import SubscriptionPolicy, SubscriptionRule
from agent.tokens import ParticipantTokenRequest, mint_participant_token
from media.clock import SteadyClock
from media.frames import Codec, EncodedFrame, MediaKind
from media.tap.events import LayerQuality, RemoteParticipant
from media.tap.tap import Tap, TapOptions, TapState
from quality.stats import TrackKind
from tests.faults.faulty_network import faulty_network
from tests.integration.participants import room_name
from tests.integration.publishing import Publisher, eventually

pytestmark = [pytest.mark.faults, pytest.mark.server, pytest.mark.timeout(300)]

LIMIT = 10  # of about 25, 12.5 and 6.3, the second is taken
SHARE = (0.35, 0.65)  # of all frames, where every second one comes
WHOLE = (0.7, 1.15)  # lower layers have 20 frames/s where the highest has 25
COUNTED_S = 4.0
SOON_S = 30.0  # the server may look at a limit for the first time once its counts are there
VIDEO = SubscriptionRule(kind=TrackKind.VIDEO, max_fps=LIMIT)


@dataclass
class Counted:
    """Counts the frames of one video, and what its publisher sent meanwhile."""

    publisher: Publisher
    frames: list[tuple[float, int]] = field(default_factory=list)
    broken: int = 0
    heights: set[int] = field(default_factory=set)
    participants: dict[str, RemoteParticipant] = field(default_factory=dict)
    states: list[TapState] = field(default_factory=list)

    def on_tap_frames(self, _track_sid: str, frames: tuple[EncodedFrame, ...]) -> None:
        self.frames += [(time.monotonic(), frame.height or 0) for frame in frames]
        self.broken += sum(frame.discontinuity for frame in frames)

    def on_tap_participants(self, participants: dict[str, RemoteParticipant]) -> None:
        self.participants = participants

    def on_tap_state(self, state: TapState, reason: str) -> None:
        self.states.append(state)

    def on_tap_stream_state(self, track_sid: str, *, paused: bool) -> None:
        pass

    def on_tap_refused(self, track_sid: str, reason: str) -> None:
        raise AssertionError(f"the server refuses {track_sid}: {reason}")

    def on_tap_allowed(self, track_sid: str) -> None:
        pass

    def video(self) -> str | None:
        tracks = (track for item in self.participants.values() for track in item.tracks)
        return next((track.sid for track in tracks if track.kind is MediaKind.VIDEO), None)

    async def share(self) -> float:
        """Frames that came over frames that were sent, for some seconds."""
        sent, came = await self.publisher.frames_sent(), len(self.frames)
        until = time.monotonic() + COUNTED_S
        await eventually(lambda: time.monotonic() > until or None, timeout_s=2 * COUNTED_S)
        return (len(self.frames) - came) / max(1, await self.publisher.frames_sent() - sent)

    async def until_share(self, least: float, most: float) -> float:
        """Until the share of frames is within these."""
        deadline = time.monotonic() + SOON_S
        while not least <= (share := await self.share()) <= most:
            assert time.monotonic() < deadline, f"{share:.2f} of the frames come, not {least} to {most}"
        return share


def tap_for(server: Credentials, room: str, counted: Counted) -> Tap:
    def token() -> str:
        request = ParticipantTokenRequest(room, "tap", hidden=True, recorder=True, can_publish=False)
        return mint_participant_token(server, request)

    return Tap(TapOptions(server.url, token), counted, SteadyClock())


def publisher(server: Credentials, room: str) -> Publisher:
    return Publisher(server, room, codec=Codec.VP8, width=1280, height=720, bitrate_bps=1_700_000)


async def test_half_of_the_frames_come_on_request_and_all_of_them_afterwards(livekit_server: Credentials) -> None:
    room = room_name()
    async with publisher(livekit_server, room) as sender, faulty_network(livekit_server) as network:
        counted = Counted(sender)
        tap = tap_for(network.credentials, room, counted)
        await tap.start()
        video = await eventually(counted.video)
        await tap.subscribe(video)
        await eventually(lambda: any(height == 720 for _, height in counted.frames) or None, timeout_s=40)
        await counted.until_share(*WHOLE)
        await tap.set_max_fps(video, LIMIT)
        await counted.until_share(*SHARE)
        assert counted.frames[-1][1] in {0, 720}, "the picture is as large as before"

        await tap.set_quality(video, LayerQuality.MEDIUM)
        await counted.until_share(*SHARE)
        assert tap.max_fps(video) == LIMIT, "another layer asked for keeps the frame rate"

        states = len(counted.states)
        network.cut_signalling()
        await eventually(lambda: TapState.CONNECTED in counted.states[states:] or None, timeout_s=30)
        await counted.until_share(*SHARE)

        await tap.set_max_fps(video, None)
        await counted.until_share(*WHOLE)
        await tap.aclose()
        assert counted.broken <= 2, "what is left out breaks nothing; the new connection begins anew"


async def test_a_recording_has_the_frame_rate_of_its_rule_and_of_its_plan(
    livekit_server: Credentials, tmp_path: Path
) -> None:
    room = room_name()
    settings = load_settings().model_copy(update={"recordings_dir": tmp_path})
    limited = RecordingPlan(layers=LayerPolicy(max_fps=LIMIT))
    async with (
        publisher(livekit_server, room) as sender,
        RoomAgent(livekit_server, RoomRequest(room, identity="recorder"), settings) as agent,
    ):

        async def until_share(least: float, most: float) -> None:
            deadline = time.monotonic() + SOON_S
            share = -1.0
            while not least <= share <= most:
                assert time.monotonic() < deadline, f"{share:.2f} of the frames are recorded, not {least} to {most}"
                sent, recorded = await sender.frames_sent(), frames()
                until = time.monotonic() + COUNTED_S
                await eventually(lambda: time.monotonic() > until or None, timeout_s=2 * COUNTED_S)  # noqa: B023
                share = (frames() - recorded) / max(1, await sender.frames_sent() - sent)

        def frames() -> int:
            return agent.counters().recording_frames.get("video", 0)

        await agent.start_recording(policy=SubscriptionPolicy((VIDEO,)))
        await eventually(lambda: frames() >= 25 or None, timeout_s=40)
        await until_share(*SHARE)
        await agent.change_recording(policy=SubscriptionPolicy())
        await until_share(*WHOLE)
        await agent.change_recording(plan=limited)
        await until_share(*SHARE)
        await agent.stop_recording()
