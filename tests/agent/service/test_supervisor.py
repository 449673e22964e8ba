"""The supervisor with real processes, each running a fake agent."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry
from pydantic import SecretStr

from agent.config import Settings
from agent.errors import (
    ConnectionLost,
    RecordingConflict,
    RoomConflict,
    RoomNotFound,
    RoomUnavailable,
    TrackNotFound,
    Unauthorized,
)
from agent.metrics import build_metrics
from agent.room.publish_options import PublishOptions
from agent.room.recording_plan import RecordingPlan, RecordWhen, StopConditions
from agent.room.subscription import SubscribeAction, SubscriptionPolicy, SubscriptionRule
from agent.service.desired_rooms import DesiredRooms
from agent.service.event_log import EventLog
from agent.service.protocol import (
    ChangeRecording,
    PauseRecording,
    Publish,
    ResumeRecording,
    RoomOptions,
    SendData,
    SendText,
    SetEncryptionKey,
    SetLayer,
    SetPolicy,
    SetSubscribed,
    StartRecording,
)
from agent.service.room_child import RoomFault
from agent.service.room_slot import RoomView
from agent.service.supervision import Phase
from agent.service.supervisor import Supervisor, SupervisorParts
from media.clock import SteadyClock
from quality.stats import TrackKind
from tests.integration.publishing import eventually

FAKE_ROOM = (sys.executable, str(Path(__file__).with_name("fake_room_process.py")))
WAIT_S = 20.0
POLICY = SubscriptionPolicy((SubscriptionRule(kind=TrackKind.AUDIO),), SubscribeAction.IGNORE, 4)


@pytest.fixture
def service_settings(tmp_path: Path) -> Settings:
    return Settings(
        livekit_url="ws://127.0.0.1:1",
        livekit_api_key="key",
        livekit_api_secret=SecretStr("s" * 32),
        recordings_dir=tmp_path / "recordings",
        state_dir=tmp_path / "state",
        drain_timeout_s=5,
        log_level="warning",
    )


def make(settings: Settings) -> tuple[Supervisor, EventLog]:
    events = EventLog("test")
    metrics = build_metrics(CollectorRegistry(), "0")
    return Supervisor(SupervisorParts(settings, SteadyClock(), events, metrics, FAKE_ROOM)), events


@pytest.fixture
async def running(service_settings: Settings) -> AsyncIterator[tuple[Supervisor, EventLog]]:
    supervisor, events = make(service_settings)
    await supervisor.start()
    yield supervisor, events
    await supervisor.drain()
    await supervisor.aclose()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(WAIT_S):
        while not condition():  # noqa: ASYNC110 - what is awaited happens in other processes
            await asyncio.sleep(0.02)


async def until_running_again(supervisor: Supervisor, room: str, restarts: int) -> RoomView:
    await until(lambda: supervisor.room(room).phase is Phase.RUNNING and supervisor.room(room).restarts == restarts)
    return supervisor.room(room)


def alive(process_id: int | None) -> bool:
    """Whether that process runs; one that only waits to be reaped does not."""
    stat = Path(f"/proc/{process_id}/stat")
    return stat.exists() and stat.read_text().rsplit(")", 1)[1].split()[0] != "Z"


def arguments_and_environment(process_id: int | None) -> bytes:
    """All that others may see of a process."""
    return b"".join(Path(f"/proc/{process_id}/{name}").read_bytes() for name in ("cmdline", "environ"))


def recording_log(settings: Settings, recording_id: str) -> list[str]:
    lines = (settings.recordings_dir / recording_id / "log.jsonl").read_text().splitlines()
    return [json.loads(line)["what"] for line in lines]


async def test_a_killed_room_comes_back_in_the_same_recording_and_others_notice_nothing(
    running: tuple[Supervisor, EventLog], service_settings: Settings
) -> None:
    supervisor, events = running
    first, second = await asyncio.gather(
        supervisor.start_room(RoomOptions("one"), record=True), supervisor.start_room(RoomOptions("two"), record=False)
    )
    assert first.recording_id is not None
    assert first.process_id is not None
    os.kill(first.process_id, signal.SIGKILL)
    again = await until_running_again(supervisor, "one", restarts=1)
    assert again.process_id != first.process_id
    assert again.recording_id == first.recording_id
    assert recording_log(service_settings, first.recording_id) == ["start", "start"]
    other = supervisor.room("two")
    assert (other.process_id, other.restarts, other.phase) == (second.process_id, 0, Phase.RUNNING)
    names = [entry.event for entry in events.read_after(0).events if entry.room == "one"]
    assert names == ["room_started", "room_restarting", "room_started"]


async def test_commands_reach_the_room_and_its_errors_come_back(running: tuple[Supervisor, EventLog]) -> None:
    supervisor, events = running
    await supervisor.start_room(RoomOptions("one"), record=False)
    done = await supervisor.command("one", Publish("pattern", PublishOptions()))
    assert [item.name for item in done.publications] == ["pattern"]
    state = supervisor.room("one").state
    assert state is not None
    assert [item.name for item in state.publications] == ["pattern"]
    await supervisor.command("one", SetSubscribed("TR_remote", False))
    event = events.read_after(0).events[-1]
    assert (event.event, event.fields) == ("track_subscribed", {"track_sid": "TR_remote", "payload": "AP8="})
    with pytest.raises(RoomFault) as fault:
        await supervisor.command("one", SetLayer("TR_none", "low", "tap"))
    assert isinstance(fault.value.error, TrackNotFound)
    with pytest.raises(RoomFault, match="ValueError"):
        await supervisor.command("one", SendData(b"", "fault", True, ()))
    await supervisor.command("one", SetLayer("TR_remote", "low", "tap"))
    with pytest.raises(RoomNotFound):
        await supervisor.command("two", Publish("pattern", PublishOptions()))


async def test_nothing_is_sent_while_the_connection_is_being_restored_and_other_commands_do_not_wait(
    running: tuple[Supervisor, EventLog],
) -> None:
    supervisor, _ = running
    await supervisor.start_room(RoomOptions("one"), record=False)
    await supervisor.command("one", SendData(b"", "lose", True, ()))
    for sent in (SendData(b"", "", True, ()), SendText("hello", "lk.chat", ())):
        with pytest.raises(RoomFault, match="being restored") as fault:
            await supervisor.command("one", sent)
        assert isinstance(fault.value.error, ConnectionLost)
    await supervisor.command("one", SetLayer("TR_remote", "low", "tap"))


async def test_a_caller_is_told_when_the_room_dies_under_its_command(running: tuple[Supervisor, EventLog]) -> None:
    supervisor, _ = running
    await supervisor.start_room(RoomOptions("one"), record=False)
    with pytest.raises(RoomUnavailable, match="died"):
        await supervisor.command("one", SendData(b"", "crash", True, ()))
    with pytest.raises(RoomUnavailable):
        await supervisor.command("one", Publish("pattern", PublishOptions()))
    await until_running_again(supervisor, "one", restarts=1)


async def test_recordings_and_rules_outlive_the_process(
    running: tuple[Supervisor, EventLog], service_settings: Settings
) -> None:
    supervisor, _ = running
    started = await supervisor.start_room(RoomOptions("one"), record=False)
    with pytest.raises(RecordingConflict):
        await supervisor.stop_recording("one")
    done = await supervisor.start_recording("one", StartRecording(""))
    assert done.recording is not None
    with pytest.raises(RecordingConflict, match=done.recording.recording_id):
        await supervisor.start_recording("one", StartRecording(""))
    await supervisor.command("one", SetPolicy(POLICY))
    saved = DesiredRooms(service_settings.state_dir).load()
    assert [(item.recording_id, item.policy) for item in saved] == [(done.recording.recording_id, POLICY)]
    assert started.process_id is not None
    os.kill(started.process_id, signal.SIGKILL)
    await until_running_again(supervisor, "one", restarts=1)
    stopped = await supervisor.stop_recording("one")
    assert stopped.recording is not None
    assert stopped.recording.recording_id == done.recording.recording_id
    assert recording_log(service_settings, stopped.recording.recording_id) == ["start", "start", "complete"]
    assert supervisor.room("one").recording_id is None


async def test_recordings_that_begin_and_end_by_themselves_are_remembered(
    running: tuple[Supervisor, EventLog], service_settings: Settings
) -> None:
    supervisor, _ = running
    desired = DesiredRooms(service_settings.state_dir)
    plan = RecordingPlan(RecordWhen.PUBLISHED, StopConditions(empty_s=30))
    started = await supervisor.start_room(RoomOptions("one", recording_plan=plan), record=True)
    assert started.recording_id is None, "it has not begun"
    await supervisor.command("one", ChangeRecording(POLICY, RecordingPlan(stop=StopConditions(size_bytes=1))))
    assert await eventually(lambda: supervisor.room("one").recording_id) == "by-itself"
    (saved,) = await eventually(lambda: [item for item in desired.load() if item.recording_id] or None)
    assert saved.record_policy == POLICY
    assert saved.recording_plan == RecordingPlan(RecordWhen.PUBLISHED, StopConditions(size_bytes=1))
    done = await supervisor.command("one", PauseRecording())
    assert done.recording is not None
    assert done.recording.state == "paused"
    await supervisor.command("one", ResumeRecording())
    await supervisor.command("one", ChangeRecording(plan=RecordingPlan(stop=StopConditions(duration_s=1))))
    await eventually(lambda: supervisor.room("one").recording_id is None or None)
    with pytest.raises(RecordingConflict):
        await supervisor.stop_recording("one")
    (saved,) = desired.load()
    assert (saved.recording_id, saved.recording_stopped) == (None, True)
    await supervisor.start_recording("one", StartRecording("by-hand", paused=True))
    (saved,) = desired.load()
    assert (saved.recording_id, saved.recording_stopped) == ("by-hand", False)
    await supervisor.stop_recording("one")
    (saved,) = desired.load()
    assert (saved.recording_id, saved.recording_stopped) == (None, True)


async def test_a_start_that_fails_takes_back_what_it_changed_and_nothing_else(
    running: tuple[Supervisor, EventLog], service_settings: Settings
) -> None:
    supervisor, _ = running
    desired = DesiredRooms(service_settings.state_dir)
    plan = RecordingPlan(RecordWhen.METADATA)
    await supervisor.start_room(RoomOptions("one", recording_plan=plan), record=True)
    change = StartRecording("refused", POLICY, RecordingPlan(stop=StopConditions(empty_s=30)))
    with pytest.raises(RoomFault):
        await supervisor.start_recording("one", change)
    (saved,) = desired.load()
    assert (saved.recording_id, saved.record_policy, saved.recording_plan) == (None, None, plan)
    with pytest.raises(RoomFault):
        await supervisor.start_recording("one", replace(change, recording_id="overtaken"))
    (saved,) = desired.load()
    assert (saved.recording_id, saved.record_policy, saved.recording_plan) == ("by-the-plan", None, plan)
    stopped = await supervisor.stop_recording("one")
    assert stopped.recording is not None
    assert stopped.recording.recording_id == "by-the-plan"
    assert supervisor.room("one").recording_id is None


async def test_keys_for_end_to_end_encryption_reach_a_room_through_its_pipe_only(service_settings: Settings) -> None:
    settings = service_settings.model_copy(update={"e2ee_key": SecretStr("the setting's key")})
    supervisor, events = make(settings)
    await supervisor.start()

    def told(recording_id: str | None) -> str:
        assert recording_id is not None
        return (settings.recordings_dir / recording_id / "e2ee_key").read_text()

    plain = await supervisor.start_room(RoomOptions("plain"), record=True)
    own = await supervisor.start_room(RoomOptions("own", e2ee_key="the room's key"), record=False)
    started = await supervisor.start_recording("own", StartRecording("", e2ee_key="a newer key"))
    assert started.recording is not None
    assert told(plain.recording_id) == "the setting's key"
    assert told(started.recording.recording_id) == "a newer key"
    await supervisor.command("own", SetEncryptionKey("another place", None, 1))
    await supervisor.command("own", SetEncryptionKey("bob's key", "bob", 0))
    assert not any(b" key" in arguments_and_environment(view.process_id) for view in (plain, own))
    assert own.process_id is not None
    os.kill(own.process_id, signal.SIGKILL)
    again = await until_running_again(supervisor, "own", restarts=1)
    assert told(again.recording_id) == "a newer key"
    (saved,) = [item for item in DesiredRooms(settings.state_dir).load() if item.room == "own"]
    assert (saved.e2ee_key, saved.e2ee_participant_keys) == ("a newer key", {"bob": "bob's key"})
    assert (settings.state_dir / "rooms.json").stat().st_mode & 0o077 == 0
    shown = repr((supervisor.rooms(), events.read_after(0), saved))
    assert "newer" not in shown
    await supervisor.drain()
    await supervisor.aclose()


async def test_a_drained_service_runs_its_rooms_again_and_an_ended_room_stays_ended(service_settings: Settings) -> None:
    first, _ = make(service_settings)
    await first.start()
    kept = await first.start_room(RoomOptions("kept"), record=True)
    await first.start_room(RoomOptions("ended"), record=False)
    with pytest.raises(RoomConflict):
        await first.start_room(RoomOptions("kept"), record=False)
    await first.stop_room("ended")
    await first.drain()
    assert kept.recording_id is not None
    assert recording_log(service_settings, kept.recording_id) == ["start", "complete"]
    assert [view.phase for view in first.rooms()] == [Phase.ENDED]
    with pytest.raises(RoomUnavailable):
        await first.start_room(RoomOptions("late"), record=False)
    await first.aclose()

    second, _ = make(service_settings)
    await second.start()
    again = await until_running_again(second, "kept", restarts=0)
    assert [view.room for view in second.rooms()] == ["kept"]
    assert again.recording_id == kept.recording_id
    await second.drain()
    await second.aclose()
    assert recording_log(service_settings, kept.recording_id) == ["start", "complete", "start", "complete"]


async def test_a_room_that_cannot_be_joined_is_reported_and_not_kept(
    running: tuple[Supervisor, EventLog], service_settings: Settings
) -> None:
    supervisor, _ = running
    with pytest.raises(RoomFault) as refused:
        await supervisor.start_room(RoomOptions("bad-key"), record=False)
    assert isinstance(refused.value.error, Unauthorized)
    with pytest.raises(RoomFault, match="LIVEKIT_URL"):
        await supervisor.start_room(RoomOptions("unreachable"), record=False)
    with pytest.raises(RoomFault, match="signal 9"):
        await supervisor.start_room(RoomOptions("crash-at-start"), record=False)
    assert supervisor.rooms() == ()
    assert DesiredRooms(service_settings.state_dir).load() == ()


async def test_a_room_that_does_not_end_in_time_is_killed(service_settings: Settings) -> None:
    supervisor, _ = make(service_settings.model_copy(update={"drain_timeout_s": 1.0}))
    await supervisor.start()
    slow = await supervisor.start_room(RoomOptions("slow-drain"), record=False)
    async with asyncio.timeout(WAIT_S):
        await supervisor.drain()
    await supervisor.aclose()
    assert supervisor.room("slow-drain").phase is Phase.ENDED
    assert not alive(slow.process_id)
    assert [item.room for item in DesiredRooms(service_settings.state_dir).load()] == ["slow-drain"]


async def test_a_room_that_the_server_deleted_is_forgotten(
    running: tuple[Supervisor, EventLog], service_settings: Settings
) -> None:
    supervisor, events = running
    await supervisor.start_room(RoomOptions("one"), record=False)
    await supervisor.command("one", SendData(b"", "end", True, ()))
    await until(lambda: not supervisor.rooms())
    ended = [entry for entry in events.read_after(0).events if entry.event == "room_ended"]
    assert [entry.fields["reason"] for entry in ended] == ["room_deleted"]
    await until(lambda: DesiredRooms(service_settings.state_dir).load() == ())


async def test_a_damaged_state_file_is_kept_aside_and_stops_nothing(service_settings: Settings) -> None:
    service_settings.state_dir.mkdir(parents=True)
    (service_settings.state_dir / "rooms.json").write_text('{"version": 1, "rooms": [')
    supervisor, _ = make(service_settings)
    await supervisor.start()
    assert supervisor.rooms() == ()
    assert (service_settings.state_dir / "rooms.damaged").exists()
    await supervisor.aclose()


async def test_room_processes_end_when_the_supervisor_is_killed(service_settings: Settings, tmp_path: Path) -> None:
    program = tmp_path / "supervise.py"
    program.write_text(
        "import asyncio, sys\n"
        f"sys.path[:0] = [{str(Path(__file__).parent)!r}, {str(Path(__file__).parents[3])!r}]\n"
        "from agent.config import load_settings\n"
        "from agent.logs import configure_logs\n"
        "from agent.service.protocol import RoomOptions\n"
        "from test_supervisor import make\n"
        "configure_logs(level='error')\n"
        "async def main():\n"
        "    supervisor, _ = make(load_settings())\n"
        "    await supervisor.start()\n"
        "    view = await supervisor.start_room(RoomOptions('one'), record=True)\n"
        "    print(view.process_id, view.recording_id, flush=True)\n"
        "    await asyncio.Event().wait()\n"
        "asyncio.run(main())\n"
    )
    environment = {
        **os.environ,
        "ROOMHAND_STATE_DIR": str(service_settings.state_dir),
        "ROOMHAND_RECORDINGS_DIR": str(service_settings.recordings_dir),
        "ROOMHAND_LOG_LEVEL": "error",
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(program), env=environment, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    pid, recording_id = (await process.stdout.readline()).decode().split()
    process.kill()
    await process.wait()
    await until(lambda: recording_log(service_settings, recording_id) == ["start", "complete"])
    await until(lambda: not alive(int(pid)))
