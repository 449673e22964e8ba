"""Publishers of pre-encoded H.264 for benchmarks: one process, one participant, some tracks; no encoder runs.

aiortc sends, at the clip's pace: the SDK's congestion control takes minutes to let many tracks through, and a core for
seven of them. Prints `ready` once all tracks are published. Each line on standard input (`pause`, `resume` or anything)
is answered with one of JSON: frames sent so far and CPU seconds so far. Ends when standard input does.
"""

import argparse
import asyncio
import contextlib
import json
import resource
import sys
import time
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
from aiortc import MediaStreamTrack, RTCPeerConnection, RTCRtpSender, RTCSessionDescription
from aiortc.rtp import RTCP_PSFB_FIR, RTCP_PSFB_PLI, RtcpPsfbPacket
from aiortc.sdp import candidate_from_sdp
from livekit.protocol import models, rtc
from websockets.asyncio.client import ClientConnection, connect

from agent.credentials import Credentials
from agent.tokens import ParticipantTokenRequest, mint_participant_token
from media.tap.signalling import signal_url
from tests.bench.encoded_clip import FPS, EncodedClip, read_clip

_TIME_BASE = Fraction(1, 90_000)
_PING_S = 5.0
_CONNECT_S = 30.0


class EncodedTrack(MediaStreamTrack):
    """One published video: the clip again and again, from its key frame on whenever a subscriber asks for one."""

    kind = "video"

    def __init__(self, clip: EncodedClip, offset_s: float) -> None:
        """`offset_s`: where in a frame's time it sends, so that tracks do not burst together."""
        super().__init__()
        self._clip = clip
        self._next = 0
        self._began = time.monotonic() + offset_s
        self._tick = 0
        self.paused = True
        self.frames_sent = 0

    def ask_for_keyframe(self) -> None:
        """The next frame is a key frame."""
        self._next = self._clip.keyframe_after(self._next)

    async def recv(self) -> "av.Packet[Any]":
        """The next frame when it is due; none while the track is paused, as it is at first."""
        while True:
            self._tick += 1
            await asyncio.sleep(max(0.0, self._began + self._tick / FPS - time.monotonic()))
            if not self.paused:
                break
        packet: av.Packet[Any] = av.Packet(self._clip.units[self._next])
        packet.pts, packet.time_base = self._tick * round(1 / _TIME_BASE / FPS), _TIME_BASE
        self._next = (self._next + 1) % len(self._clip.units)
        self.frames_sent += 1
        return packet


class EncodedPublisher:
    """A participant that publishes such tracks over one connection."""

    def __init__(self, socket: ClientConnection, tracks: list[EncodedTrack]) -> None:
        self._socket = socket
        self._peer = RTCPeerConnection()
        self._published: set[str] = set()
        self._news = asyncio.Condition()
        self._reading = asyncio.create_task(self._read(), name="load.signals")
        self._pinging = asyncio.create_task(self._ping(), name="load.ping")
        self.tracks = tracks

    @classmethod
    async def join(
        cls, server: Credentials, room: str, identity: str, clip: EncodedClip, tracks: int
    ) -> "EncodedPublisher":
        """Join and publish `tracks` videos of `clip`; they send once `pause` says so."""
        token = mint_participant_token(server, ParticipantTokenRequest(room, identity))
        socket = await connect(signal_url(server.url, token), ping_interval=None, proxy=None)
        made = [EncodedTrack(clip, number / FPS / tracks) for number in range(tracks)]
        publisher = cls(socket, made)
        async with asyncio.timeout(_CONNECT_S):
            await publisher._publish(clip)
        return publisher

    @property
    def frames_sent(self) -> int:
        """Frames of all tracks together."""
        return sum(track.frames_sent for track in self.tracks)

    def pause(self, *, paused: bool) -> None:
        """Send nothing, or go on."""
        for track in self.tracks:
            track.paused = paused

    async def leave(self) -> None:
        """Leave the room."""
        leave = rtc.LeaveRequest(reason=models.DisconnectReason.CLIENT_INITIATED)
        await self._send(rtc.SignalRequest(leave=leave))
        for task in (self._pinging, self._reading):
            task.cancel()
        await asyncio.gather(self._pinging, self._reading, return_exceptions=True)
        await self._peer.close()
        await self._socket.close()

    async def _publish(self, clip: EncodedClip) -> None:
        for number, track in enumerate(self.tracks):
            layer = models.VideoLayer(quality=models.VideoQuality.HIGH, width=clip.width, height=clip.height)
            add = rtc.AddTrackRequest(
                cid=track.id,
                name=f"camera-{number}",
                type=models.TrackType.VIDEO,
                source=models.TrackSource.CAMERA,
                width=clip.width,
                height=clip.height,
                layers=[layer],
            )
            await self._send(rtc.SignalRequest(add_track=add))
            await self._until(lambda cid=track.id: cid in self._published)
            _answer_keyframe_requests(self._peer.addTrack(track), track)
        codecs = [item for item in RTCRtpSender.getCapabilities("video").codecs if item.mimeType == "video/H264"]
        for transceiver in self._peer.getTransceivers():
            transceiver.setCodecPreferences(codecs)
            transceiver.direction = "sendonly"
        await self._peer.setLocalDescription(await self._peer.createOffer())
        offer = rtc.SessionDescription(type="offer", sdp=self._peer.localDescription.sdp, id=1)
        await self._send(rtc.SignalRequest(offer=offer))
        await self._until(lambda: self._peer.connectionState == "connected")

    async def _until(self, condition: Any) -> None:
        async with self._news:
            while not condition():
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(0.1):  # the connection's state changes without a signal
                        await self._news.wait()
                if self._reading.done():
                    self._reading.result()
                    raise SystemExit("bench: the server ended the session of a publisher")

    async def _read(self) -> None:
        async for message in self._socket:
            assert isinstance(message, bytes)
            await self._take(rtc.SignalResponse.FromString(message))
            async with self._news:
                self._news.notify_all()

    async def _take(self, response: rtc.SignalResponse) -> None:
        if response.HasField("track_published"):
            self._published.add(response.track_published.cid)
        elif response.HasField("answer"):
            await self._peer.setRemoteDescription(RTCSessionDescription(response.answer.sdp, "answer"))
        elif response.HasField("trickle") and response.trickle.target == rtc.SignalTarget.PUBLISHER:
            line = json.loads(response.trickle.candidateInit)
            candidate = candidate_from_sdp(line["candidate"].removeprefix("candidate:"))
            candidate.sdpMid, candidate.sdpMLineIndex = line.get("sdpMid"), line.get("sdpMLineIndex")
            if candidate.protocol.lower() == "udp":
                await self._peer.addIceCandidate(candidate)

    async def _ping(self) -> None:
        while True:
            await asyncio.sleep(_PING_S)
            await self._send(rtc.SignalRequest(ping_req=rtc.Ping(timestamp=time.time_ns() // 1_000_000)))

    async def _send(self, request: rtc.SignalRequest) -> None:
        await self._socket.send(request.SerializeToString())


def _answer_keyframe_requests(sender: RTCRtpSender, track: EncodedTrack) -> None:
    """aiortc asks its encoder for a key frame, and there is none."""
    handle = sender._handle_rtcp_packet

    async def handle_all(packet: Any) -> None:
        if isinstance(packet, RtcpPsfbPacket) and packet.fmt in {RTCP_PSFB_PLI, RTCP_PSFB_FIR}:
            track.ask_for_keyframe()
        await handle(packet)

    sender._handle_rtcp_packet = handle_all  # type: ignore[method-assign]


async def main() -> None:
    parser = argparse.ArgumentParser()
    for name in ("url", "key", "secret", "room", "identity"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--clip", type=Path, required=True)
    parser.add_argument("--tracks", type=int, default=2)
    options = parser.parse_args()
    server = Credentials(options.url, options.key, options.secret)
    publisher = await EncodedPublisher.join(
        server, options.room, options.identity, read_clip(options.clip), options.tracks
    )
    publisher.pause(paused=False)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    while line := await asyncio.to_thread(sys.stdin.readline):
        if line.strip() in {"pause", "resume"}:
            publisher.pause(paused=line.strip() == "pause")
        used = resource.getrusage(resource.RUSAGE_SELF)
        answer = {"frames_sent": publisher.frames_sent, "cpu_s": used.ru_utime + used.ru_stime}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()
    await publisher.leave()


if __name__ == "__main__":
    asyncio.run(main())
