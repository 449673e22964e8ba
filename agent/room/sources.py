"""From what a caller wants published to a source."""

import asyncio
import os

from agent.errors import InvalidSettings
from agent.room.live_source import LiveSource
from media.sources.open import open_source
from media.sources.source import PreEncodedSource, Source


async def to_source(wanted: str | os.PathLike[str] | Source, *, loop: bool, pre_encoded: bool) -> Source:
    """Open what `wanted` names (see `open_source`), or take it as it is where it is a source.

    Raises SourceUnreadable, and InvalidSettings for what is neither, or has ended.
    """
    if isinstance(wanted, str | os.PathLike):
        return await asyncio.to_thread(open_source, wanted, loop=loop, pre_encoded=pre_encoded)
    if not isinstance(wanted, Source):
        raise InvalidSettings(f'{type(wanted).__name__} is no source; give "pattern", a file or a LiveSource')
    if pre_encoded and not isinstance(wanted, PreEncodedSource):
        raise InvalidSettings(f"a {type(wanted).__name__} is not encoded yet; leave out pre_encoded")
    if isinstance(wanted, LiveSource) and wanted.ended:
        raise InvalidSettings("this live source has ended; make another one")
    return wanted
