"""A room agent in a process of its own (`agent_behind_link`), and what it received second by second."""

import asyncio
import contextlib
import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from agent.credentials import Credentials
from tests.integration.publishing import T, eventually

ROOT = Path(__file__).parents[2]
STOP_TIMEOUT_S = 20.0
_LINE_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class TrackSecond:
    """What one track brought in a second; `track` is its publisher's identity.

    Delays are means per emitted frame in seconds, None where none was emitted. `loss_ratio` is of the packets expected.
    """

    track: str
    kind: str
    sid: str
    ssrcs: tuple[int, ...]
    bitrate_bps: float
    fps: float
    width: int
    height: int
    freezes: int
    freeze_s: float
    frames_dropped: int
    packets: int
    loss_ratio: float
    nacks: int
    plis: int
    requested: str
    paused: bool
    jitter_buffer_s: float | None
    jitter_buffer_minimum_s: float | None
    jitter_buffer_target_s: float | None
    score: float | None
    model_mos: float | None
    patterns: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Second:
    """All that came in the second before `at` (seconds since the agent was started).

    `protocol` is "udp" or "tcp". `round_trip_s` is what the SDK tells as current, `mean_round_trip_s` the mean of the
    second's `responses`.
    """

    at: float
    bitrate_bps: float
    available_incoming_bps: float
    round_trip_s: float
    mean_round_trip_s: float | None
    responses: int
    cores: float
    protocol: str
    tracks: tuple[TrackSecond, ...]

    def track(self, name: str, kind: str = "video") -> TrackSecond | None:
        """That participant's track of that kind; of two (one is published anew) the one that shows more."""
        found = (item for item in self.tracks if (item.track, item.kind) == (name, kind))
        return max(found, key=lambda item: item.fps, default=None)


def in_words(decision: dict[str, Any], began: float = 0.0) -> str:
    """One of `WatchedAgent.decisions` in a line, at seconds from `began`."""
    step = f"{decision['from_quality']} -> {decision['to_quality']}"
    return f"{decision['at'] - began:6.1f} s  >>> {decision['track']}: {step}, {decision['reason']}"


class WatchedAgent:
    """`async with` starts and ends it. `behind` are words before the command, as those of a network namespace.

    `decisions`, `patterns` and `restarts` are its events, each with `at` in the agent's seconds; `log` its log lines.
    `counters` are there once it has ended.
    """

    def __init__(
        self, server: Credentials, room: str, *, behind: tuple[str, ...] = (), loop: bool = True, **environment: str
    ) -> None:
        self._server = server
        self._room = room
        self._behind = behind
        self._loop = loop
        self._environment = environment
        self._reading: list[asyncio.Task[None]] = []
        self._last: dict[str, Any] | None = None
        self.seconds: list[Second] = []
        self.decisions: list[dict[str, Any]] = []
        self.patterns: list[dict[str, Any]] = []
        self.restarts: list[dict[str, Any]] = []
        self.log: list[dict[str, Any]] = []
        self.noise: list[str] = []
        self.counters: dict[str, Any] = {}
        self.on_second: Callable[[Second], None] | None = None

    async def __aenter__(self) -> "WatchedAgent":
        server = self._server
        self._began = time.time()
        self._process = await asyncio.create_subprocess_exec(
            *(*self._behind, sys.executable, "-m", "tests.integration.agent_behind_link", f"--room={self._room}"),
            # A random secret may begin with a hyphen.
            *(f"--url={server.url}", f"--key={server.api_key}", f"--secret={server.api_secret}"),
            *(() if self._loop else ("--no-loop",)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT), **self._environment},
            limit=_LINE_BYTES,
        )
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        self._reading = [
            asyncio.create_task(self._read(self._process.stdout), name="agent.told"),
            asyncio.create_task(self._read_log(self._process.stderr), name="agent.log"),
        ]
        return self

    async def __aexit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        await self.end()

    @property
    def pid(self) -> int:
        """Its process id, or that of the command before it (`ip netns exec` becomes what it runs)."""
        return self._process.pid

    @property
    def now(self) -> float:
        """Seconds since it was started."""
        return time.time() - self._began

    async def end(self) -> None:
        """Have it leave and tell its counters; idempotent."""
        if self._process.returncode is None:
            assert self._process.stdin is not None
            self._process.stdin.close()
            try:
                async with asyncio.timeout(STOP_TIMEOUT_S):
                    await self._process.wait()
            except TimeoutError:
                with contextlib.suppress(ProcessLookupError):
                    self._process.kill()
                await self._process.wait()
        await asyncio.gather(*self._reading)

    async def until(self, probe: Callable[["WatchedAgent"], T | None], *, timeout_s: float) -> T:
        """What `probe` gives once it is not None; fails with the last seconds where it never does."""

        def look() -> T | None:
            if self._process.returncode is not None:
                raise AssertionError(f"the agent ended, {self._process.returncode}: {self.noise[-20:]}")
            return probe(self)

        try:
            return await eventually(look, timeout_s=timeout_s)
        except AssertionError as error:
            raise AssertionError(f"{error}; last seconds {self.seconds[-3:]}; decisions {self.decisions}") from error

    def logged(self, event: str) -> list[dict[str, Any]]:
        """Its log lines of that event."""
        return [line for line in self.log if line.get("event") == event]

    async def _read(self, stream: asyncio.StreamReader) -> None:
        kinds = {"decision": self.decisions, "pattern": self.patterns, "restart": self.restarts}
        async for line in stream:
            told = json.loads(line)
            told["at"] -= self._began
            if told["type"] == "sample":
                self._take(told)
            elif told["type"] == "end":
                self.counters = told["counters"]
            else:
                kinds[told["type"]].append(told)

    async def _read_log(self, stream: asyncio.StreamReader) -> None:
        async for raw in stream:
            line = raw.decode(errors="replace").rstrip()
            try:
                self.log.append(json.loads(line))
            except ValueError:
                self.noise.append(line)  # the native layer's own lines

    def _take(self, sample: dict[str, Any]) -> None:
        before, self._last = self._last, sample
        if before is None or sample["at"] <= before["at"]:
            return
        second = _second(before, sample)
        self.seconds.append(second)
        if self.on_second is not None:
            self.on_second(second)


def _second(before: dict[str, Any], after: dict[str, Any]) -> Second:
    span = after["at"] - before["at"]
    earlier = {(item["sid"], item["ssrc"]): item for item in before["tracks"]}
    responses = after["responses_received"] - before["responses_received"]
    round_trips = after["total_round_trip_time"] - before["total_round_trip_time"]
    return Second(
        at=after["at"],
        bitrate_bps=max(0, after["bytes_received"] - before["bytes_received"]) * 8 / span,
        available_incoming_bps=after["available_incoming_bitrate"],
        round_trip_s=after["current_round_trip_time"],
        mean_round_trip_s=round_trips / responses if responses > 0 else None,
        responses=responses,
        cores=(after["cpu_s"] - before["cpu_s"]) / span,
        protocol=after["protocol"],
        tracks=tuple(_track(earlier.get((item["sid"], item["ssrc"]), {}), item, span) for item in after["tracks"]),
    )


def _track(before: dict[str, Any], after: dict[str, Any], span: float) -> TrackSecond:
    def grown(name: str) -> float:
        value: float = after[name] - before.get(name, 0)
        return max(0.0, value)

    emitted = grown("jitter_buffer_emitted_count")
    packets, lost = grown("packets_received"), grown("packets_lost")
    return TrackSecond(
        track=after["track"],
        kind=after["kind"],
        sid=after["sid"],
        ssrcs=tuple(item for item in (after["ssrc"], after["rtx_ssrc"]) if item),
        bitrate_bps=grown("bytes_received") * 8 / span,
        fps=grown("frames_decoded") / span,
        width=after["frame_width"],
        height=after["frame_height"],
        freezes=int(grown("freeze_count")),
        freeze_s=grown("total_freeze_duration"),
        frames_dropped=int(grown("frames_dropped")),
        packets=int(packets),
        loss_ratio=lost / (packets + lost) if packets + lost else 0.0,
        nacks=int(grown("nack_count")),
        plis=int(grown("pli_count")),
        requested=after["requested"],
        paused=after["paused"],
        jitter_buffer_s=grown("jitter_buffer_delay") / emitted if emitted else None,
        jitter_buffer_minimum_s=grown("jitter_buffer_minimum_delay") / emitted if emitted else None,
        jitter_buffer_target_s=grown("jitter_buffer_target_delay") / emitted if emitted else None,
        score=after["score"],
        model_mos=after["model_mos"],
        patterns=tuple(after["patterns"]),
    )
