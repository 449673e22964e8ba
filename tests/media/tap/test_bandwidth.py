"""Which feedback an offer agrees to, and what the receivers send for it."""

from pathlib import Path

import pytest
from aiortc.rtp import unpack_remb_fci

from media.rtp.packet import RtpPacket
from media.tap.bandwidth import BandwidthFeedback, RembFeedback, TransportWideFeedback, negotiated_feedback
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


def test_a_new_connection_forgets_the_old_ones_limit() -> None:
    receivers = Receivers(local_ssrc=7, cname="c")
    receivers.configure(REMB_OFFER, NOW)
    sent = 0.0
    for number in range(1500):  # each packet waits longer than the one before: an overload
        sent += 0.002
        receivers.receive(
            packet(video_ssrcs(REMB_OFFER)[0], number, (round(sent * (1 << 18)) % (1 << 24)).to_bytes(3)),
            NOW + number * 0.004,
        )
        receivers.poll_due(NOW + number * 0.004)
    assert receivers.bandwidth_estimate_bps is not None
    receivers.begin_connection()
    assert receivers.bandwidth_estimate_bps is None
