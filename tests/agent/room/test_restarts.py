"""What a connection's restarter does about two videos and a camera of ours, second by second."""

import asyncio
from collections.abc import Collection
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import cast

import pytest
from structlog.testing import capture_logs

from agent.errors import ConnectionLost
from agent.room.events import TrackRestarted
from agent.room.quality_monitor import JudgedTrack, QualityTick, TrackLabel
from agent.room.restarts import TrackRestarter
from media.errors import TapError
from quality import restart
from quality.judge import Judgement
from quality.patterns import ActivePattern, Pattern
from quality.restart import Health
from quality.stats import Direction, TrackKind
from tests.quality.controller_room import EPOCH, HIGH, window

ADA, BOB, EVE, OWN = "TR_ada", "TR_bob", "TR_eve", "TR_own"
SETTLED_S = 10
LATER_S = 300  # long after the last remedy


def label(sid: str) -> TrackLabel:
    return TrackLabel(sid, f"camera of {sid[3:6]}", "video", "camera", sid[3:6], "video/VP8")


@dataclass
class Hands:
    """Notes what is to be done, as "restart TR_ada"; while `busy` it takes its time."""

    connection_id: str = "PA_1"
    lower: bool = False
    refuses: Exception | None = None
    recorded: bool = False
    encrypted: bool = False
    locked: bool = False
    unwanted: set[str] = field(default_factory=set)
    lost: dict[TrackLabel, Health] = field(default_factory=dict)
    due: tuple[TrackLabel, ...] = ()
    done: list[str] = field(default_factory=list)
    idle: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.idle.set()

    def wants(self, label: TrackLabel) -> bool:
        return label.track_sid not in self.unwanted

    def can_go_lower(self, _label: TrackLabel) -> bool:
        return self.lower

    def is_recorded(self, _label: TrackLabel) -> bool:
        return self.recorded

    def is_encrypted(self, _label: TrackLabel) -> bool:
        return self.encrypted

    def lacks_key(self, _label: TrackLabel) -> bool:
        return self.locked

    def missing(self) -> dict[TrackLabel, Health]:
        return self.lost

    def awaited(self) -> tuple[TrackLabel, ...]:
        return self.due

    async def restart(self, label: TrackLabel) -> None:
        await self._do("restart", label)

    async def lower_layer(self, label: TrackLabel) -> None:
        await self._do("lower_layer", label)

    async def audio_only(self, label: TrackLabel) -> None:
        await self._do("audio_only", label)
        self.unwanted.add(label.track_sid)

    async def _do(self, what: str, label: TrackLabel) -> None:
        self.done.append(f"{what} {label.track_sid}")
        await self.idle.wait()
        if self.refuses is not None:
            raise self.refuses


class Connection:
    """A connection that receives the videos of two people, and may send one."""

    def __init__(self) -> None:
        self.hands = Hands()
        self.told: list[TrackRestarted] = []
        self.restarter = TrackRestarter("participant", self.hands, self.told.append)
        self.now = EPOCH

    async def pass_seconds(
        self,
        seconds: int,
        *,
        stuck: Collection[str] = (),
        quiet: Collection[str] = (),
        muted: Collection[str] = (),
        there: Collection[str] = (ADA, BOB),
    ) -> None:
        """Of `stuck` nothing comes for long, of `quiet` not for a moment, and `muted` are meant to be quiet."""
        for _ in range(seconds):
            judged = tuple(
                JudgedTrack(label(sid), judgement(sid, sid in stuck, sid in {*quiet, *muted}, sid in muted))
                for sid in there
            )
            self.restarter.on_tick(QualityTick("participant", self.now, judged, ()))
            self.now += 1.0
            await asyncio.sleep(0)  # what is done is a task

    @property
    def outcomes(self) -> list[str]:
        return [f"{event.remedy} {event.outcome}" for event in self.told]


async def settled() -> Connection:
    """A connection that is there for long enough."""
    connection = Connection()
    await connection.pass_seconds(SETTLED_S)
    return connection


def judgement(sid: str, stuck: bool, quiet: bool = False, muted: bool = False) -> Judgement:
    seen = replace(window(sid, HIGH), muted=muted)
    if sid.startswith(OWN):
        seen = replace(seen, direction=Direction.OUTBOUND)
    if stuck or quiet:
        seen = replace(seen, packets=0, frames=0)
    patterns = (ActivePattern(Pattern.STUCK_TRACK, EPOCH),) if stuck else ()
    return cast("Judgement", SimpleNamespace(window=seen, patterns=patterns))


async def test_nothing_is_restarted_in_the_first_ten_seconds_of_a_connection() -> None:
    connection = Connection()
    await connection.pass_seconds(SETTLED_S, stuck={ADA})
    assert connection.hands.done == []
    await connection.pass_seconds(1, stuck={ADA})
    assert connection.hands.done == ["restart TR_ada"]


async def test_nothing_is_restarted_while_there_is_no_connection() -> None:
    connection = Connection()
    connection.hands.connection_id = ""
    await connection.pass_seconds(LATER_S, stuck={ADA})
    assert connection.told == []


async def test_while_all_that_is_received_is_stuck_nothing_is_restarted_though_we_send_nor_just_after_it() -> None:
    connection = await settled()
    await connection.pass_seconds(LATER_S, stuck={ADA, BOB}, there=(ADA, BOB, OWN))
    await connection.pass_seconds(SETTLED_S - 1, stuck={BOB}, there=(ADA, BOB, OWN))
    assert connection.told == [], "its key frame is on its way"
    await connection.pass_seconds(1, stuck={BOB}, there=(ADA, BOB, OWN))
    assert connection.hands.done == ["restart TR_bob"]


async def test_who_is_muted_does_not_hide_that_all_the_others_are_stuck() -> None:
    connection = await settled()
    await connection.pass_seconds(LATER_S, stuck={ADA, BOB}, muted={EVE}, there=(ADA, BOB, EVE))
    assert connection.told == []
    await connection.pass_seconds(SETTLED_S, muted={EVE}, there=(ADA, BOB, EVE))
    await connection.pass_seconds(1, stuck={ADA}, muted={BOB, EVE}, there=(ADA, BOB, EVE))
    assert connection.hands.done == ["restart TR_ada"], "all that is not muted is one track"


async def test_until_all_can_be_known_to_be_stuck_nothing_at_all_is_taken_for_the_connection() -> None:
    """Of sound with pauses nothing comes for moments, and of a screen that stands for long."""
    connection = await settled()
    await connection.pass_seconds(9, stuck={ADA}, quiet={BOB})
    assert connection.told == []
    await connection.pass_seconds(SETTLED_S + 1, stuck={ADA}, quiet={BOB})
    assert connection.hands.done == ["restart TR_ada"]


async def test_what_comes_back_with_the_connection_is_given_its_time() -> None:
    connection = await settled()
    connection.now += 12.0  # no judgements while there is no connection
    await connection.pass_seconds(SETTLED_S, stuck={ADA})
    assert connection.told == []
    await connection.pass_seconds(1, stuck={ADA})
    assert connection.hands.done == ["restart TR_ada"]


async def test_an_encrypted_video_is_never_given_up_as_it_may_want_but_a_key() -> None:
    connection = await settled()
    connection.hands.encrypted = True
    await connection.pass_seconds(LATER_S, stuck={ADA})
    assert connection.hands.done == ["restart TR_ada", "restart TR_ada"]
    assert connection.outcomes[-1] == "report begun"


async def test_the_only_one_that_is_received_is_restarted() -> None:
    connection = await settled()
    await connection.pass_seconds(1, stuck={ADA}, there=(ADA,))
    assert connection.hands.done == ["restart TR_ada"]


async def test_what_does_not_help_is_followed_by_the_next_remedy_until_the_video_is_given_up() -> None:
    connection = await settled()
    with capture_logs() as logs:
        await connection.pass_seconds(LATER_S, stuck={ADA})
    assert connection.hands.done == ["restart TR_ada", "restart TR_ada", "audio_only TR_ada"]
    assert connection.outcomes == [*["restart begun", "restart failed"] * 2, "audio_only begun"]
    assert connection.restarter.counters().track_restarts == {
        "stuck/restart/begun": 2,
        "stuck/restart/failed": 2,
        "stuck/audio_only/begun": 1,
    }
    assert [line["attempt"] for line in logs if line["event"] == "track_restarting"] == [1, 2, 3]


async def test_a_lower_layer_is_tried_where_there_is_one_and_a_recorded_video_never_given_up() -> None:
    connection = await settled()
    connection.hands.recorded = True
    connection.hands.lower = True
    with capture_logs() as logs:
        await connection.pass_seconds(LATER_S, stuck={ADA})
    assert connection.hands.done == ["restart TR_ada", "restart TR_ada", "lower_layer TR_ada"]
    assert connection.outcomes[-2:] == ["lower_layer failed", "report begun"]
    (reported,) = [line for line in logs if line["event"] == "track_not_restarted"]
    assert (reported["log_level"], reported["attempt"]) == ("error", 4)


async def test_what_is_known_to_lack_a_key_is_left_alone_until_it_has_one() -> None:
    connection = await settled()
    connection.hands.locked = True
    await connection.pass_seconds(LATER_S, stuck={ADA})
    assert connection.told == []
    connection.hands.locked = False
    await connection.pass_seconds(1, stuck={ADA})
    assert connection.hands.done == ["restart TR_ada"]


async def test_one_that_came_back_can_be_restarted_again() -> None:
    connection = await settled()
    for _ in range(2):
        await connection.pass_seconds(2, stuck={ADA})
        await connection.pass_seconds(70)
    assert connection.hands.done == ["restart TR_ada"] * 2
    assert connection.outcomes == ["restart begun", "restart recovered"] * 2


async def test_while_a_track_is_being_restarted_nothing_more_is_done_to_it_and_the_other_is_not_left_alone() -> None:
    connection = await settled()
    connection.hands.idle.clear()
    await connection.pass_seconds(60, stuck={ADA})
    await connection.pass_seconds(60, stuck={BOB})
    assert connection.hands.done == ["restart TR_ada", "restart TR_bob"]
    connection.hands.idle.set()
    await connection.pass_seconds(1)
    await connection.pass_seconds(1, stuck={ADA})
    assert connection.hands.done[2:] == ["restart TR_ada"]
    assert connection.outcomes[-2:] == ["restart failed", "restart begun"]


@pytest.mark.parametrize("error", [ConnectionLost("no room"), TapError("no tap")])
async def test_what_is_refused_is_logged_and_the_next_remedy_follows(error: Exception) -> None:
    connection = await settled()
    connection.hands.refuses = error
    with capture_logs() as logs:
        await connection.pass_seconds(1, stuck={ADA})
        await connection.pass_seconds(8, stuck={ADA})
    refused = [line for line in logs if line["event"] == "track_restart_refused"]
    assert [(line["sid"], line["remedy"], line["error"]) for line in refused] == [(ADA, "restart", str(error))] * 2
    assert not [line for line in logs if line["event"] == "task_failed"]
    connection.hands.refuses = None
    await connection.pass_seconds(1, stuck={BOB})
    assert connection.hands.done == ["restart TR_ada", "restart TR_ada", "restart TR_bob"]


async def test_a_track_of_which_nothing_is_known_since_its_restart_gets_the_next_remedy_and_another_gets_none() -> None:
    connection = await settled()
    await connection.pass_seconds(1, stuck={ADA})
    await connection.pass_seconds(7, there=())
    assert connection.hands.done == ["restart TR_ada"], "it is given its time"
    await connection.pass_seconds(LATER_S, there=())
    assert connection.hands.done == ["restart TR_ada", "restart TR_ada", "audio_only TR_ada"]
    assert connection.told[-1].reason == "nothing came of the restart"


async def test_a_track_that_is_asked_for_and_not_given_is_asked_for_again_and_never_given_up() -> None:
    connection = await settled()
    connection.hands.due = (label(EVE),)
    await connection.pass_seconds(10)
    assert connection.hands.done == [], "it is given its time"
    await connection.pass_seconds(LATER_S)
    assert connection.hands.done == ["restart TR_eve"] * 2
    assert connection.outcomes == ["restart begun", "restart failed", "restart begun", "restart failed", "report begun"]
    assert connection.told[0].reason == "asked for, and not given"


async def test_a_track_that_comes_as_it_is_asked_for_again_has_recovered() -> None:
    connection = await settled()
    connection.hands.due = (label(EVE),)
    await connection.pass_seconds(11)
    connection.hands.due = ()
    await connection.pass_seconds(5, there=(ADA, BOB, EVE))
    assert connection.outcomes == ["restart begun", "restart recovered"]
    connection.hands.due = (label(EVE),)
    await connection.pass_seconds(10)
    assert len(connection.told) == 2, "its time begins anew"


async def test_a_recorded_video_of_which_nothing_is_known_since_its_restart_is_not_given_up() -> None:
    connection = await settled()
    connection.hands.recorded = True
    await connection.pass_seconds(1, stuck={ADA})
    await connection.pass_seconds(LATER_S, there=())
    assert connection.hands.done == ["restart TR_ada", "restart TR_ada"]
    assert connection.outcomes[-1] == "report begun"


async def test_a_track_that_went_and_is_wanted_no_longer_is_forgotten() -> None:
    connection = await settled()
    await connection.pass_seconds(10, stuck={ADA})
    assert connection.hands.done == ["restart TR_ada"] * 2
    connection.hands.unwanted.add(ADA)
    await connection.pass_seconds(LATER_S, there=(BOB,))
    assert len(connection.hands.done) == 2
    connection.hands.unwanted.clear()
    await connection.pass_seconds(1, stuck={ADA})
    assert connection.hands.done[2:] == ["restart TR_ada"], "the first one of a new ladder"
    assert connection.outcomes[-3:] == ["restart begun", "restart overtaken", "restart begun"]


async def test_a_track_that_its_restart_takes_away_for_a_while_is_not_forgotten() -> None:
    connection = await settled()
    connection.hands.idle.clear()
    await connection.pass_seconds(1, stuck={ADA})
    connection.hands.unwanted.add(ADA)
    await connection.pass_seconds(3, there=(BOB,))
    connection.hands.unwanted.clear()
    connection.hands.idle.set()
    await connection.pass_seconds(5)
    assert connection.outcomes == ["restart begun", "restart recovered"]


async def test_what_is_not_wanted_is_on_its_way_out_and_left_alone() -> None:
    connection = await settled()
    connection.hands.unwanted.add(ADA)
    await connection.pass_seconds(LATER_S, stuck={ADA})
    assert connection.told == []


async def test_one_of_ours_that_the_room_lost_is_published_anew_and_known_by_its_name_under_another_sid() -> None:
    connection = await settled()
    connection.hands.unwanted.add(OWN)  # nobody subscribes to their own
    connection.hands.lost = {label(OWN): restart.gone(Direction.OUTBOUND, TrackKind.VIDEO)}
    await connection.pass_seconds(1)
    assert connection.hands.done == ["restart TR_own"]
    connection.hands.lost = {}
    await connection.pass_seconds(4, there=(ADA, BOB, f"{OWN}_again"))
    assert [(event.problem, event.outcome, event.track_sid) for event in connection.told] == [
        ("gone", "begun", OWN),
        ("gone", "recovered", f"{OWN}_again"),
    ]


async def test_another_connection_has_ten_seconds_of_peace_too_and_knows_nothing_of_what_was_tried() -> None:
    connection = await settled()
    await connection.pass_seconds(10, stuck={ADA})
    assert connection.outcomes == ["restart begun", "restart failed", "restart begun"]
    connection.hands.connection_id = "PA_2"
    await connection.pass_seconds(SETTLED_S, stuck={ADA})
    assert connection.outcomes[3:] == ["restart overtaken"]
    await connection.pass_seconds(10, stuck={ADA})
    assert connection.outcomes[4:] == ["restart begun", "restart failed", "restart begun"]
    assert connection.hands.done == ["restart TR_ada"] * 4


async def test_once_closed_it_lets_go_of_what_it_was_doing() -> None:
    connection = await settled()
    connection.hands.idle.clear()
    connection.hands.refuses = ConnectionLost("too late")
    await connection.pass_seconds(1, stuck={ADA})
    await connection.restarter.aclose()
    connection.hands.idle.set()
    with capture_logs() as logs:
        await asyncio.sleep(0)
    assert logs == []
