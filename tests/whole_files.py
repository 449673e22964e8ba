"""Which worker runs which test files (`--dist loadfile`).

What a dead worker left goes to the one that replaces it. pytest-xdist 3.8 does not do that for whole files
(`--dist loadfile`): its new worker gets the files that were through already, or one last test that it keeps until it
hears of a next one, and waits for ever (https://github.com/pytest-dev/pytest-xdist/issues/1323, 1327 and 1378).
"""

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadFileScheduling, Scheduling
from xdist.workermanage import WorkerController

_MOST_KEPT = 2
"""A worker runs one test and holds the next: with so many left it needs more, or to hear that there are none."""
REAL_FOLDER = "tests/integration/"


class WholeFiles(LoadFileScheduling):
    """Give each worker whole files, and those of a dead worker to others but for the test that it died in.

    The first worker begins with the files that run real servers and media, the others with the rest: beside one another
    they take each other's CPU, and pictures are late or missing.
    """

    def _assign_work_unit(self, node: WorkerController) -> None:
        takes_real = node is self.nodes[0]
        fitting = (file for file in self.workqueue if file.startswith(REAL_FOLDER) is takes_real)
        first = next(fitting, None)
        if first is not None:
            self.workqueue.move_to_end(first, last=False)
        super()._assign_work_unit(node)

    def remove_node(self, node: WorkerController) -> str | None:
        """Take back what a worker has not run, without the test that it was running, which is returned."""
        files = self.assigned_work.pop(node)
        left = [(file, test) for file, tests in files.items() for test, through in tests.items() if not through]
        for file, test in left[1:]:
            self.workqueue.setdefault(file, {})[test] = False
        for other in self.nodes:
            self._reschedule(other)
        return left[0][1] if left else None

    def _reschedule(self, node: WorkerController) -> None:
        if node not in self.registered_collections or node.shutting_down:
            return
        while self.workqueue and self._pending_of(self.assigned_work[node]) <= _MOST_KEPT:
            self._assign_work_unit(node)
        if not self.workqueue:
            node.shutdown()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Scheduling | None:
    """Schedule `--dist loadfile` ourselves."""
    return WholeFiles(config, log) if config.getvalue("dist") == "loadfile" else None
