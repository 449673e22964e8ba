"""What survives when the connection does not: the SDK's own failure scenarios, and a real signal."""

import asyncio
import os
import signal
import sys
import textwrap
import time

import pytest
from livekit.rtc import SimulateScenarioKind

from agent.credentials import Credentials
from agent.room.events import (
    ConnectionStateChanged,
    DataTrackFrame,
    DataTrackPublished,
    Disconnected,
    LayerChanged,
    LocalTrackPublished,
    ParticipantConnected,
    ParticipantDisconnected,
)
from agent.room.layers import LayerAdapter
from agent.room.quality_monitor import QualityMonitor
from agent.room.quality_surroundings import ParticipantSurroundings
from agent.room.session import SessionOptions
from agent.room.state import ConnectionState
from agent.room.stats import StatsPoller
from agent.room.subscription import SubscriptionPolicy, SubscriptionRule
from agent.tokens import ParticipantTokenRequest, mint_participant_token
from media.sources.pattern import PatternSource
from media.sources.source import VideoFormat
from quality.controller import TROUBLE_S
from quality.stats import InboundRtp, TrackSource, VideoQuality
from tests.integration.participants import NOTHING, Person, Pictures, one_second_later, person, room_name
from tests.integration.publishing import eventually

pytestmark = pytest.mark.server

VIDEO = VideoFormat(1280, 720, 25.0)
LOWEST = (320, 180)


async def reconnects(someone: Person, scenario: SimulateScenarioKind.ValueType) -> None:
    """Act it out, and wait until the connection was lost and is back."""
    before = len(someone.of(ConnectionStateChanged))
    await someone.session.simulate(scenario)
    states = [ConnectionState.RECONNECTING, ConnectionState.CONNECTED]

    def back() -> bool | None:
        return True if [each.state for each in someone.of(ConnectionStateChanged)[before:]] == states else None

    await eventually(back, timeout_s=20)


@pytest.mark.parametrize(
    "scenario", [SimulateScenarioKind.SIMULATE_SIGNAL_RECONNECT, SimulateScenarioKind.SIMULATE_FULL_RECONNECT]
)
async def test_a_subscriber_gets_its_tracks_and_layers_back(
    livekit_server: Credentials, scenario: SimulateScenarioKind.ValueType
) -> None:
    room = room_name()
    rules = SubscriptionPolicy(rules=(SubscriptionRule(source=TrackSource.CAMERA),), max_tracks=1)
    async with (
        person(livekit_server, room, "sender", policy=NOTHING) as sender,
        person(livekit_server, room, "viewer", policy=rules, options=SessionOptions(data_tracks=("*",))) as viewer,
    ):
        await sender.publisher.publish(PatternSource(VIDEO, None))
        await sender.data.publish_data_track("telemetry")
        track = await viewer.sees("camera", "sender")
        pictures = Pictures()
        viewer.subscriber.on_frames(track.sid, pictures)
        await pictures.of_size(1280, 720)
        viewer.subscriber.set_quality(track.sid, VideoQuality.LOW)
        await pictures.of_size(*LOWEST)
        heard = len(viewer.of(DataTrackFrame))

        await reconnects(viewer, scenario)

        await viewer.sees("camera", "sender")
        await pictures.of_size(*LOWEST, count=10)
        assert pictures.numbers[-1] is not None
        assert viewer.subscriber.intent(track.sid).pinned

        def more_data() -> bool | None:
            sender.data.push("telemetry", b"x")
            return True if len(viewer.of(DataTrackFrame)) > heard else None

        await eventually(more_data)


@pytest.mark.parametrize(
    "scenario", [SimulateScenarioKind.SIMULATE_SIGNAL_RECONNECT, SimulateScenarioKind.SIMULATE_FULL_RECONNECT]
)
async def test_a_publisher_keeps_its_tracks_and_their_muting(
    livekit_server: Credentials, scenario: SimulateScenarioKind.ValueType
) -> None:
    room = room_name()
    full = scenario == SimulateScenarioKind.SIMULATE_FULL_RECONNECT
    async with (
        person(livekit_server, room, "sender", policy=NOTHING) as sender,
        person(livekit_server, room, "viewer") as viewer,
    ):
        before = await sender.publisher.publish(PatternSource(VIDEO))
        await sender.data.publish_data_track("telemetry")
        sender.publisher.mute("microphone")
        track = await viewer.sees("camera", "sender")
        pictures = Pictures()
        viewer.subscriber.on_frames(track.sid, pictures)
        viewer.subscriber.set_quality(track.sid, VideoQuality.LOW)
        await pictures.of_size(*LOWEST)

        await reconnects(sender, scenario)

        after = sender.publisher.publications
        assert [(each.name, each.status, each.muted) for each in after] == [
            ("camera", "published", False),
            ("microphone", "published", True),
        ]
        changed = {each.previous_sid: each.sid for each in sender.of(LocalTrackPublished) if each.previous_sid}
        assert changed == ({old.sid: new.sid for old, new in zip(before, after, strict=True)} if full else {})
        seen = await viewer.sees("camera", "sender")
        await pictures.more(10)
        await pictures.of_size(*LOWEST)
        assert viewer.subscriber.intent(seen.sid).quality is VideoQuality.LOW
        assert next(each for each in viewer.session.tracks if each.name == "microphone").muted
        assert len({each.sid for each in viewer.of(DataTrackPublished)}) == (2 if full else 1)


async def test_the_controller_steps_down_when_told_to_and_says_why(livekit_server: Credentials) -> None:
    """The rules' ceiling is the one reason that needs no bad network."""
    room = room_name()
    async with (
        person(livekit_server, room, "sender", policy=NOTHING) as sender,
        person(livekit_server, room, "viewer") as viewer,
    ):
        await sender.publisher.publish(PatternSource(VIDEO, None))
        track = await viewer.sees("camera", "sender")
        poller = StatsPoller(viewer.session, viewer.subscriber)
        decided: list[str] = []
        adapter = LayerAdapter(
            viewer.session, viewer.subscriber, on_decision=lambda decision: decided.append(decision.reason)
        )
        surroundings = ParticipantSurroundings(viewer.session, viewer.publisher)
        monitor = QualityMonitor("participant", surroundings, lambda _event: None)
        monitor.add_listener(adapter.on_tick)
        poller.start()
        pictures = Pictures()
        viewer.subscriber.on_frames(track.sid, pictures)
        await pictures.of_size(1280, 720)
        snapshots = await poller.poll() or ()
        assert isinstance(snapshots[0].stats, InboundRtp)
        assert snapshots[0].requested_quality is VideoQuality.HIGH
        assert [layer.height for layer in snapshots[0].layers] == [180, 360, 720]

        # Samples of a frozen picture, as a starved link gives them, and none of the poller's: what came of lower layers
        # as the video began on a busy machine would say what they take.
        frozen = snapshots[0]
        await poller.aclose()
        monitor.take((frozen,), frozen.timestamp)
        for second in range(1, TROUBLE_S + 3):
            frozen = one_second_later(frozen, freeze_count=second)
            monitor.take((frozen,), frozen.timestamp)
        change = await viewer.hears(LayerChanged)
        assert (change.from_quality, change.to_quality) == (VideoQuality.HIGH, VideoQuality.MEDIUM)
        assert "froze" in change.reason
        assert decided[0] == change.reason
        assert viewer.subscriber.intent(track.sid).quality < VideoQuality.HIGH
        await eventually(lambda: True if pictures.sizes[-1] != (1280, 720) else None)


async def test_the_server_sends_us_away(livekit_server: Credentials) -> None:
    room = room_name()
    async with person(livekit_server, room, "sender") as sender:
        await sender.publisher.publish(PatternSource(VIDEO))
        await sender.session.simulate(SimulateScenarioKind.SIMULATE_SERVER_LEAVE)
        async with asyncio.timeout(10):
            ended = await sender.session.wait_ended()
        assert ended.reason == "server_shutdown"
        assert [type(event) for event in sender.told[-2:]] == [ConnectionStateChanged, Disconnected]


PROGRAM = textwrap.dedent(
    """
    import asyncio, signal, sys
    from agent.room.publisher import Publisher
    from agent.room.session import RoomSession
    from agent.room.subscriber import Subscriber
    from media.sources.pattern import PatternSource

    async def main() -> None:
        stop = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
        session = RoomSession(sys.argv[1], sys.stdin.readline().strip())
        publisher, _ = Publisher(session), Subscriber(session)
        await session.connect()
        await publisher.publish(PatternSource())
        print("publishing", flush=True)
        await stop.wait()
        await session.aclose()
        print("left", flush=True)

    asyncio.run(main())
    """
)


async def test_a_process_with_sources_running_leaves_on_sigterm(livekit_server: Credentials) -> None:
    room = room_name()
    async with person(livekit_server, room, "viewer", policy=NOTHING) as viewer:
        token = mint_participant_token(livekit_server, ParticipantTokenRequest(room, "sender"))
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            PROGRAM,
            livekit_server.url,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(f"{token}\n".encode())
        while (line := await process.stdout.readline()) and b"publishing" not in line:
            continue
        assert b"publishing" in line
        await viewer.hears(ParticipantConnected)
        await asyncio.sleep(1.0)
        started = time.monotonic()
        process.send_signal(signal.SIGTERM)
        output, errors = await process.communicate()
        assert process.returncode == 0, errors.decode()
        assert time.monotonic() - started < 5.0
        assert b"left" in output
        assert b"panic" not in errors.lower()
        await viewer.hears(ParticipantDisconnected)
