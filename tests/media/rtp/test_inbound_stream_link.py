"""One track over an emulated network: loss, reordering, duplicates, retransmission, cut packets."""

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from media.errors import RtpError
from media.frames import Codec, EncodedFrame
from media.rtp.inbound_stream import InboundStream, InboundStreamConfig
from media.rtp.packet import RtpPacket
from tests.media.rtp.encodings import FRAMES, decode, encode_h264, encode_vp8
from tests.media.rtp.link import Link, Retransmitter
from tests.media.rtp.packetisers import (
    H264_PAYLOAD_TYPE,
    RTX_PAYLOAD_TYPE,
    VP8_PAYLOAD_TYPE,
    Sender,
    annex_b,
    h264_payloads,
    split_annex_b,
    vp8_frame,
    vp8_payloads,
)

START = 1_700_000_000.0
FRAME_S = 1 / 30


@dataclass
class Call:
    """A sender, a link in each direction and a receiver that polls as a shell would."""

    codec: Codec
    down: Link
    up: Link = field(default_factory=Link)
    rtx: bool = True
    corrupt: Callable[[RtpPacket], bytes] = lambda packet: packet.data

    def __post_init__(self) -> None:
        payload_type = VP8_PAYLOAD_TYPE if self.codec is Codec.VP8 else H264_PAYLOAD_TYPE
        rtx = {RTX_PAYLOAD_TYPE: payload_type} if self.rtx else {}
        self.stream = InboundStream(InboundStreamConfig(codecs={payload_type: self.codec}, rtx=rtx))
        self.sender = Sender(payload_type=payload_type)
        self.sent: dict[int, tuple[float, RtpPacket]] = {}
        self.retransmitter = Retransmitter()
        self.frames: list[EncodedFrame] = []
        self.keyframe_requests: list[float] = []
        self.now = START

    def send(self, packets: list[RtpPacket]) -> None:
        self.sent.update({packet.sequence_number: (self.now, packet) for packet in packets})
        self.down.send(packets, self.now)
        self.run(FRAME_S)

    def run(self, seconds: float, step: float = 0.005) -> None:
        """Let time pass; poll on packets and at deadlines."""
        end = self.now + seconds
        while self.now < end:
            self.now = min(end, self.now + step)
            for arrival, packet in self.down.receive(self.now):
                try:
                    received = RtpPacket.parse(self.corrupt(packet))
                except RtpError:
                    continue
                if received.payload_type == RTX_PAYLOAD_TYPE:
                    self.stream.receive_rtx(received, arrival)
                else:
                    self.stream.receive(received, arrival)
            self.poll()
            for _, nack in self.up.receive(self.now):
                again = self.retransmitter.answer([nack.sequence_number], self.sent, self.now)
                self.down.send([self.sender.rtx(packet) for packet in again] if self.rtx else again, self.now)

    def poll(self) -> None:
        output = self.stream.poll(self.now)
        self.frames.extend(output.frames)
        if output.request_keyframe:
            self.keyframe_requests.append(self.now)
        deadline = self.stream.next_deadline(self.now)
        assert deadline is None or deadline > self.now
        # A NACK goes up as one packet for each number; it may be lost too.
        self.up.send([nack_packet(number) for number in output.nacks], self.now)


def nack_packet(number: int) -> RtpPacket:
    return RtpPacket.build(payload_type=0, sequence_number=number, timestamp=0, ssrc=0, payload=b"nack")


def stream_vp8(call: Call, frames: int, keyframe_every: int = 30, size: int = 4000) -> list[bytes]:
    sent = []
    for index in range(frames):
        frame = vp8_frame(keyframe=index % keyframe_every == 0, size=size, seed=index)
        sent.append(frame)
        packets = call.sender.vp8(frame, 3000 * index)
        if index % 10 == 5:
            packets += [call.sender.padding(3000 * index) for _ in range(3)]
        call.send(packets)
    call.run(4)
    return sent


@pytest.mark.parametrize("rtx", [True, False])
@pytest.mark.parametrize("seed", range(3))
def test_a_lossy_reordering_link_loses_nothing_with_retransmission(seed: int, rtx: bool) -> None:
    down = Link(seed=seed, loss=0.05, jitter_s=0.03, duplicate=0.02, delay_s=0.03)
    call = Call(Codec.VP8, down, Link(seed=seed + 100, loss=0.02, delay_s=0.03), rtx)
    sent = stream_vp8(call, 240)
    assert [frame.data for frame in call.frames] == sent
    assert not any(frame.discontinuity for frame in call.frames)
    assert call.keyframe_requests == []
    stats = call.stream.stats(call.now)
    assert stats.packets_recovered > 20
    assert stats.frames_dropped == 0
    assert stats.packets_lost > 0 or not rtx


@pytest.mark.parametrize("seed", range(3))
def test_without_retransmission_what_is_whole_comes_out_and_key_frames_are_asked_for(seed: int) -> None:
    call = Call(Codec.VP8, Link(seed=seed, loss=0.04, burst=3), Link(loss=1.0))
    sent = stream_vp8(call, 240)
    positions = [sent.index(frame.data) for frame in call.frames]
    assert positions == sorted(set(positions))
    assert 150 < len(positions) < 240
    assert positions[-1] >= 230
    for frame, after, before in zip(call.frames[1:], positions[1:], positions, strict=False):
        assert frame.discontinuity is (after != before + 1)
    gaps = [b - a for a, b in zip(call.keyframe_requests, call.keyframe_requests[1:], strict=False)]
    assert call.keyframe_requests
    assert min(gaps, default=1.0) >= 0.19


def test_an_outage_of_ten_seconds_is_survived() -> None:
    call = Call(Codec.VP8, Link(), Link())
    stream_vp8(call, 60)
    call.down.loss = 1.0
    for index in range(60, 360):
        call.send(call.sender.vp8(vp8_frame(keyframe=False, size=12_000, seed=index), 3000 * (index + 120)))
    call.down.loss = 0.0
    before = len(call.frames)
    for index in range(360, 480):
        frame = vp8_frame(keyframe=index == 365, size=4000, seed=index)
        call.send(call.sender.vp8(frame, 3000 * (index + 120)))
    call.run(4)
    after = call.frames[before:]
    assert len(after) >= 119
    assert after[0].discontinuity
    assert after[-1].rtp_timestamp - call.frames[0].rtp_timestamp == 3000 * (479 + 120)


@pytest.mark.parametrize("codec", [Codec.VP8, Codec.H264])
def test_real_video_survives_a_bad_link_bit_by_bit(codec: Codec) -> None:
    units = encode_vp8() if codec is Codec.VP8 else encode_h264(slices=2)
    call = Call(codec, Link(seed=5, jitter_s=0.05), Link(seed=6, loss=0.05))
    for index, unit in enumerate(units):
        payloads = vp8_payloads(unit, index, 200) if codec is Codec.VP8 else h264_payloads(split_annex_b(unit), 200)
        packets = call.sender.frame(payloads, 3000 * index)
        # A receiver cannot know of what was lost before the first packet or after the last one.
        first, last = index == 0, index == len(units) - 1
        call.down.loss = 0.0 if first else 0.08
        call.send(packets[:1])
        call.down.loss = 0.08
        call.send(packets[1:-1])
        call.down.loss = 0.0 if last else 0.08
        call.send(packets[-1:])
    call.run(4)
    assert call.stream.stats(call.now).packets_recovered > 0
    if codec is Codec.VP8:
        received, original = [frame.data for frame in call.frames], list(units)
    else:
        received = [annex_b(frame.data) for frame in call.frames]
        original = [b"".join(b"\x00\x00\x00\x01" + nal for nal in split_annex_b(unit)) for unit in units]
    assert received == original
    pictures = decode(codec.value, received)
    assert len(pictures) == FRAMES
    assert pictures == decode(codec.value, list(units))


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    loss=st.floats(0, 0.3),
    jitter_ms=st.integers(0, 90),
    duplicate=st.floats(0, 0.3),
    cut=st.floats(0, 0.2),
    nack=st.booleans(),
)
def test_any_link_yields_whole_frames_in_order_and_recovers(
    seed: int, loss: float, jitter_ms: int, duplicate: float, cut: float, nack: bool
) -> None:
    """Cut packets are such as no SRTP lets through: they may spoil their frames but nothing else."""
    spoiled: set[int] = set()

    def corrupt(packet: RtpPacket) -> bytes:
        # Depends on the packet alone, so that copies are cut alike.
        if (packet.sequence_number * 7919 + seed) % 1000 >= cut * 1000 or not packet.payload:
            return packet.data
        spoiled.add(packet.timestamp)
        return packet.data[: 13 + seed % 30]

    down = Link(seed=seed, loss=loss, jitter_s=jitter_ms / 1000, duplicate=duplicate)
    call = Call(Codec.VP8, down, Link(loss=0.0 if nack else 1.0), corrupt=corrupt)
    sent = stream_vp8(call, 40, keyframe_every=8, size=2500)
    down.loss, down.jitter_s = 0.0, 0.0
    call.corrupt = lambda packet: packet.data
    clean = [vp8_frame(keyframe=index == 0, size=2500, seed=1000 + index) for index in range(10)]
    for index, frame in enumerate(clean):
        call.send(call.sender.vp8(frame, 3000 * (200 + index)))
    call.run(3)
    assert [frame.data for frame in call.frames[-10:]] == clean
    good = [frame for frame in call.frames[:-10] if frame.rtp_timestamp not in spoiled]
    positions = [frame.rtp_timestamp // 3000 for frame in good]
    assert positions == sorted(set(positions))
    assert [frame.data for frame in good] == [sent[position] for position in positions]
