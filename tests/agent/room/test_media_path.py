"""When a resumed connection is believed: once the server answers on the pair in use."""

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest
from livekit import rtc
from livekit.rtc._proto import stats_pb2 as proto_stats

from agent.room import media_path
from agent.room.convert_stats import SelectedPair
from agent.room.media_path import MediaPath, Seen, answers
from agent.tasks import Tasks


@pytest.mark.parametrize(
    ("lost", "resumed", "now", "expected"),
    [
        pytest.param(("old", 9), ("new", 3), ("new", 3), True, id="a restart brought a pair that was answered on"),
        pytest.param(("old", 9), ("new", 0), ("new", 0), False, id="a new pair that was not answered on yet"),
        pytest.param(("old", 9), ("old", 9), ("old", 9), False, id="the old pair, silent"),
        pytest.param(("old", 9), ("old", 10), ("old", 10), False, id="an answer that may be older than the fault"),
        pytest.param(("old", 9), ("old", 10), ("old", 11), True, id="the old pair answers"),
        pytest.param(("old", 9), ("old", 9), ("new", 1), True, id="a restart that came late"),
        pytest.param(("old", 9), ("old", 9), None, False, id="no pair in use"),
        pytest.param(("old", 9), None, ("new", 1), True, id="no pair in use at first, then a new one"),
        pytest.param(("old", 9), None, ("old", 11), False, id="nothing to compare the old pair with"),
        pytest.param(None, ("one", 4), ("one", 4), False, id="not known what was in use, silent"),
        pytest.param(None, ("one", 4), ("one", 5), True, id="not known what was in use, answers"),
        pytest.param(None, None, ("one", 5), False, id="nothing known"),
    ],
)
def test_a_path_answers_where_something_came_on_it_since_the_loss(
    lost: tuple[str, int] | None, resumed: tuple[str, int] | None, now: tuple[str, int] | None, expected: bool
) -> None:
    before, back, pair = (None if each is None else SelectedPair(*each) for each in (lost, resumed, now))
    assert answers(Seen(before, back), pair) is expected


class SdkRoom:
    """Statistics of one transport, as the SDK gives them; with `silent` it gives none."""

    def __init__(self) -> None:
        self.local_participant = SimpleNamespace(sid="PA_1")
        self.pair, self.responses, self.silent = "CP1", 5, False

    async def get_rtc_stats(self) -> rtc.RtcStats:
        if self.silent:
            raise RuntimeError("no session")
        transport, pair = proto_stats.RtcStats(), proto_stats.RtcStats()
        transport.transport.transport.selected_candidate_pair_id = self.pair
        pair.candidate_pair.rtc.id = self.pair
        pair.candidate_pair.candidate_pair.responses_received = self.responses
        return rtc.RtcStats(publisher_stats=[transport, pair], subscriber_stats=[])


class Watch:
    """A media path over such a room, and how often it said that it answers."""

    def __init__(self) -> None:
        self.room, self.tasks, self.told = SdkRoom(), Tasks("test"), 0
        self.path = MediaPath(cast("Any", self.room), self.tasks)

    def resumed(self) -> None:
        self.path.resumed(self._tell)

    def _tell(self) -> None:
        self.told += 1

    async def lost(self) -> None:
        self.path.lost()
        await asyncio.sleep(0.01)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(media_path, "LOOK_INTERVAL_S", 0.01)


async def test_it_is_told_once_the_server_answers() -> None:
    watch = Watch()
    await watch.lost()
    watch.resumed()
    await asyncio.sleep(0.1)
    assert watch.told == 0
    watch.room.responses += 1
    await asyncio.sleep(0.1)
    assert watch.told == 1
    await watch.tasks.aclose()


async def test_a_new_loss_forgets_the_old_one_and_joining_anew_is_told_at_once() -> None:
    watch = Watch()
    await watch.lost()
    watch.resumed()
    await watch.lost()
    watch.room.responses += 1
    await asyncio.sleep(0.1)
    assert watch.told == 0
    watch.room.local_participant.sid = "PA_2"
    watch.resumed()
    assert watch.told == 1
    await watch.tasks.aclose()


async def test_an_sdk_that_tells_nothing_is_believed_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(media_path, "BELIEVE_AFTER_S", 0.1)
    watch = Watch()
    watch.room.silent = True
    await watch.lost()
    watch.resumed()
    await asyncio.sleep(0.03)
    assert watch.told == 0
    await asyncio.sleep(0.3)
    assert watch.told == 1
    await watch.tasks.aclose()


async def test_a_connection_that_was_not_lost_is_believed_at_once_and_stopping_tells_nobody() -> None:
    watch = Watch()
    watch.resumed()
    assert watch.told == 1
    await watch.lost()
    watch.resumed()
    watch.path.stop()
    watch.path.stop()
    watch.room.responses += 1
    await asyncio.sleep(0.05)
    assert watch.told == 1
    await watch.tasks.aclose()
