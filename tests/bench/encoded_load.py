"""Publishers of pre-encoded H.264 for benchmarks: one process, one participant, some tracks; no encoder runs.

Prints `ready` once all tracks are published. Each line on standard input (`pause`, `resume` or anything) is
answered with one of JSON: frames sent so far and CPU seconds so far. Ends when standard input does.
"""

import argparse
import asyncio
import contextlib
import json
import resource
import sys
import time
from pathlib import Path

from livekit import rtc

from agent.tokens import Credentials, ParticipantTokenRequest, mint_participant_token
from tests.bench.encoded_clip import FPS, EncodedClip, read_clip


class EncodedTrack:
    """One published video; `feed` gives it its next frame."""

    def __init__(self, clip: EncodedClip, offset: int) -> None:
        self._clip = clip
        self._next = clip.keyframe_after(offset % len(clip.units))
        self.source = rtc.EncodedVideoSource(clip.width, clip.height)
        self.frames_sent = 0
        self.frames_refused = 0

    def feed(self, timestamp_us: int) -> None:
        """Send the next frame, or the next key frame when a subscriber asked for one."""
        clip = self._clip
        if self.source.take_feedback().keyframe_requested:
            self._next = clip.keyframe_after(self._next)
        key = self._next in clip.keyframes
        kind = rtc.EncodedFrameType.ENCODED_FRAME_KEY if key else rtc.EncodedFrameType.ENCODED_FRAME_DELTA
        frame = rtc.EncodedVideoFrame(
            clip.units[self._next], clip.width, clip.height, rtc.VideoCodec.H264, kind, timestamp_us
        )
        if self.source.capture_frame(frame):
            self.frames_sent += 1
        else:
            self.frames_refused += 1
        self._next = (self._next + 1) % len(clip.units)


class EncodedPublisher:
    """A participant whose tracks share one clock, each at its own place within a frame's time."""

    def __init__(self, room: rtc.Room, tracks: list[EncodedTrack]) -> None:
        self._room = room
        self._tracks = tracks
        self.paused = False

    @classmethod
    async def join(
        cls, server: Credentials, room_name: str, identity: str, clip: EncodedClip, tracks: int, bitrate_bps: int
    ) -> "EncodedPublisher":
        """Join and publish `tracks` videos of `clip`."""
        room = rtc.Room()
        await room.connect(server.url, mint_participant_token(server, ParticipantTokenRequest(room_name, identity)))
        made = [EncodedTrack(clip, number * 13) for number in range(tracks)]
        for number, item in enumerate(made):
            options = rtc.TrackPublishOptions(
                source=rtc.TrackSource.SOURCE_CAMERA,
                simulcast=False,
                video_codec=rtc.VideoCodec.H264,
                video_encoder=rtc.VideoEncoderBackend.ENCODER_BACKEND_PRE_ENCODED,
            )
            options.video_encoding.max_bitrate = 2 * bitrate_bps
            options.video_encoding.max_framerate = FPS
            local = rtc.LocalVideoTrack.create_video_track(f"camera-{number}", item.source)
            await room.local_participant.publish_track(local, options)
        return cls(room, made)

    @property
    def frames_sent(self) -> int:
        """Frames that the native layer took, all tracks together."""
        return sum(track.frames_sent for track in self._tracks)

    @property
    def frames_refused(self) -> int:
        """Frames that it did not take."""
        return sum(track.frames_refused for track in self._tracks)

    async def run(self) -> None:
        """Feed all tracks at their pace until cancelled."""
        started = time.monotonic()
        slot_s = 1 / FPS / len(self._tracks)
        slot = 0
        while True:
            await asyncio.sleep(max(0.0, started + slot * slot_s - time.monotonic()))
            if not self.paused:
                self._tracks[slot % len(self._tracks)].feed(time.monotonic_ns() // 1000)
            slot += 1

    async def leave(self) -> None:
        """Leave the room."""
        await self._room.disconnect()


async def main() -> None:
    parser = argparse.ArgumentParser()
    for name in ("url", "key", "secret", "room", "identity"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--clip", type=Path, required=True)
    parser.add_argument("--tracks", type=int, default=2)
    parser.add_argument("--bitrate", type=int, required=True)
    options = parser.parse_args()
    server = Credentials(options.url, options.key, options.secret)
    publisher = await EncodedPublisher.join(
        server, options.room, options.identity, read_clip(options.clip), options.tracks, options.bitrate
    )
    task = asyncio.create_task(publisher.run(), name="load")
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    while line := await asyncio.to_thread(sys.stdin.readline):
        if task.done():
            task.result()
        publisher.paused = {"pause": True, "resume": False}.get(line.strip(), publisher.paused)
        used = resource.getrusage(resource.RUSAGE_SELF)
        answer = {
            "frames_sent": publisher.frames_sent,
            "frames_refused": publisher.frames_refused,
            "cpu_s": used.ru_utime + used.ru_stime,
        }
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    await publisher.leave()


if __name__ == "__main__":
    asyncio.run(main())
