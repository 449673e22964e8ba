"""How many microseconds a received packet costs: VP8 as a 720p30 track of 1.7 Mb/s sends it.

Run: `python -m tests.bench.rtp_core [seconds of media]`. Prints the best of several passes.
"""

import sys
import time
from collections.abc import Iterator

from media.frames import Codec
from media.rtp.inbound_stream import InboundStream, InboundStreamConfig
from media.rtp.packet import RtpPacket

_FRAME_RATE = 30
_FRAME_BYTES = 1_700_000 // 8 // _FRAME_RATE
_KEYFRAME_BYTES = 60_000
_KEYFRAME_INTERVAL = 300
_PAYLOAD_BYTES = 1150
_PASSES = 7


def vp8_datagrams(frames: int) -> list[list[bytes]]:
    """Per frame its RTP packets: X, I (15 bits), L, T and K as Chromium sends them."""
    sequence_number = 0
    batches = []
    for index in range(frames):
        keyframe = index % _KEYFRAME_INTERVAL == 0
        packets = []
        pieces = list(_split(_vp8_frame(keyframe)))
        for number, piece in enumerate(pieces):
            picture_id = index & 0x7FFF
            descriptor = bytes(
                (0x90 if number == 0 else 0x80, 0xF0, 0x80 | picture_id >> 8, picture_id & 0xFF, index & 0xFF, 0)
            )
            packet = RtpPacket.build(
                payload_type=96,
                sequence_number=sequence_number,
                timestamp=index * 90_000 // _FRAME_RATE,
                ssrc=1,
                payload=descriptor + piece,
                marker=number == len(pieces) - 1,
            )
            packets.append(packet.serialize())
            sequence_number += 1
        batches.append(packets)
    return batches


def _vp8_frame(keyframe: bool) -> bytes:
    if not keyframe:
        return b"\x01\x01\x00" + bytes(_FRAME_BYTES - 3)
    return b"\x10\x01\x00\x9d\x01\x2a\x00\x05\xd0\x02" + bytes(_KEYFRAME_BYTES - 10)


def _split(frame: bytes) -> Iterator[bytes]:
    for start in range(0, len(frame), _PAYLOAD_BYTES):
        yield frame[start : start + _PAYLOAD_BYTES]


def measure_parse(batches: list[list[bytes]]) -> float:
    """Seconds to parse all packets."""
    started = time.perf_counter()
    for batch in batches:
        for data in batch:
            RtpPacket(data)
    return time.perf_counter() - started


def measure_receive(batches: list[list[RtpPacket]], lose_every: int = 0) -> float:
    """Seconds for `receive` of each packet and one `poll` per frame; every n-th packet comes 100 ms late."""
    stream = InboundStream(InboundStreamConfig(codecs={96: Codec.VP8}))
    late: list[tuple[float, RtpPacket]] = []
    count = 0
    now = 1_700_000_000.0
    started = time.perf_counter()
    for batch in batches:
        now += 1 / _FRAME_RATE
        for packet in batch:
            count += 1
            if lose_every and count % lose_every == 0:
                late.append((now + 0.1, packet))
            else:
                stream.receive(packet, now)
        while late and late[0][0] <= now:
            stream.receive(late.pop(0)[1], now)
        stream.poll(now)
    elapsed = time.perf_counter() - started
    stream.flush(now)
    received = stream.stats(now).frames_received
    if received != len(batches):
        raise AssertionError(f"{received} of {len(batches)} frames came out")
    return elapsed


def main() -> None:
    """Measure and print."""
    seconds = int(sys.argv[1]) if len(sys.argv) > 1 else 60
    datagrams = vp8_datagrams(seconds * _FRAME_RATE)
    packets = [[RtpPacket(data) for data in batch] for batch in datagrams]
    count = sum(len(batch) for batch in datagrams)
    print(f"{count} packets, {len(datagrams)} frames")
    for name, best in (
        ("parse", min(measure_parse(datagrams) for _ in range(_PASSES))),
        ("receive + poll, in order", min(measure_receive(packets) for _ in range(_PASSES))),
        ("receive + poll, 1 in 50 comes 100 ms late", min(measure_receive(packets, 50) for _ in range(_PASSES))),
    ):
        print(f"{name}: {best / count * 1e6:.2f} µs per packet, {best / len(datagrams) * 1e6:.1f} µs per frame")


if __name__ == "__main__":
    main()
