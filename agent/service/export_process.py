"""`python -m agent.service.export_process`: the export worker as a child of `serve`, ending with it."""

import os
import sys

from agent.config import load_settings
from agent.logs import configure_logs
from agent.service.export_supervisor import ANOTHER_WORKER
from agent.service.local_server import end_with_parent
from media.export.worker import run_worker


def main() -> None:
    """Work the export queue off until SIGTERM. What is unfinished then is taken up by the next worker."""
    parent = os.getppid()
    end_with_parent()
    if os.getppid() != parent:
        return  # it died before the kernel could be told
    settings = load_settings()
    configure_logs(settings.log_format, settings.log_level)
    if not run_worker(settings.export_database):
        sys.exit(ANOTHER_WORKER)


if __name__ == "__main__":
    main()
