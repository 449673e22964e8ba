"""How the project's own programs are started as processes."""

import sys


def own_program(module: str) -> tuple[str, ...]:
    """The command that runs one of our modules, in the Python that runs now.

    -P: what lies in the current folder (an agent.py, say) is not taken for ours.
    """
    return sys.executable, "-P", "-m", module
