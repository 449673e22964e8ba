"""A link of chosen width, and delay, to a network namespace of its own, shaped by `tc`. Needs root."""

import itertools
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import TracebackType

_numbers = itertools.count()
BUCKET_BYTES = 6_000  # four packets: what a shaper lets through at once
QUEUE_MS = 300  # RFC 8867 section 5.1
_ROOT = Path(__file__).parents[2]
_TUN = Path("/dev/net/tun")


def why_not(*, delayed: bool = False) -> str | None:
    """What is missing here for a narrow link; None where nothing is."""
    if os.geteuid() != 0:
        return "needs root, for network namespaces"
    missing = [name for name in ("ip", "tc", "nft") if shutil.which(name) is None]
    if missing:
        return f"needs {', '.join(missing)} (Debian: iproute2, nftables)"
    if delayed and not _TUN.exists():
        return f"needs {_TUN}, for delay"
    tried = subprocess.run(["ip", "netns", "exec", "none", "true"], capture_output=True, text=True, check=False)
    return None if "No such file" in tried.stderr else f"needs network namespaces: {tried.stderr.strip()}"


def _run(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def _shape(bits_per_s: int, queue_ms: int, bucket_bytes: int) -> tuple[str, ...]:
    burst = max(bucket_bytes, bits_per_s // 8 // 250)  # a timer's tick at high rates
    return ("tbf", "rate", f"{bits_per_s}bit", "burst", f"{burst}b", "latency", f"{queue_ms}ms")


class NarrowLink:
    """`with` makes and removes it. This side has `address`; `inside` prefixes a command to run on the other.

    The other side reaches any address of this machine that is on no loopback, so several links may
    lead to one server. `delayed`: through a relay (`delay_relay`), so that `delay` and `drop_all_but` work; else
    through a veth pair, which costs nothing.
    """

    def __init__(self, *, delayed: bool = False) -> None:
        self._delayed = delayed
        self._relay: subprocess.Popen[str] | None = None
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
            self._add_devices()
            _run("ip", "address", "add", f"{self.address}/30", "dev", self._near)
            _run("ip", "link", "set", self._near, "up")
            _run(*self.inside, "ip", "address", "add", f"{self._far_address}/30", "dev", self._far)
            _run(*self.inside, "ip", "link", "set", self._far, "up")
            _run(*self.inside, "ip", "link", "set", "lo", "up")
            _run(*self.inside, "ip", "route", "add", "default", "via", self.address)
            if self._delayed:
                self.delay(0.0)
        except BaseException:
            self._remove()
            raise
        return self

    def _add_devices(self) -> None:
        if not self._delayed:
            _run("ip", "link", "add", self._near, "type", "veth", "peer", "name", self._far, "netns", self._name)
            return
        self._relay = subprocess.Popen(
            [sys.executable, "-m", "tests.integration.delay_relay", self._near, self._far],
            cwd=_ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._relay.stdout is not None
        if self._relay.stdout.readline().strip() != "ready":
            raise RuntimeError("the delay relay did not start")
        _run("ip", "link", "set", self._far, "netns", self._name)

    def _remove(self) -> None:
        relay, self._relay = self._relay, None
        _run("ip", "netns", "delete", self._name)  # the pair goes with it
        if relay is not None:
            relay.communicate(timeout=10)  # its end removes the near device

    def __exit__(self, _kind: type[BaseException] | None, _error: object, _trace: TracebackType | None) -> None:
        self._remove()

    def limit(self, bits_per_s: int, *, queue_ms: int = QUEUE_MS, bucket_bytes: int = BUCKET_BYTES) -> None:
        """From now on this much gets through to the other side; more waits up to `queue_ms`, and then is lost.

        After a while with less, `bucket_bytes` (one packet at least) pass at once.
        """
        _run("tc", "qdisc", "replace", "dev", self._near, "root", *_shape(bits_per_s, queue_ms, bucket_bytes))
        self._limited = True

    def limit_uplink(self, bits_per_s: int | None, *, queue_ms: int = QUEUE_MS) -> None:
        """The same for what the other side sends; None lifts it."""
        if bits_per_s is None:
            # A limit that never binds: to take one away that is not there would be an error.
            bits_per_s = 10**9
        shape = _shape(bits_per_s, queue_ms, BUCKET_BYTES)
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

    def delay(self, down_ms: float, up_ms: float | None = None, *, jitter_ms: float = 0.0) -> None:
        """From now on packets take so long to the other side and back (`up_ms`; None: as long).

        Jitter is added each way, evenly drawn from 0 to that; order is kept.
        """
        self._tell_relay(f"delay {down_ms} {down_ms if up_ms is None else up_ms} {jitter_ms}")

    def drop_all_but(self, *ssrcs: int, share: float = 1.0) -> None:
        """Lose this share of all RTP packets that have another SSRC, either way; with share 0 none any more."""
        self._tell_relay(" ".join(map(str, ("drop", share, *ssrcs))))

    def _tell_relay(self, line: str) -> None:
        if self._relay is None or self._relay.stdin is None:
            raise RuntimeError("make the link with delayed=True")
        self._relay.stdin.write(line + "\n")
        self._relay.stdin.flush()

    def let_tcp_only_to(self, port: int) -> None:
        """Refuse TCP from the other side but to this port (the signalling's), so that media come over UDP.

        Over TCP nothing is ever lost, and seconds of media wait in the server's socket instead of the bottleneck.
        """
        rule = f"tcp dport != {port} reject with tcp reset"
        for command in (
            ("add", "table", "inet", "ways"),
            ("add", "chain", "inet", "ways", "output", "{ type filter hook output priority 0; }"),
            ("add", "rule", "inet", "ways", "output", *rule.split()),
        ):
            _run(*self.inside, "nft", *command)

    def queue(self) -> tuple[int, int]:
        """Bytes that wait in the shaper, and packets it has dropped so far."""
        if not self._limited:
            return 0, 0
        shaped = json.loads(_run("tc", "-s", "-j", "qdisc", "show", "dev", self._near))[0]
        return int(shaped["backlog"]), int(shaped["drops"])
