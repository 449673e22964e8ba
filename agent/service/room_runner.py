"""One room agent's life inside its process: start, commands, reports, drain."""

import asyncio
from dataclasses import is_dataclass

import structlog

from agent.errors import ConnectionLost, RoomhandError
from agent.logs import bind_context
from agent.room.state import ConnectionState, RecordingStatus
from agent.service import event_report
from agent.service.line_writer import LineWriter
from agent.service.protocol import (
    ChangeRecording,
    Command,
    Done,
    ErrorReport,
    PauseRecording,
    Publish,
    RecordingCommand,
    Reply,
    Request,
    ResumeRecording,
    RoomEnded,
    RoomEventReport,
    RoomOptions,
    RoomReport,
    RoomStarted,
    SendData,
    SendText,
    SetEncryptionKey,
    SetLayer,
    SetMuted,
    SetPolicy,
    SetSubscribed,
    StartRecording,
    StopRecording,
    Unpublish,
    decode_down,
    report_error,
)
from agent.service.room_agent_port import AgentFactory, RoomAgentPort
from agent.service.room_metrics import MetricsSampler
from agent.tasks import Tasks
from media.clock import SteadyClock
from media.errors import MediaError

REPORT_INTERVAL_S = 1.0

log = structlog.get_logger(__name__)


class RoomRunner:
    """Runs one agent. Commands are carried out one after the other, in the order they came."""

    def __init__(
        self,
        factory: AgentFactory,
        options: RoomOptions,
        commands: asyncio.StreamReader,
        writer: LineWriter,
        stop: asyncio.Event,
    ) -> None:
        self._factory = factory
        self._options = options
        self._commands = commands
        self._writer = writer
        self._stop = stop
        self._clock = SteadyClock()
        self._sampler = MetricsSampler()
        self._tasks = Tasks("room_process")

    async def run(self) -> RoomEnded:
        """From joining to the end, which is the last line that the supervisor gets. Never raises."""
        if self._options.recording_id:
            bind_context(recording=self._options.recording_id)
        try:
            ended = await self._live()
        except (RoomhandError, MediaError) as error:
            log.warning("room_ended_by_error", code=error.code, error=str(error))
            ended = RoomEnded("error", report_error(error))
        except Exception as error:  # the border of the process
            log.exception("room_ended_by_fault")
            ended = RoomEnded("error", _internal(error))
        finally:
            await self._tasks.aclose()
        self._writer.send(ended)
        return ended

    async def _live(self) -> RoomEnded:
        agent = await self._factory(self._options)
        agent.add_listener(self._report_event)
        self._tasks.start(self._report_each_second(agent), name="reports")
        try:
            # Never cancelled: a join that is torn down half-way brings the native SDK down (see facts).
            await agent.start()
            self._report(agent)
            self._writer.send(RoomStarted())
            reason = await self._until_over(agent)
            log.info("room_ending", reason=reason)
        finally:
            await agent.aclose()
            self._report(agent)
        return RoomEnded(reason)

    async def _until_over(self, agent: RoomAgentPort) -> str:
        closed = self._tasks.start(agent.wait_closed(), name="wait_closed")
        orphaned = self._tasks.start(self._serve(agent), name="commands")
        stopped = self._tasks.start(self._stop.wait(), name="stop")
        await asyncio.wait({closed, orphaned, stopped}, return_when=asyncio.FIRST_COMPLETED)
        if closed.done():
            return closed.result()
        if orphaned.done():
            orphaned.result()
            return "orphaned"
        orphaned.cancel()  # a command that still runs would meet a closing agent
        await asyncio.wait({orphaned})
        return "drained"

    async def _serve(self, agent: RoomAgentPort) -> None:
        """Carry out commands until standard input ends, which it does when the supervisor is gone."""
        while line := await self._commands.readline():
            request = decode_down(line)
            if isinstance(request, Request):
                reply = await self._reply(agent, request)
                self._report(agent)
                self._writer.send(reply)

    async def _reply(self, agent: RoomAgentPort, request: Request) -> Reply:
        try:
            return Reply(request.id, done=await _carry_out(agent, request.command))
        except (RoomhandError, MediaError) as error:
            log.info("command_failed", command=request.command.type, code=error.code, error=str(error))
            return Reply(request.id, error=report_error(error))
        except Exception as error:  # one command's fault must not end the room
            log.exception("command_fault", command=request.command.type)
            return Reply(request.id, error=_internal(error))

    async def _report_each_second(self, agent: RoomAgentPort) -> None:
        while True:
            self._report(agent, observe=True)
            await asyncio.sleep(REPORT_INTERVAL_S)

    def _report(self, agent: RoomAgentPort, *, observe: bool = False) -> None:
        """Tell how the room is; `observe` once a second, so that a busy room weighs no more than others."""
        state = agent.state()
        self._writer.send(RoomReport(state, self._sampler.sample(state, agent.counters(), observe=observe)))

    def _report_event(self, event: object) -> None:
        name = event_report.event_name(event)
        if name not in event_report.UNREPORTED and is_dataclass(event) and not isinstance(event, type):
            self._writer.send(RoomEventReport(name, self._clock.now(), event_report.event_fields(event)))


def _internal(error: Exception) -> ErrorReport:
    return ErrorReport("internal", f"{type(error).__name__} in the room's process; its log says more", retryable=True)


async def _carry_out(agent: RoomAgentPort, command: Command) -> Done:
    match command:
        case StartRecording() | StopRecording() | PauseRecording() | ResumeRecording() | ChangeRecording():
            return Done(recording=await _record(agent, command))
        case Publish(source, options):
            return Done(publications=await agent.publish(source, options))
        case SetEncryptionKey(key, participant_identity, key_index):
            await agent.set_e2ee_key(key, participant_identity=participant_identity, key_index=key_index)
        case SetPolicy(policy):
            await agent.set_policy(policy)
        case SetSubscribed(track_sid, subscribed):
            await agent.set_subscribed(track_sid, subscribed)
        case SetLayer(track_sid, quality, target):
            await agent.set_layer(track_sid, quality, target)
        case Unpublish(sid):
            await agent.unpublish(sid)
        case SetMuted(sid, muted):
            await agent.set_muted(sid, muted)
        case SendData(payload, topic, reliable, identities):
            _check_stands(agent)
            await agent.send_data(payload, topic, reliable, identities)
        case SendText(text, topic, identities):
            _check_stands(agent)
            await agent.send_text(text, topic, identities)
    return Done()


def _check_stands(agent: RoomAgentPort) -> None:
    """What is sent waits for the connection, and the commands after it, recordings' too, would wait behind it."""
    if agent.state().connection is ConnectionState.RECONNECTING:
        raise ConnectionLost("the connection is being restored; try again once the room is connected")


async def _record(agent: RoomAgentPort, command: RecordingCommand) -> RecordingStatus | None:
    match command:
        case StartRecording(recording_id, policy, plan, paused, key):
            bind_context(recording=recording_id)
            if key is not None:
                await agent.set_e2ee_key(key, participant_identity=None, key_index=0)
            return await agent.start_recording(recording_id, policy=policy, plan=plan, paused=paused)
        case StopRecording():
            return await agent.stop_recording()
        case PauseRecording():
            return await agent.pause_recording()
        case ResumeRecording():
            return await agent.resume_recording()
        case ChangeRecording(policy, plan):
            await agent.change_recording(policy=policy, plan=plan)
            return agent.state().recording
