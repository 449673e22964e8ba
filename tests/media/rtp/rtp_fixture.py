"""RTP of real senders in files: the packets of one track as they arrived, and what is known of them.

The format: a line of JSON (UTF-8, ended by a newline) that describes the track, then one record a
packet: microseconds since the first packet (4 bytes, big-endian), length (2 bytes), the packet.
`python -m tests.interop.capture_rtp` makes the files anew.
"""

import json
import struct
from dataclasses import asdict, dataclass, field
from pathlib import Path

from media.frames import Codec, EncodedFrame
from media.rtp.inbound_stream import InboundStream, InboundStreamConfig
from media.rtp.packet import RtpPacket

FIXTURES = Path(__file__).parent / "fixtures"
START = 1_700_000_000.0

_RECORD = struct.Struct("!IH")


@dataclass(frozen=True)
class Description:
    """Who sent it, what was negotiated, and what comes out of the packets when none is lost."""

    sender: str
    codecs: dict[int, Codec]
    ssrc: int
    rtx_ssrc: int = 0
    rtx: dict[int, int] = field(default_factory=dict)
    red: dict[int, int] = field(default_factory=dict)
    abs_capture_time_id: int | None = None
    dependency_descriptor_id: int | None = None
    frames: int = 0
    sizes: list[tuple[int, int]] = field(default_factory=list)
    """Width and height of the sync samples, without repeats."""

    def config(self, *, nack: bool = True) -> InboundStreamConfig:
        """What an inbound stream is told of the track."""
        return InboundStreamConfig(
            codecs=self.codecs,
            rtx=self.rtx,
            red=self.red,
            nack=nack,
            abs_capture_time_id=self.abs_capture_time_id,
            dependency_descriptor_id=self.dependency_descriptor_id,
        )


@dataclass(frozen=True)
class RtpFixture:
    """A captured track: seconds since the first packet, and the packet, in order of arrival."""

    description: Description
    packets: list[tuple[float, bytes]]

    def save(self, path: Path) -> None:
        """Write the file."""
        head = json.dumps(asdict(self.description)).encode() + b"\n"
        records = (_RECORD.pack(round(at * 1e6), len(data)) + data for at, data in self.packets)
        path.write_bytes(head + b"".join(records))

    @classmethod
    def load(cls, path: Path) -> "RtpFixture":
        """Read a file that `save` wrote."""
        head, _, body = path.read_bytes().partition(b"\n")
        fields = json.loads(head)
        for name in ("rtx", "red"):
            fields[name] = {int(key): value for key, value in fields[name].items()}
        fields["codecs"] = {int(key): Codec(value) for key, value in fields["codecs"].items()}
        fields["sizes"] = [(width, height) for width, height in fields["sizes"]]
        packets, at = [], 0
        while at < len(body):
            microseconds, length = _RECORD.unpack_from(body, at)
            at += _RECORD.size
            packets.append((microseconds / 1e6, body[at : at + length]))
            at += length
        return cls(Description(**fields), packets)

    def replay(self) -> list[EncodedFrame]:
        """The frames that come out when the packets arrive as they did."""
        return self.receive(InboundStream(self.description.config()))

    def receive(self, stream: InboundStream) -> list[EncodedFrame]:
        """Feed a stream, polled as a shell would, and flush it."""
        frames: list[EncodedFrame] = []
        now = START
        for at, data in self.packets:
            now = START + at
            while (deadline := stream.next_deadline(START)) is not None and deadline < now:
                frames += stream.poll(deadline).frames
            packet = RtpPacket(data)
            if packet.ssrc == self.description.rtx_ssrc:
                stream.receive_rtx(packet, now)
            else:
                stream.receive(packet, now)
            frames += stream.poll(now).frames
        return frames + list(stream.flush(now + 5.0).frames)
