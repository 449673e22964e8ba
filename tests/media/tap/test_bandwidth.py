"""Which feedback an offer agrees to, and what the receivers send for it."""

from itertools import count
from pathlib import Path

import pytest
from aiortc.rtp import RtcpPacket, RtcpRtpfbPacket, unpack_remb_fci

from media.rtp.packet import RtpPacket
from media.tap.bandwidth import (
    REPEATABLE_PACKETS,
    BandwidthFeedback,
    RembFeedback,
    RepeatablePackets,
    TransportWideFeedback,
    negotiated_feedback,
)
from media.tap.receiver import Receivers
from media.tap.sdp import Offer, parse_offer, without_bandwidth_feedback

TEXT = (Path(__file__).parent / "fixtures" / "offer_opus_vp8.sdp").read_text()
REMB_OFFER = parse_offer(TEXT)
# What a server offers that is configured with congestion_control.use_send_side_bwe.
TRANSPORT_WIDE_OFFER = parse_offer(
    TEXT.replace("goog-remb", "transport-cc").replace(
        "http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time",
        "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01",
    )
)
NOW = 1_700_000_000.0


def video_ssrcs(offer: Offer) -> tuple[int, int]:
    section = next(item for item in offer.sections if item.kind == "video")
    return section.ssrcs[0], section.ssrcs[1]


def packet(ssrc: int, number: int, extension: bytes) -> bytes:
    return RtpPacket.build(
        payload_type=96,
        sequence_number=number,
        timestamp=0,
        ssrc=ssrc,
        payload=bytes(1000),
        extensions=((3, extension),),
    ).serialize()


@pytest.mark.parametrize(
    ("offer", "kind"),
    [
        (REMB_OFFER, RembFeedback),
        (TRANSPORT_WIDE_OFFER, TransportWideFeedback),
        (without_bandwidth_feedback(REMB_OFFER), type(None)),
        (without_bandwidth_feedback(TRANSPORT_WIDE_OFFER), type(None)),
    ],
)
def test_the_feedback_is_the_one_the_server_offers(offer: Offer, kind: type[BandwidthFeedback | None]) -> None:
    assert isinstance(negotiated_feedback(offer), kind)


def receive_second(offer: Offer, extensions: list[bytes]) -> list[bytes]:
    """What receivers send for a second of video, one packet each 20 ms."""
    receivers = Receivers(local_ssrc=7, cname="c")
    receivers.configure(offer, NOW)
    sent: list[bytes] = []
    for number, extension in enumerate(extensions):
        now = NOW + number / 50
        receivers.receive(packet(video_ssrcs(offer)[0], number, extension), now)
        receivers.poll_due(now)
        sent += [item for item in receivers.take_feedback() if item[1] in {205, 206} and item[0] & 0x1F == 15]
    return sent


def test_a_remb_names_the_video_and_no_limit_while_none_is_known() -> None:
    times = [(number * (1 << 18) // 50).to_bytes(3) for number in range(50)]
    (remb,) = receive_second(REMB_OFFER, times)
    assert remb[1] == 206
    bitrate, ssrcs = unpack_remb_fci(remb[12:])
    assert ssrcs == [video_ssrcs(REMB_OFFER)[0]]
    assert bitrate == pytest.approx(100_000_000, rel=0.001)


def test_transport_wide_feedback_comes_ten_times_a_second_and_names_every_packet_once() -> None:
    sent = receive_second(TRANSPORT_WIDE_OFFER, [number.to_bytes(2) for number in range(50)])
    assert 8 <= len(sent) <= 11
    assert {item[1] for item in sent} == {205}
    assert {int.from_bytes(item[8:12]) for item in sent} == {video_ssrcs(TRANSPORT_WIDE_OFFER)[0]}
    told = [(int.from_bytes(item[12:14]), int.from_bytes(item[14:16])) for item in sent]
    assert [base + count for base, count in told[:-1]] == [base for base, _ in told[1:]]
    assert [item[19] for item in sent] == list(range(len(sent)))


def overloaded() -> Receivers:
    """Receivers whose way is known to be narrow: each packet waited longer than the one before."""
    receivers = Receivers(local_ssrc=7, cname="c")
    receivers.configure(REMB_OFFER, NOW)
    for number in range(1500):
        receive_at(receivers, number, NOW + number * 0.004, sent_s=number * 0.002)
    return receivers


def receive_at(receivers: Receivers, number: int, now: float, *, sent_s: float) -> None:
    time = (round(sent_s * (1 << 18)) % (1 << 24)).to_bytes(3)
    receivers.receive(packet(video_ssrcs(REMB_OFFER)[0], number, time), now)
    receivers.poll_due(now)


def asked_again(receivers: Receivers) -> list[int]:
    """The packets that NACKs name in ten idle seconds after the overload, of 50 that came in each."""
    receivers.take_feedback()
    numbers: list[int] = []
    for number in range(1500, 2000):
        since = (number - 1500) / 50
        receive_at(receivers, number, NOW + 20 + since, sent_s=18 + since)
        numbers += [lost for item in receivers.take_feedback() for lost in nacked(item)]
    return numbers


def nacked(item: bytes) -> list[int]:
    return [lost for parsed in RtcpPacket.parse(item) if isinstance(parsed, RtcpRtpfbPacket) for lost in parsed.lost]


def test_a_way_that_is_too_narrow_for_what_is_wanted_is_probed_with_packets_that_came_each_once() -> None:
    receivers = overloaded()
    estimate = receivers.bandwidth_estimate_bps
    assert estimate is not None
    receivers.wanted_video_bps = 4 * estimate
    numbers = asked_again(receivers)
    assert len(numbers) > 20
    assert len(set(numbers)) == len(numbers)
    assert set(numbers) <= set(range(2000))


def test_nothing_is_probed_where_nothing_more_is_wanted() -> None:
    assert asked_again(overloaded()) == []


def test_a_probe_of_the_servers_is_answered_while_there_is_nothing_to_ask_for_again() -> None:
    """Two receivers on the same way: when one asks for packets again, the other has none that it could ask for."""
    ssrc, _ = video_ssrcs(REMB_OFFER)
    asking, blind = RembFeedback(3), RembFeedback(3)
    numbers = {asking: count(), blind: count()}

    def come(feedback: RembFeedback, now: float, *, late_s: float = 0.0, probe: bool = False) -> list[int]:
        sent = (round((now - late_s) * (1 << 18)) % (1 << 24)).to_bytes(3)
        arrived = RtpPacket.parse(packet(ssrc, next(numbers[feedback]), sent))
        feedback.receive(arrived, now, retransmission=feedback is blind, probe=probe)
        return [lost for item in feedback.poll(now, 7, (ssrc,), 50e6) for lost in nacked(item)]

    for number in range(500):  # a queue grows for a second
        for feedback in (asking, blind):
            come(feedback, number / 250, late_s=max(0, number - 250) / 500)
    now = 4.0
    while not come(asking, now):
        assert come(blind, now) == []
        now += 0.02
    assert blind.estimate_bps == pytest.approx(2e6, rel=0.2)
    for number in range(200):
        come(blind, now + number / 500, probe=number % 2 == 0)
    assert blind.estimate_bps == pytest.approx(500 * 8 * 1000, rel=0.05)


def test_repeatable_packets_are_the_newest_of_the_streams_that_are_there_and_given_out_once() -> None:
    repeatable = RepeatablePackets()
    for number in range(400):
        repeatable.add(RtpPacket(packet(1, number, bytes(3))))
    repeatable.add(RtpPacket(packet(2, 7, bytes(3))))
    size = len(packet(1, 0, bytes(3)))
    assert (repeatable.octets((1,)), repeatable.octets((1, 2))) == (
        REPEATABLE_PACKETS * size,
        (REPEATABLE_PACKETS + 1) * size,
    )
    assert repeatable.take(2.5 * size, (1,)) == {1: [399, 398, 397]}
    assert repeatable.take(size, (1, 2)) == {1: [396]}
    assert repeatable.take(1e9, (2, 3)) == {2: [7]}
    assert len(repeatable.take(1e9, (1, 2))[1]) == REPEATABLE_PACKETS - 4
    assert repeatable.take(1e9, (1, 2)) == {}
    assert repeatable.octets((1, 2, 3)) == 0


def test_what_is_too_old_for_the_server_is_not_given_out_though_newer_ones_were() -> None:
    repeatable = RepeatablePackets()
    size = len(packet(1, 0, bytes(3)))
    for number in range(REPEATABLE_PACKETS):
        repeatable.add(RtpPacket(packet(1, number, bytes(3))))
    half = REPEATABLE_PACKETS // 2
    assert len(repeatable.take(half * size, (1,))[1]) == half
    for number in range(REPEATABLE_PACKETS, REPEATABLE_PACKETS + half):
        repeatable.add(RtpPacket(packet(1, number, bytes(3))))
    assert repeatable.octets((1,)) == half * size
    assert min(repeatable.take(1e9, (1,))[1]) == REPEATABLE_PACKETS, "the older half is forgotten"


def test_repeatable_packets_of_streams_that_are_gone_are_forgotten() -> None:
    repeatable = RepeatablePackets()
    for ssrc in (1, 2):
        repeatable.add(RtpPacket(packet(ssrc, 7, bytes(3))))
    repeatable.retain((2,))
    assert repeatable.take(1e9, (1, 2)) == {2: [7]}


def test_a_new_connection_forgets_the_old_ones_limit() -> None:
    receivers = overloaded()
    assert receivers.bandwidth_estimate_bps is not None
    receivers.begin_connection()
    assert receivers.bandwidth_estimate_bps is None
