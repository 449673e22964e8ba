"""A loop that stood still: what waits in the socket is neither lost nor asked for."""

import asyncio
import gc
import time
from pathlib import Path
from typing import cast

import pytest

from media.clock import SteadyClock
from media.frames import EncodedFrame
from media.rtp.packet import RtpPacket
from media.tap.connection import Connection
from media.tap.datagram_reader import DatagramReader
from media.tap.events import Joined, SignalEvent
from media.tap.receiver import Receivers
from media.tap.sdp import parse_offer
from media.tap.signalling import SignalClient
from media.tap.srtp import SrtpReceiver
from tests.media.tap.test_transport import Protocol, loopback, srtp_pair

OFFER = parse_offer((Path(__file__).parent / "fixtures" / "offer_opus_vp8.sdp").read_text())
AUDIO = next(section for section in OFFER.sections if section.kind == "audio")
OPUS = 111
BATCH = 32


class Signal:
    """A server that says nothing."""

    joined = Joined("RM_1", "room", "PA_tap", (), 10.0, 15.0)

    async def aclose(self) -> None:
        """Nothing is open."""


class Owner:
    """Keeps the frames."""

    def __init__(self) -> None:
        self.frames: list[EncodedFrame] = []

    def on_frames(self, track_sid: str, frames: tuple[EncodedFrame, ...]) -> None:
        self.frames += frames

    def on_signal(self, event: SignalEvent) -> None:
        raise AssertionError(event)


def sound(number: int) -> bytes:
    packet = RtpPacket.build(
        payload_type=OPUS,
        sequence_number=number,
        timestamp=960 * number,
        ssrc=AUDIO.ssrcs[0],
        payload=bytes((0xFC, number)),
    )
    return packet.serialize()


async def test_a_hole_is_not_given_up_while_its_packet_waits_in_the_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("media.tap.datagram_reader.READ_BATCH", BATCH)
    sender, receiver = srtp_pair()
    clock, owner = SteadyClock(), Owner()
    receivers = Receivers(local_ssrc=7, cname="c")
    connection = Connection(cast(SignalClient, Signal()), owner, receivers, {}, clock, bandwidth_feedback=False)
    receivers.configure(OFFER, clock.now())
    with loopback(stamped=True) as (receiving, sending):
        connection._transport._readers.append(DatagramReader(receiving, Protocol(), SrtpReceiver(receiver), clock.now))
        connection._start(connection._read, "tap.read")
        await asyncio.sleep(0.1)
        datagrams = [sender.protect(sound(number)) for number in range(3 * BATCH)]
        datagrams.append(datagrams.pop(5))
        for datagram in datagrams:
            sending.sendto(datagram, receiving.getsockname())
        time.sleep(2.2)  # noqa: ASYNC251 - longer than a hole may wait
        await asyncio.sleep(0.1)
        stats = receivers.stats(clock.now())[AUDIO.track_id]
        await connection.aclose()
    assert [frame.data[1] for frame in owner.frames] == list(range(3 * BATCH))
    assert not any(frame.discontinuity for frame in owner.frames)
    assert stats.nack_count == 0


async def test_a_connection_that_is_closed_as_its_media_path_comes_up_leaves_nothing_over() -> None:
    """What was started in the same turn of the loop never begins; a coroutine left over is a warning, an error here."""
    connection = Connection(
        cast(SignalClient, Signal()),
        Owner(),
        Receivers(local_ssrc=7, cname="c"),
        {},
        SteadyClock(),
        bandwidth_feedback=False,
    )
    connection._start(connection._read, "tap.read")
    await connection.aclose()
    assert connection._tasks == set()
    gc.collect()
