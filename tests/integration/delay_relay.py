"""Two TUN devices with time between them: what the kernel sends into one comes out of the other, later.

Stands in for netem, which not every kernel has. Runs as a process of its own (`python -m`), because what it delays
should not wait for a test's event loop. Prints `ready` once both devices are there, and carries nothing before the
first line on standard input: a device that is not up yet takes nothing. Lines are `delay DOWN UP JITTER` in
milliseconds, down being from the first device to the second, or `drop SHARE SSRC…`: lose that share of the RTP packets
of all other streams than these, either way. Order is kept. Ends when standard input does.
"""

import fcntl
import os
import random
import select
import struct
import sys
import time
from collections import deque
from dataclasses import dataclass, field

_TUNSETIFF = 0x400454CA
_IFF_TUN, _IFF_NO_PI = 0x0001, 0x1000
_PACKET_BYTES = 65_536
_UDP, _UDP_HEADER_BYTES, _RTP_HEADER_BYTES = 17, 8, 12
_RTCP_TYPES = range(192, 224)
_BATCH = 64
_NICENESS = -10  # on a busy machine the way itself must not wait for a processor
QUEUED = 10_000  # packets under way each direction; more are lost, as by any full buffer


def open_tun(name: str) -> int:
    """A TUN device of that name, which goes when its descriptor is closed."""
    descriptor = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(descriptor, _TUNSETIFF, struct.pack("16sH22x", name.encode(), _IFF_TUN | _IFF_NO_PI))
    return descriptor


def rtp_ssrc(packet: bytes) -> int | None:
    """The SSRC of an IPv4 packet that carries RTP over UDP; None for any other."""
    start = (packet[0] & 0x0F) * 4 + _UDP_HEADER_BYTES
    if packet[0] >> 4 != 4 or packet[9] != _UDP or len(packet) < start + _RTP_HEADER_BYTES:
        return None
    if packet[start] >> 6 != 2 or packet[start + 1] in _RTCP_TYPES:
        return None
    return int.from_bytes(packet[start + 8 : start + 12], "big")


@dataclass
class Way:
    """One direction: packets with the time at which each comes out."""

    source: int
    target: int
    delay_s: float = 0.0
    jitter_s: float = 0.0
    waiting: deque[tuple[float, bytes]] = field(default_factory=deque)

    def take_in(self, now: float, dropped: "Dropped") -> None:
        """Read what is there."""
        for _ in range(_BATCH):
            try:
                packet = os.read(self.source, _PACKET_BYTES)
            except BlockingIOError:
                return
            if len(self.waiting) >= QUEUED or dropped.takes(packet):
                continue
            due = now + self.delay_s + random.random() * self.jitter_s
            # A packet never passes the one before it: what is late holds up what follows, as in a queue.
            self.waiting.append((max(due, self.waiting[-1][0]) if self.waiting else due, packet))

    def let_out(self, now: float) -> None:
        """Write what is due."""
        while self.waiting and self.waiting[0][0] <= now:
            _, packet = self.waiting.popleft()
            try:
                os.write(self.target, packet)
            except BlockingIOError:
                return  # lost, as by any full buffer


@dataclass
class Dropped:
    """A share of what is lost of all streams but those that are kept."""

    share: float = 0.0
    kept: frozenset[int] = frozenset()

    def takes(self, packet: bytes) -> bool:
        """Whether the packet is lost."""
        if not self.share:
            return False
        ssrc = rtp_ssrc(packet)
        return ssrc is not None and ssrc not in self.kept and random.random() < self.share


def _obey(line: str, down: Way, up: Way, dropped: Dropped) -> None:
    words = line.split()
    if words[:1] == ["delay"]:
        down.delay_s, up.delay_s, jitter_s = (float(word) / 1000 for word in words[1:4])
        down.jitter_s = up.jitter_s = jitter_s
    elif words[:1] == ["drop"]:
        dropped.share, dropped.kept = float(words[1]), frozenset(map(int, words[2:]))


def main(near: str, far: str) -> None:
    """Carry packets until standard input ends, or a device goes."""
    os.nice(_NICENESS)
    here, there = open_tun(near), open_tun(far)
    down, up, dropped = Way(here, there), Way(there, here), Dropped()
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    _obey(sys.stdin.readline(), down, up, dropped)
    while True:
        due = min((way.waiting[0][0] for way in (down, up) if way.waiting), default=None)
        wait_s = None if due is None else max(0.0, due - time.monotonic())
        readable, _, _ = select.select([sys.stdin, here, there], [], [], wait_s)
        now = time.monotonic()
        if sys.stdin in readable:
            line = sys.stdin.readline()
            if not line:
                return
            _obey(line, down, up, dropped)
        try:
            if here in readable:
                down.take_in(now, dropped)
            if there in readable:
                up.take_in(now, dropped)
            down.let_out(time.monotonic())
            up.let_out(time.monotonic())
        except OSError:
            return  # a namespace was removed, and its device with it


if __name__ == "__main__":
    main(*sys.argv[1:])
