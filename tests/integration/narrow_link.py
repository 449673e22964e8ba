"""A link of chosen width to a network namespace of its own: a veth pair shaped by `tc`. Needs root."""

import itertools
import json
import os
import shutil
import subprocess
from types import TracebackType

_numbers = itertools.count()
BURST_BYTES = 6_000  # four packets: what a shaper lets through at once
QUEUE_MS = 300  # RFC 8867 section 5.1


def why_not() -> str | None:
    """What is missing here for a narrow link; None where nothing is."""
    if os.geteuid() != 0:
        return "needs root, for network namespaces"
    missing = [name for name in ("ip", "tc", "nft") if shutil.which(name) is None]
    if missing:
        return f"needs {', '.join(missing)} (Debian: iproute2, nftables)"
    tried = subprocess.run(["ip", "netns", "exec", "none", "true"], capture_output=True, text=True, check=False)
    return None if "No such file" in tried.stderr else f"needs network namespaces: {tried.stderr.strip()}"


def _run(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


class NarrowLink:
    """`with` makes and removes it. This side has `address`; `inside` prefixes a command to run on the other.

    The other side reaches any address of this machine that is on no loopback, so several links may
    lead to one server.
    """

    def __init__(self) -> None:
        number = (os.getpid() * 7 + next(_numbers)) % 16_000
        self._name = f"rhn{number}"
        prefix = f"10.213.{number // 64}.{number % 64 * 4}".rpartition(".")
        self.address = f"{prefix[0]}.{int(prefix[2]) + 1}"
        self._far_address = f"{prefix[0]}.{int(prefix[2]) + 2}"
        self._near, self._far = f"{self._name}a", f"{self._name}b"
        self._limited = False

    @property
    def inside(self) -> tuple[str, ...]:
        """Words before a command that run it behind the link."""
        return ("ip", "netns", "exec", self._name)

    def __enter__(self) -> "NarrowLink":
        _run("ip", "netns", "add", self._name)
        try:
            _run("ip", "link", "add", self._near, "type", "veth", "peer", "name", self._far, "netns", self._name)
            _run("ip", "address", "add", f"{self.address}/30", "dev", self._near)
            _run("ip", "link", "set", self._near, "up")
            _run(*self.inside, "ip", "address", "add", f"{self._far_address}/30", "dev", self._far)
            _run(*self.inside, "ip", "link", "set", self._far, "up")
            _run(*self.inside, "ip", "link", "set", "lo", "up")
            _run(*self.inside, "ip", "route", "add", "default", "via", self.address)
        except subprocess.CalledProcessError:
            _run("ip", "netns", "delete", self._name)
            raise
        return self

    def __exit__(self, _kind: type[BaseException] | None, _error: object, _trace: TracebackType | None) -> None:
        _run("ip", "netns", "delete", self._name)  # the pair goes with it

    def limit(self, bits_per_s: int, *, queue_ms: int = QUEUE_MS) -> None:
        """From now on this much gets through to the other side; more waits up to `queue_ms`, and then is lost."""
        burst = max(BURST_BYTES, bits_per_s // 8 // 250)  # a timer's tick at high rates
        shape = ("tbf", "rate", f"{bits_per_s}bit", "burst", f"{burst}b", "latency", f"{queue_ms}ms")
        _run("tc", "qdisc", "replace", "dev", self._near, "root", *shape)
        self._limited = True

    def limit_uplink(self, bits_per_s: int | None, *, queue_ms: int = QUEUE_MS) -> None:
        """The same for what the other side sends; None lifts it."""
        if bits_per_s is None:
            # A limit that never binds: to take one away that is not there would be an error.
            bits_per_s = 10**9
        burst = max(BURST_BYTES, bits_per_s // 8 // 250)
        shape = ("tbf", "rate", f"{bits_per_s}bit", "burst", f"{burst}b", "latency", f"{queue_ms}ms")
        _run(*self.inside, "tc", "qdisc", "replace", "dev", self._far, "root", *shape)

    def lose(self, percent: int) -> None:
        """Lose this share of the datagrams to the other side, at random."""
        rule = f"udp length > 0 numgen random mod 100 < {percent} drop"
        for command in (
            ("add", "table", "inet", "loss"),
            ("add", "chain", "inet", "loss", "input", "{ type filter hook input priority 0; }"),
            ("flush", "chain", "inet", "loss", "input"),
            ("add", "rule", "inet", "loss", "input", *rule.split()),
        ):
            _run(*self.inside, "nft", *command)

    def queue(self) -> tuple[int, int]:
        """Bytes that wait in the shaper, and packets it has dropped so far."""
        if not self._limited:
            return 0, 0
        shaped = json.loads(_run("tc", "-s", "-j", "qdisc", "show", "dev", self._near))[0]
        return int(shaped["backlog"]), int(shaped["drops"])
