"""What API callers may have published: the test pattern, and files below one folder."""

from pathlib import Path

from agent.errors import InvalidSettings
from media.errors import SourceUnreadable

PATTERN = "pattern"


def resolve_source(sources_dir: Path, source: str) -> str:
    """`source` as the room's process gets it: "pattern", or the absolute path of a file below `sources_dir`.

    A token for one room must not read the files of others, or of the machine. Raises InvalidSettings
    for a path that leads out of the folder, SourceUnreadable when there is no such file. Blocking.
    """
    if source == PATTERN:
        return source
    root = sources_dir.resolve()
    try:
        path = (root / source).resolve()
        inside = path.is_relative_to(root) and path != root
        there = inside and path.is_file()
    except (OSError, ValueError) as error:  # a name too long, a NUL, a loop of links
        raise InvalidSettings(f"{source!r} is no file name; give a file below the service's sources folder") from error
    if not inside:
        raise InvalidSettings(f"{source!r} is not below the service's sources folder (ROOMHAND_SOURCES_DIR)")
    if not there:
        raise SourceUnreadable(
            f"no file {source!r} in the service's sources folder (ROOMHAND_SOURCES_DIR); put it there"
        )
    return str(path)
