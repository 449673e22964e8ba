"""Which tracks a tap's restarter acts on."""

import asyncio
from pathlib import Path

from tests.agent.room.fed_tap import FedRecording
from tests.media.opus_sounds import PACKETS_PER_S

SILENT_S = 40


async def keep_silent(recording: FedRecording) -> None:
    for _ in range(SILENT_S):
        recording.second([None] * PACKETS_PER_S)
        await asyncio.sleep(0)  # a restart is a task
    await recording.aclose()


async def test_a_recorded_track_of_which_nothing_comes_is_subscribed_to_anew(tmp_path: Path) -> None:
    recording = FedRecording(tmp_path)
    await keep_silent(recording)
    assert recording.fed.asked[:2] == ["unsubscribe", "subscribe"]


async def test_one_that_is_not_wanted_any_more_is_neither_judged_nor_subscribed_to(tmp_path: Path) -> None:
    """Until the server has closed it, what was let go may still be in the statistics."""
    recording = FedRecording(tmp_path)
    recording.fed.subscribed = frozenset()
    await keep_silent(recording)
    assert recording.fed.asked == []
    assert recording.told == []
