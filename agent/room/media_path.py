"""Whether the server answers on the media path once the SDK says that a connection was resumed.

The SDK (livekit 1.2.1) says so 3 s after it asked for an ICE restart, whatever came of that. On a path that does not
answer nothing arrives, and what was sent on it is thrown away with it: the server gives it up 15 s after the restart,
and the SDK then joins anew.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

import structlog
from livekit import rtc

from agent.room import convert_stats
from agent.room.convert_stats import SelectedPair
from agent.tasks import Tasks

log = structlog.get_logger(__name__)

LOOK_INTERVAL_S = 0.1
LOOK_TIMEOUT_S = 2.0  # the native layer answers in milliseconds
# The server has given up a path that is dead by then; an SDK whose statistics tell nothing is believed.
BELIEVE_AFTER_S = 20.0


@dataclass(frozen=True, slots=True)
class Seen:
    """The candidate pair in use as the connection was lost, and as the SDK said that it is back; None: not told."""

    lost: SelectedPair | None = None
    resumed: SelectedPair | None = None


def answers(seen: Seen, now: SelectedPair | None) -> bool:
    """Whether the server answered on the pair in use.

    Once is enough on a pair that an ICE restart brought; on the one in use before, only what came since the SDK's word
    counts: an earlier answer may be older than the fault.
    """
    if now is None:
        return False
    known = seen.resumed if seen.lost is None or seen.lost.id == now.id else seen.lost
    if known is None:
        return False
    return now.responses_received > (known.responses_received if known.id == now.id else 0)


class MediaPath:
    """Looks at the SDK's statistics from the loss of a connection on until the server answers again."""

    def __init__(self, room: rtc.Room, tasks: Tasks) -> None:
        self._room = room
        self._tasks = tasks
        self._sid = ""
        self._lost: asyncio.Task[SelectedPair | None] | None = None
        self._waiting: asyncio.Task[None] | None = None

    def lost(self) -> None:
        """The connection is lost: note what was in use, and call nobody any more."""
        self.stop()
        self._sid = self._room.local_participant.sid
        self._lost = self._tasks.start(self._look(), name="media_path.lost")

    def resumed(self, then: Callable[[], None]) -> None:
        """The SDK says that it is back: call `then` once the server answers, and at once where we joined anew."""
        if self._lost is None or self._room.local_participant.sid != self._sid:
            then()
        else:
            self._waiting = self._tasks.start(self._wait(self._lost, then), name="media_path.wait")

    def stop(self) -> None:
        """Call nobody any more; idempotent."""
        for task in (self._lost, self._waiting):
            if task is not None:
                task.cancel()
        self._lost = self._waiting = None

    async def _wait(self, lost: asyncio.Task[SelectedPair | None], then: Callable[[], None]) -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        seen = Seen(await lost, await self._look())
        while not answers(seen, await self._look()):
            if loop.time() - began >= BELIEVE_AFTER_S:
                log.warning("media_path_unknown", waited_s=BELIEVE_AFTER_S)
                break
            await asyncio.sleep(LOOK_INTERVAL_S)
        self._lost = self._waiting = None  # so that `stop` does not cancel what is told from here
        then()

    async def _look(self) -> SelectedPair | None:
        try:
            async with asyncio.timeout(LOOK_TIMEOUT_S):
                return convert_stats.selected_pair(await self._room.get_rtc_stats())
        except (TimeoutError, RuntimeError) as error:
            log.warning("stats_unavailable", error=str(error) or type(error).__name__)
            return None
