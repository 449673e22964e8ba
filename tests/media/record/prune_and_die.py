"""A program for tests: prunes a folder of recordings, and dies by itself between two steps of deleting one.

Arguments: the folder, and the step before which to die: "remove" (the recording is in the trash) or "half" (some of
its files are gone).
"""

import os
import shutil
import signal
import sys
from pathlib import Path
from typing import Any

from media.record.prune import InUse, prune_recordings
from media.record.retention import RetentionLimits


def die(path: Path, **_: Any) -> None:
    """Remove the first file below `path` if asked to, then end as by kill -9."""
    if sys.argv[2] == "half":
        next(file for file in sorted(path.rglob("*")) if file.is_file()).unlink()
    os.kill(os.getpid(), signal.SIGKILL)


shutil.rmtree = die  # type: ignore[assignment]
prune_recordings(Path(sys.argv[1]), RetentionLimits(max_age_s=0.0), InUse, 1e12)
