"""`python -m agent.service.room_process`: the process of one room, with the real agent in it."""

import asyncio

from agent.bot import RoomAgent
from agent.config import load_settings
from agent.request import EVERYTHING, NOTHING, RoomRequest
from agent.room.recording_plan import RecordingPlan
from agent.service.protocol import RoomOptions
from agent.service.room_agent_port import RoomAgentPort
from agent.service.room_shell import run_room_process
from media.export.queue import ExportQueue


async def make_agent(options: RoomOptions) -> RoomAgentPort:
    """The agent for the room that the supervisor names, with this process's settings."""
    settings = load_settings()
    plan = options.recording_plan or RecordingPlan()
    request = RoomRequest(
        room=options.room,
        identity=options.identity,
        name=options.name,
        metadata=options.metadata,
        attributes=options.attributes,
        hidden=options.hidden,
        publish=options.publish,
        record=options.recording_id is not None or plan.when.begins_by_itself,
        recording_id=options.recording_id,
        recording_stopped=options.recording_stopped,
        policy=options.policy or NOTHING,
        record_policy=options.record_policy or EVERYTHING,
        recording_plan=plan,
        mux=options.mux,
        e2ee_key=options.e2ee_key,
        e2ee_participant_keys=options.e2ee_participant_keys,
    )
    queue = await asyncio.to_thread(ExportQueue, settings.export_database)
    return RoomAgent(settings.credentials(), request, settings, export_queue=queue)


def main() -> None:
    """Run the room that the supervisor names on standard input."""
    run_room_process(make_agent)


if __name__ == "__main__":
    main()
