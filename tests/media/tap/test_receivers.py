"""What the tap's receivers ask a server for."""

import struct
from pathlib import Path

from media.rtp.packet import RtpPacket
from media.tap.receiver import Receivers
from media.tap.sdp import parse_offer

OFFER = parse_offer((Path(__file__).parent / "fixtures" / "offer_opus_vp8.sdp").read_text())
NOW = 1_700_000_000.0
RED, OPUS = 63, 111
GENERIC_NACK = 0x81, 205  # RFC 4585 section 6.2.1


def redundant(ssrc: int, number: int) -> bytes:
    """A packet of RED with nothing but its primary, as after a longer silence."""
    packet = RtpPacket.build(
        payload_type=RED, sequence_number=number, timestamp=960 * number, ssrc=ssrc, payload=bytes((OPUS, 0xF8, 0xFF))
    )
    return packet.serialize()


def test_redundant_audio_that_is_lost_is_asked_for_again_though_no_nack_is_offered() -> None:
    audio = next(section for section in OFFER.sections if section.kind == "audio")
    assert not any(item.feedback for item in audio.formats if item.payload_type in {RED, OPUS})
    receivers = Receivers(local_ssrc=7, cname="c")
    receivers.configure(OFFER, NOW)
    ssrc = audio.ssrcs[0]
    for number in (1, 2, 5):
        receivers.receive(redundant(ssrc, number), NOW + number * 0.02)
    receivers.poll_touched(NOW + 0.1)
    receivers.poll_due(NOW + 0.2)
    nacks = [item for item in receivers.take_feedback() if (item[0], item[1]) == GENERIC_NACK]
    assert nacks
    media_ssrc, first, following = struct.unpack_from("!IHH", nacks[0], 8)
    assert (media_ssrc, first, following) == (ssrc, 3, 1)


def test_a_track_that_ended_and_is_wanted_again_is_received_by_the_offer_that_there_was() -> None:
    audio = next(section for section in OFFER.sections if section.kind == "audio")
    receivers = Receivers(local_ssrc=7, cname="c")
    receivers.configure(OFFER, NOW)
    receivers.end_track(audio.track_id, NOW)
    receivers.receive(redundant(audio.ssrcs[0], 1), NOW + 0.02)
    assert audio.track_id not in receivers.stats(NOW + 0.1)
    receivers.expect(audio.track_id, NOW + 0.2)
    receivers.receive(redundant(audio.ssrcs[0], 2), NOW + 0.3)
    assert receivers.stats(NOW + 0.4)[audio.track_id].packets_received == 1
    receivers.expect("TR_of_nobody", NOW + 0.5)
    receivers.begin_connection()
    receivers.end_track(audio.track_id, NOW + 0.6)
    receivers.expect(audio.track_id, NOW + 0.7)
    assert audio.track_id not in receivers.stats(NOW + 0.8), "another connection has other SSRCs"
