"""What a room's process writes: events as JSON, and a pipe that never makes it wait."""

import asyncio
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from structlog.testing import capture_logs

from agent.room.events import TrackSubscriptionFailed
from agent.room.state import ConnectionState, ParticipantState, RoomState
from agent.service.event_report import MAX_STRING_CHARS, event_fields, event_name
from agent.service.line_writer import EVENTS_PAST_BYTES, REPORTS_PAST_BYTES, LineWriter
from agent.service.protocol import Reply, RoomEventReport, RoomReport, decode_up
from agent.service.room_metrics import RoomMetrics


@dataclass(frozen=True, slots=True)
class DataPacketReceived:
    """An event with all that is awkward in JSON."""

    payload: bytes
    path: Path
    score: float
    participant: ParticipantState


def test_events_become_names_and_json() -> None:
    event = DataPacketReceived(b"\xff\x00", Path("/r"), float("nan"), ParticipantState("a", "PA", "A", "m" * 9000, {}))
    fields = event_fields(event)
    assert event_name(event) == "data_packet_received"
    assert (fields["payload"], fields["path"], fields["score"], fields["truncated"]) == ("/wA=", "/r", None, True)
    participant = fields["participant"]
    assert isinstance(participant, dict)
    assert len(str(participant["metadata"])) == MAX_STRING_CHARS
    failed = TrackSubscriptionFailed("alice", "TR_1", "no")
    assert event_name(failed) == "track_subscription_failed"
    assert event_fields(failed) == {"participant_identity": "alice", "track_sid": "TR_1", "error": "no"}


async def test_a_supervisor_that_does_not_read_costs_reports_and_events_but_no_replies() -> None:
    read_end, write_end = os.pipe()
    writer = await LineWriter.open(os.fdopen(write_end, "wb", buffering=0))
    report = RoomReport(RoomState("r" * 10_000, "", "bot", ConnectionState.CONNECTED, 0.0), RoomMetrics())
    event = RoomEventReport("e", 0.0, {"text": "x" * 100_000})
    for _ in range(2 * REPORTS_PAST_BYTES // 10_000):
        writer.send(report)
    reports_dropped = writer.dropped
    assert reports_dropped > 0
    for _ in range(2 * EVENTS_PAST_BYTES // 100_000):
        writer.send(event)
    assert writer.dropped > reports_dropped
    writer.send(Reply(7))
    reading = asyncio.to_thread(_read_all, read_end)
    _, lines = await asyncio.gather(writer.aclose(), reading)
    messages = [decode_up(line) for line in lines]
    assert messages[-1] == Reply(7)
    sent = 2 * (REPORTS_PAST_BYTES // 10_000) + 2 * (EVENTS_PAST_BYTES // 100_000) + 1
    assert abs(len(messages) + writer.dropped - sent) <= 2
    assert len(messages) * 10_000 < 2 * EVENTS_PAST_BYTES + 2 * REPORTS_PAST_BYTES


def _read_all(descriptor: int) -> list[bytes]:
    with os.fdopen(descriptor, "rb") as file:
        return file.readlines()


async def test_a_supervisor_that_is_gone_stops_nothing() -> None:
    read_end, write_end = os.pipe()
    writer = await LineWriter.open(os.fdopen(write_end, "wb", buffering=0))
    os.close(read_end)
    with capture_logs() as logs:
        for number in range(3):
            writer.send(Reply(number))
            await asyncio.sleep(0)
        await writer.aclose()
        await writer.aclose()
    assert [line["event"] for line in logs] in ([], ["supervisor_gone"]), "told once at most"
    assert writer.dropped == 0


def test_standard_output_carries_protocol_lines_only() -> None:
    code = (
        "import os, subprocess\n"
        "from agent.service.room_shell import take_standard_output\n"
        "reports = take_standard_output()\n"
        "print('printed', flush=True)\n"
        "os.write(1, b'native\\n')\n"
        "subprocess.run(['echo', 'child'], check=True)\n"
        "reports.write(b'line\\n')\n"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout == "line\n"
    assert ran.stderr.split() == ["printed", "native", "child"]
