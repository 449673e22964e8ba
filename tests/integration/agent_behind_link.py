"""A room agent that subscribes to all, in a process of its own (behind a narrow link); tells what it receives as JSON.

A line on standard output is a `sample` (once a second, all numbers totals so far), a `decision`, a `pattern`, a
`restart` or, once standard input has ended, the `end` with the agent's counters. Logs go to standard error as JSON.
"""

import argparse
import asyncio
import json
import os
import resource
import sys
import time
from dataclasses import asdict
from typing import Any
from weakref import WeakKeyDictionary

from livekit import rtc

from agent import RoomAgent, RoomRequest, load_settings
from agent.credentials import Credentials
from agent.logs import configure_logs
from agent.room import convert_stats
from agent.room.events import LayerChanged, QualityPatternChanged, TrackRestarted, TrackSubscribed
from agent.room.state import TrackState
from agent.room.subscription import SubscriptionPolicy
from quality.layer_steps import named
from quality.stats import VideoQuality

INTERVAL_S = 1.0
_COUNTERS = (
    "frames_received",
    "frames_decoded",
    "frames_dropped",
    "frame_width",
    "frame_height",
    "freeze_count",
    "total_freeze_duration",
    "nack_count",
    "pli_count",
    "bytes_received",
    "jitter_buffer_delay",
    "jitter_buffer_minimum_delay",
    "jitter_buffer_target_delay",
    "jitter_buffer_emitted_count",
    "retransmitted_packets_received",
)


class Watcher:
    """Prints what the agent is told, and the SDK's statistics."""

    def __init__(self, agent: RoomAgent, *, loop: bool) -> None:
        self._agent = agent
        self._loop = loop
        # The agent tells no raw statistics, and round trips and the jitter buffer's delays are what is looked at here.
        self._room = agent._session.sdk_room
        # By track, not by SID: one that is subscribed to anew is another track of the same SID.
        self._identifiers: WeakKeyDictionary[rtc.Track, str] = WeakKeyDictionary()
        agent.add_listener(self._on_event)

    def _on_event(self, event: object) -> None:
        match event:
            case TrackSubscribed(track=track) if track.kind == "video" and not self._loop:
                # A layer that a person chose is out of the controller's hands: the server is alone with it.
                self._agent._subscriber.set_quality(track.sid, VideoQuality.HIGH)
            case LayerChanged():
                tell(
                    "decision",
                    track=event.track.participant_identity,
                    from_quality=named(event.from_quality),
                    to_quality=named(event.to_quality),
                    decision=event.kind,
                    reason=event.reason,
                )
            case QualityPatternChanged():
                tell("pattern", **asdict(event))
            case TrackRestarted():
                tell("restart", **asdict(event))
            case _:
                pass

    async def sample(self) -> None:
        """Print one look at everything."""
        await self._learn()
        stats = await self._room.get_rtc_stats()
        entries = [*stats.subscriber_stats, *stats.publisher_stats]
        inbound = {
            item.inbound_rtp.inbound.track_identifier: item.inbound_rtp
            for item in entries
            if item.HasField("inbound_rtp")
        }
        pairs = [
            item.candidate_pair.candidate_pair
            for item in entries
            if item.HasField("candidate_pair") and item.candidate_pair.candidate_pair.nominated
        ]
        pair = max(pairs, key=lambda item: item.bytes_received, default=None)
        protocols = {
            item.local_candidate.rtc.id: item.local_candidate.candidate.protocol
            for item in entries
            if item.HasField("local_candidate")
        }
        used = resource.getrusage(resource.RUSAGE_SELF)
        tell(
            "sample",
            protocol=protocols.get(pair.local_candidate_id, "") if pair else "",
            current_round_trip_time=pair.current_round_trip_time if pair else 0.0,
            total_round_trip_time=pair.total_round_trip_time if pair else 0.0,
            responses_received=pair.responses_received if pair else 0,
            available_incoming_bitrate=pair.available_incoming_bitrate if pair else 0.0,
            bytes_received=pair.bytes_received if pair else 0,
            cpu_s=used.ru_utime + used.ru_stime,
            tracks=[
                self._track(track, entry)
                for track in self._agent.state().tracks
                if (entry := inbound.get(self._identifier(track.sid))) is not None
            ],
        )

    def _identifier(self, sid: str) -> str:
        track = self._agent._subscriber.sdk_track(sid)
        return self._identifiers.get(track, "") if track is not None else ""

    def _track(self, track: TrackState, entry: Any) -> dict[str, Any]:
        known = track.subscription
        return {
            "sid": track.sid,
            "kind": track.kind,
            "track": track.participant_identity,
            "ssrc": entry.stream.ssrc,
            "rtx_ssrc": entry.inbound.rtx_ssrc,
            "packets_received": entry.received.packets_received,
            "packets_lost": entry.received.packets_lost,
            "requested": track.quality or "",
            "score": known.score if known else None,
            "model_mos": known.model_mos if known else None,
            "patterns": list(known.patterns) if known else [],
            "paused": self._is_paused(track.sid),
            **{name: getattr(entry.inbound, name) for name in _COUNTERS},
        }

    def _is_paused(self, sid: str) -> bool:
        track = self._agent._subscriber.sdk_track(sid)
        return track is not None and convert_stats.is_stream_paused(track)

    async def _learn(self) -> None:
        for track in map(self._agent._subscriber.sdk_track, [item.sid for item in self._agent.state().tracks]):
            if track is None or track in self._identifiers:
                continue
            # One that has just come may have no statistics yet.
            if identifier := convert_stats.track_identifier(await track.get_stats()):
                self._identifiers[track] = identifier

    def end(self) -> None:
        """Print the agent's totals."""
        tell("end", counters=asdict(self._agent.counters()))


def tell(kind: str, **values: Any) -> None:
    """One line."""
    sys.stdout.write(json.dumps({"type": kind, "at": time.time(), **values}) + "\n")
    sys.stdout.flush()


async def watch(server: Credentials, room: str, *, loop: bool) -> None:
    """Be in the room until standard input ends."""
    request = RoomRequest(room, identity=f"agent-{os.getpid()}", policy=SubscriptionPolicy())
    async with RoomAgent(server, request, load_settings()) as agent:
        watcher = Watcher(agent, loop=loop)
        ended = asyncio.create_task(asyncio.to_thread(sys.stdin.read), name="until.stdin")
        while not ended.done():
            await asyncio.wait({ended}, timeout=INTERVAL_S)
            await watcher.sample()
        watcher.end()


def main() -> None:
    parser = argparse.ArgumentParser()
    for name in ("url", "key", "secret", "room"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--no-loop", action="store_true", help="leave every video at HIGH: the server alone decides")
    options = parser.parse_args()
    configure_logs("json", "info")
    server = Credentials(options.url, options.key, options.secret)
    asyncio.run(watch(server, options.room, loop=not options.no_loop))


if __name__ == "__main__":
    main()
