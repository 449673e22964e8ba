"""The export queue, as a room agent uses it. Its engine takes over a second to load, so it is loaded when needed."""

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from media.export.job import ExportRequest
from media.record.entries import SegmentEntry

if TYPE_CHECKING:
    from media.export.queue import ExportQueue


class QueueSink:
    """Hands segments to the export queue, whose calls wait for a disk."""

    def __init__(self, queue: "ExportQueue") -> None:
        self._queue = queue

    async def hand_off(self, segment: SegmentEntry, recording_path: Path) -> None:
        """Have the segment verified and catalogued, durably."""
        await asyncio.to_thread(self._queue.hand_off, segment, recording_path)


def submit_export(queue: "ExportQueue | None", request: ExportRequest, database: Path) -> str:
    """Queue `request` and see to it that a worker runs; the export's id. Blocks for some milliseconds."""
    from media.export.queue import ExportQueue  # noqa: PLC0415 - see above
    from media.export.worker import ensure_worker  # noqa: PLC0415

    recording_path, out_dir = request.recording_path.resolve(), request.out_dir.resolve()
    opened = queue or ExportQueue(database)
    try:
        export_id = opened.submit(replace(request, recording_path=recording_path, out_dir=out_dir))
    finally:
        if queue is None:
            opened.close()
    ensure_worker(database)
    return export_id
