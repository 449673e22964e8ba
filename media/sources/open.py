"""From what a person writes on a command line to a source."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path

from media.errors import SourceUnreadable
from media.sources.encoded import EncodedFileSource
from media.sources.file import FileSource
from media.sources.pattern import PatternSource, parse_pattern
from media.sources.source import Source
from media.sources.sync import SyncSource, parse_sync

_MADE_HERE: Mapping[str, Callable[[str], Source]] = {
    "pattern": lambda spec: PatternSource(parse_pattern(spec)),
    "sync": lambda spec: SyncSource(parse_sync(spec)),
}


def open_source(spec: str | os.PathLike[str], *, loop: bool = False, pre_encoded: bool = False) -> Source:
    """`pattern`, `pattern:WIDTHxHEIGHT@FPS`, `sync`, `sync:WIDTHxHEIGHT@FPS`, or the path of a media file.

    A path that is no string is that of a file in any case. A file ends unless `loop`; the others never do.
    `pre_encoded`: the file's video is not decoded.
    Raises SourceUnreadable. Blocks while it opens a file: call it in a thread where that matters.
    """
    made = _MADE_HERE.get(spec.partition(":")[0]) if isinstance(spec, str) else None
    if pre_encoded:
        if made and not Path(spec).exists():
            raise SourceUnreadable(f"{spec} is drawn here and not encoded yet; give a file, or publish it encoded anew")
        return EncodedFileSource(Path(spec), loop=loop)
    return made(os.fspath(spec)) if made else FileSource(Path(spec), loop=loop)
