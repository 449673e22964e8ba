"""Recordings exported by the real pipeline, once for all tests: a queue, a worker process, every format."""

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from media.export.job import ExportFormat, ExportRequest, ExportState, ExportStatus
from media.export.queue import ExportQueue
from media.frames import Codec
from media.process.output import ExportOutput
from media.record.reader import RecordingView, read_recording
from tests.media.export.recordings import Track, encode_audio, encode_video, write_recording

LARGE = (640, 360)
SMALL = (320, 180)

CASES = ("h264", "vp8", "h265", "vp9", "av1", "layers", "vp9-layers", "av1-layers")
"""A camera that stays as it is, in each codec, and one whose layer changes from large to small and back."""

RECORDED = {case: Codec.H264 if case == "layers" else Codec(case.removesuffix("-layers")) for case in CASES}

PRODUCED = {case: Codec.H264 if codec is Codec.VP8 else codec for case, codec in RECORDED.items()}
"""The codec of a case's exports."""

ONE_SIZE = frozenset({("layers", "mp4")})
"""Exports that are scaled to one size: H.264 in one file."""

_STEPS = json.dumps({"recording_poll_s": 0.05})


@dataclass(frozen=True)
class Exported:
    """The recordings and the queue that holds their exports, all complete."""

    queue: ExportQueue
    recordings: Path
    ids: dict[tuple[str, str], str]

    def view(self, case: str) -> RecordingView:
        """The recording of a case."""
        return read_recording(self.recordings / case)

    def status(self, case: str, kind: str) -> ExportStatus:
        """The export of a case to "mp4" or "hls"."""
        return self.queue.status(self.ids[case, kind])

    def output(self, case: str, kind: str) -> ExportOutput:
        """What that export produced: one output, since there is one participant."""
        result = self.status(case, kind).result
        assert result is not None
        (output,) = result.outputs
        return output


@contextmanager
def exported(folder: Path) -> Iterator[Exported]:
    """Everything, in `folder`."""
    recordings = folder / "recordings"
    for case in CASES:
        write_recording(recordings / case, _tracks(case))
    database = folder / "exports.db"
    queue = ExportQueue(database)
    ids = {
        (case, format_.value): queue.submit(
            ExportRequest(recordings / case, format_, folder / "exports" / f"{case}-{format_.value}")
        )
        for case in CASES
        for format_ in ExportFormat
    }
    with (folder / "worker.log").open("wb") as log:
        command = ["-m", "media.export.worker", str(database), "--idle-exit-s", "1", "--steps", _STEPS]
        worker = subprocess.Popen([sys.executable, *command], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        asyncio.run(asyncio.wait_for(_complete(queue, list(ids.values())), timeout=90))
        yield Exported(queue, recordings, ids)
    finally:
        worker.terminate()
        worker.wait()
        queue.close()


async def _complete(queue: ExportQueue, ids: list[str]) -> None:
    for export_id in ids:
        status = await queue.wait(export_id)
        assert status.state is ExportState.COMPLETE, status.error


def _tracks(case: str) -> list[Track]:
    """Sound from the start; the camera comes 0.2 s later."""
    codec, duration_s = RECORDED[case], 4.0
    if case == "vp8":
        video = encode_video(codec, 0.2, 3.8, SMALL)  # libvpx is slow to encode
    elif case == codec.value:
        duration_s, video = 5.0, encode_video(codec, 0.2, 4.8, LARGE)
    else:
        duration_s = 6.0
        video = (
            encode_video(codec, 0.2, 1.8, LARGE)
            + encode_video(codec, 2.0, 2.0, SMALL)
            + encode_video(codec, 4.0, 2.0, LARGE)
        )
    return [Track("microphone", encode_audio(0.0, duration_s)), Track("camera", video)]
