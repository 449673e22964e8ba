"""From what a person writes on a command line to a source."""

from pathlib import Path

from media.errors import SourceUnreadable
from media.sources.encoded import EncodedFileSource
from media.sources.file import FileSource
from media.sources.pattern import PatternSource, parse_pattern
from media.sources.source import Source
from media.sources.sync import SyncSource, parse_sync

MADE_HERE = ("pattern", "sync")


def open_source(spec: str, *, loop: bool = False, pre_encoded: bool = False) -> Source:
    """`pattern`, `pattern:WIDTHxHEIGHT@FPS`, `sync`, `sync:WIDTHxHEIGHT@FPS`, or the path of a media file.

    A file ends unless `loop`; the others never do. `pre_encoded`: the file's video is not decoded.
    Raises SourceUnreadable. Blocks while it opens
    a file: call it in a thread where that matters.
    """
    if pre_encoded:
        if spec.partition(":")[0] in MADE_HERE and not Path(spec).exists():
            raise SourceUnreadable(f"{spec} is drawn here and not encoded yet; give a file, or publish it encoded anew")
        return EncodedFileSource(Path(spec), loop=loop)
    if spec == "pattern" or spec.startswith("pattern:"):
        return PatternSource(parse_pattern(spec))
    if spec == "sync" or spec.startswith("sync:"):
        return SyncSource(parse_sync(spec))
    return FileSource(Path(spec), loop=loop)
