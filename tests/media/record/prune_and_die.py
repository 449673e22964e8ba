"""A program for tests: prunes copies of a folder of recordings, each time dying one step later, as by kill -9.

Arguments: the folder, where its copies go (one for each death, named by its number), and the id that an export starts
to use once it is out of reach; empty for none. A step is a change of names in the copy, or a question about use.
"""

import os
import shutil
import signal
import sys
from itertools import count
from pathlib import Path

from media.record.prune import InUse, prune_recordings
from media.record.retention import RetentionLimits

CHANGES = {"os.mkdir", "os.rename", "os.remove", "os.rmdir"}


def prune_until(root: Path, last_step: int, used: str) -> None:
    """Prune, and die before step `last_step`."""
    steps, answers = count(), iter([InUse(), InUse(exported={used})])

    def step() -> None:
        if next(steps) == last_step:
            os.kill(os.getpid(), signal.SIGKILL)

    def in_use() -> InUse:
        step()
        return next(answers)

    sys.addaudithook(lambda event, _: step() if event in CHANGES else None)
    prune_recordings(root, RetentionLimits(max_age_s=0.0), in_use, 1e12)


def main(template: Path, copies: Path, used: str) -> None:
    for last_step in count():
        root = copies / str(last_step)
        shutil.copytree(template, root)
        child = os.fork()
        if child == 0:
            prune_until(root, last_step, used)
            os._exit(0)
        if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0:
            return


main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])
