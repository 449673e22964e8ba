"""What writers left open that died is finished once the service has started; what somebody writes is left alone."""

import asyncio
from pathlib import Path

from agent.service.interrupted import Interrupted
from media.frames import Codec
from media.record.journal import JOURNAL_NAME, Journal
from media.record.reader import read_recording
from media.record.unfinished import is_left_open
from tests.media.export.recordings import Track, camera_and_microphone, encode_audio, killed_recording


def open_files(root: Path) -> set[str]:
    return {path.name for path in root.iterdir() if is_left_open(path)}


async def test_what_dead_writers_left_open_is_finished(tmp_path: Path) -> None:
    sound = [Track("microphone", encode_audio(0.0, 1.2))]
    dead = killed_recording(tmp_path / "dead", camera_and_microphone(Codec.H264, 2.2), mux=True)
    for name in ("gone-on-with", "written", "without-its-track"):
        killed_recording(tmp_path / name, sound)
    journal = tmp_path / "without-its-track" / JOURNAL_NAME
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join(line for line in lines if b"track_opened" not in line))
    (tmp_path / "lost+found").mkdir()
    writing = Journal(tmp_path / "written")
    interrupted = Interrupted(tmp_path, lambda: {"gone-on-with"})
    interrupted.start()
    async with asyncio.timeout(30):
        while not read_recording(dead).muxed:  # noqa: ASYNC110 - it is done by a thread
            await asyncio.sleep(0.01)
    await interrupted.aclose()
    await interrupted.aclose()
    Interrupted(tmp_path, lambda: {"gone-on-with"}).finish_all()
    writing.close()
    assert len(read_recording(dead).muxed) == 1
    assert open_files(tmp_path) == {"gone-on-with", "written", "without-its-track"}


def test_a_folder_that_is_not_there_yet_holds_none(tmp_path: Path) -> None:
    Interrupted(tmp_path / "none", lambda: ()).finish_all()
