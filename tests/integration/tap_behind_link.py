"""A recorder in a process of its own (behind a narrow link), that prints what it receives twice a second as JSON."""

import argparse
import asyncio
import json
import os
import resource
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from agent.credentials import Credentials
from agent.logs import configure_logs
from agent.room.events import LayerChanged
from agent.room.recorder_events import RecorderEvent
from agent.room.recorder_options import RecorderOptions
from agent.room.recording import RoomRecorder
from agent.room.subscription import SubscriptionPolicy
from agent.tokens import ParticipantTokenRequest, mint_participant_token
from media.clock import SteadyClock
from media.frames import EncodedFrame, MediaKind
from media.tap.events import RemoteParticipant
from media.tap.tap import Tap, TapOptions, TapState

INTERVAL_S = 0.5
SEGMENT_S = 10.0


class Counter:
    """Counts frames by kind and remembers the picture's height."""

    def __init__(self) -> None:
        self.frames = {MediaKind.VIDEO: 0, MediaKind.AUDIO: 0}
        self.height = 0
        self.gaps = 0
        self.participants: dict[str, RemoteParticipant] = {}

    def on_tap_frames(self, track_sid: str, frames: tuple[EncodedFrame, ...]) -> None:
        for frame in frames:
            self.frames[frame.codec.kind] += 1
            if frame.codec.kind is MediaKind.VIDEO:
                self.height = frame.height or self.height
                self.gaps += frame.discontinuity

    def on_tap_participants(self, participants: dict[str, RemoteParticipant]) -> None:
        self.participants = participants

    def on_tap_state(self, state: TapState, reason: str) -> None:
        pass

    def on_tap_stream_state(self, track_sid: str, *, paused: bool) -> None:
        pass

    def on_tap_refused(self, track_sid: str, reason: str) -> None:
        raise AssertionError(f"the server refuses {track_sid}: {reason}")

    def on_tap_allowed(self, track_sid: str) -> None:
        pass


async def receive(server: Credentials, room: str, seconds: float, *, feedback: bool) -> None:
    """Record everything in the room, and tell of what comes."""

    def token() -> str:
        request = ParticipantTokenRequest(room, f"tap-{os.getpid()}", hidden=True, recorder=True, can_publish=False)
        return mint_participant_token(server, request)

    with TemporaryDirectory() as folder:
        options = RecorderOptions(
            room=room,
            recording_id="behind-link",
            recordings_dir=Path(folder),
            segment_duration_s=SEGMENT_S,
            part_duration_s=1.0,
            policy=SubscriptionPolicy(),
            sink=None,
        )
        tap = TapOptions(server.url, token, bandwidth_feedback=feedback)
        recorder = RoomRecorder(options, tap, SteadyClock(), tell_decision)
        await recorder.start()
        began = time.monotonic()
        while time.monotonic() - began < seconds:
            await asyncio.sleep(INTERVAL_S)
            tell(recorder.tap, time.monotonic() - began)
        await recorder.aclose()


def tell_decision(event: RecorderEvent) -> None:
    """One line to people."""
    if isinstance(event, LayerChanged):
        sys.stderr.write(f"{event.kind}: {event.from_quality!r} to {event.to_quality!r}, {event.reason}\n")


def tell(tap: Tap, at: float) -> None:
    """One line; all numbers are totals so far."""
    kinds = {track.sid: track.kind for item in tap.participants.values() for track in item.tracks}
    stats = {kinds[sid]: item for sid, item in tap.stats().items() if sid in kinds}
    video, audio = stats.get(MediaKind.VIDEO), stats.get(MediaKind.AUDIO)
    used = resource.getrusage(resource.RUSAGE_SELF)
    line = {
        "at": at,
        "frames": video.frames_received if video else 0,
        "audio_frames": audio.frames_received if audio else 0,
        "height": video.frame_height if video else 0,
        "gaps": video.discontinuities if video else 0,
        "bytes": sum(item.bytes_received + item.header_bytes_received for item in stats.values()),
        "lost": video.packets_lost if video else 0,
        "nacks": video.nack_count if video else 0,
        "plis": video.pli_count if video else 0,
        "freezes_s": video.total_freezes_duration if video else 0.0,
        "audio_lost": audio.packets_lost - audio.packets_recovered if audio else 0,
        "audio_gaps": audio.discontinuities if audio else 0,
        "estimate_bps": tap.bandwidth_estimate_bps,
        "cpu_s": used.ru_utime + used.ru_stime,
    }
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


def main() -> None:
    parser = argparse.ArgumentParser()
    for name in ("url", "key", "secret", "room"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--no-feedback", action="store_true")
    options = parser.parse_args()
    configure_logs("console", "warning")
    server = Credentials(options.url, options.key, options.secret)
    asyncio.run(receive(server, options.room, options.seconds, feedback=not options.no_feedback))


if __name__ == "__main__":
    main()
