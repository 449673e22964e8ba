"""A child process of a benchmark, spoken to in lines."""

import json
import subprocess
import sys
from typing import Any


class Talker:
    """A child that says `ready`, and answers a line with a line of JSON."""

    def __init__(self, module: str, *arguments: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", module, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def wait_ready(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.strip() == "ready":
                return
        raise SystemExit(f"bench: a process ended early, exit code {self._process.wait()}")

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def ask(self, line: str = "") -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()
        told = self._process.stdout.readline()
        if not told:
            raise SystemExit(f"bench: a process ended early, exit code {self._process.wait()}")
        answer = json.loads(told)
        assert isinstance(answer, dict)
        return answer

    def end(self) -> None:
        self._process.communicate(timeout=30)
