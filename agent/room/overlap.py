"""How long a track that was published anew and the one before it are both in the room."""

import asyncio

from agent.room.convert_stats import packets_sent, track_stats
from agent.room.publications import LocalTrack, Publication
from agent.tasks import Tasks

OVERLAP_S = 1.0  # from the first packets of the new track until its first key frame is shown everywhere
OVERLAP_LIMIT_S = 5.0
SENDS_EVERY_S = 0.1


async def overlap(publication: Publication, tasks: Tasks) -> None:
    """Until who subscribed has had the time to see the new track, nobody wants it, or it is to be withdrawn."""
    seen = tasks.start(_seen(publication), name=f"seen.{publication.plan.name}")
    leaving = tasks.start(publication.leaving.wait(), name=f"leaving.{publication.plan.name}")
    try:
        await asyncio.wait({seen, leaving}, timeout=OVERLAP_LIMIT_S, return_when=asyncio.FIRST_COMPLETED)
    finally:
        seen.cancel()
        leaving.cancel()


async def _seen(publication: Publication) -> None:
    await publication.sdk.wait_for_subscription()
    # An encoder on a busy machine is there late; what is muted sends nothing.
    while not publication.muted:
        if await _sends(publication.track):
            break
        await asyncio.sleep(SENDS_EVERY_S)
    await asyncio.sleep(OVERLAP_S)


async def _sends(track: LocalTrack) -> bool:
    try:
        return packets_sent(await track_stats(track)) > 0
    except RuntimeError:
        return False  # it has no statistics yet: the overlap has its limit
