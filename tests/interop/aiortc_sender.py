"""aiortc as a sender, to itself over loopback: the RTP of its own packetisers and encoders."""

import time
from fractions import Fraction

import av
import numpy as np
from aiortc import AudioStreamTrack, RTCPeerConnection, RTCRtpSender, VideoStreamTrack
from aiortc.sdp import SessionDescription

from media.frames import Codec
from tests.integration.publishing import eventually
from tests.media.rtp.rtp_fixture import Description, RtpFixture

WIDTH, HEIGHT = 320, 180


class MovingPicture(VideoStreamTrack):
    """A ramp that moves, 30 pictures a second."""

    def __init__(self) -> None:
        super().__init__()
        self._number = 0

    async def recv(self) -> av.VideoFrame:
        """The next picture when it is due."""
        pts, time_base = await self.next_timestamp()
        self._number += 1
        ramp = (np.add.outer(np.arange(HEIGHT), np.arange(WIDTH)) + 4 * self._number) % 256
        frame = av.VideoFrame.from_ndarray(np.repeat(ramp[:, :, None], 3, axis=2).astype(np.uint8), format="rgb24")
        frame.pts, frame.time_base = pts, Fraction(time_base)
        return frame


async def send(codec: Codec, frames: int) -> RtpFixture:
    """The packets of `frames` frames of one codec that aiortc knows: VP8, H.264 or Opus."""
    sender, receiver = RTCPeerConnection(), RTCPeerConnection()
    try:
        return await _send(sender, receiver, codec, frames)
    finally:
        await sender.close()
        await receiver.close()


async def _send(sender: RTCPeerConnection, receiver: RTCPeerConnection, codec: Codec, frames: int) -> RtpFixture:
    track = AudioStreamTrack() if codec is Codec.OPUS else MovingPicture()
    sender.addTrack(track)
    (transceiver,) = sender.getTransceivers()
    known = RTCRtpSender.getCapabilities(codec.kind.value).codecs
    transceiver.setCodecPreferences([item for item in known if item.mimeType.lower() == f"{codec.kind}/{codec}"])
    await sender.setLocalDescription(await sender.createOffer())
    await receiver.setRemoteDescription(sender.localDescription)
    packets: list[tuple[float, bytes]] = []
    dtls = receiver.getTransceivers()[0].receiver.transport

    async def keep(data: bytes, arrival_time_ms: int) -> None:
        packets.append((time.monotonic(), data))

    dtls._handle_rtp_data = keep  # type: ignore[method-assign]
    await receiver.setLocalDescription(await receiver.createAnswer())
    await sender.setRemoteDescription(receiver.localDescription)
    await eventually(lambda: len({data[4:8] for _, data in packets}) > frames or None, timeout_s=60)
    # The last frame may not be whole yet.
    last = packets[-1][1][4:8]
    whole = [(at - packets[0][0], data) for at, data in packets if data[4:8] != last]
    answer = SessionDescription.parse(receiver.localDescription.sdp)
    payload_type = answer.media[0].rtp.codecs[0].payloadType
    assert payload_type is not None
    ssrc = int.from_bytes(packets[0][1][8:12], "big")
    return RtpFixture(Description(f"aiortc, {codec}", {payload_type: codec}, ssrc), whole)
