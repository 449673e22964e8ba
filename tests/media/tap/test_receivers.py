"""What the tap's receivers ask a server for."""

import struct
from pathlib import Path
from typing import cast

import pytest

from media.clock import SteadyClock
from media.frames import MediaKind
from media.rtp.clock_mapping import ClockSource
from media.rtp.packet import RtpPacket
from media.rtp.rtcp import SenderReport, build_sender_report, unix_to_ntp
from media.tap.events import ParticipantsUpdated, RemoteParticipant, RemoteTrack
from media.tap.receiver import Receivers
from media.tap.sdp import parse_offer
from media.tap.tap import Tap, TapListener, TapOptions

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


def test_a_track_that_ended_is_none_where_the_server_offers_it_for_a_moment_more() -> None:
    audio = next(section for section in OFFER.sections if section.kind == "audio")
    receivers = Receivers(local_ssrc=7, cname="c")
    receivers.configure(OFFER, NOW)
    receivers.end_track(audio.track_id, NOW)
    receivers.configure(OFFER, NOW + 0.1)
    receivers.receive(redundant(audio.ssrcs[0], 1), NOW + 0.2)
    assert audio.track_id not in receivers.stats(NOW + 0.3)
    receivers.begin_connection()
    receivers.configure(OFFER, NOW + 1)
    assert audio.track_id in receivers.stats(NOW + 1), "another connection offers what it was asked for"


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


def delay_s(receivers: Receivers, start: float, ntp_ahead_s: float) -> float:
    """Receive two seconds of sound that is 50 ms on its way, with reports; how late its mapping says that it is."""
    audio = next(section for section in OFFER.sections if section.kind == "audio")
    receivers.configure(OFFER, start)
    receivers.expect(audio.track_id, start)
    for number in range(100):
        sent_at = start + number * 0.02
        receivers.receive(redundant(audio.ssrcs[0], number), sent_at + 0.05)
        receivers.poll_touched(sent_at + 0.05)
        if number % 25 == 1:
            ntp_time = sent_at + ntp_ahead_s
            report = SenderReport(audio.ssrcs[0], unix_to_ntp(ntp_time), ntp_time, 960 * number, number, 0)
            receivers.receive_rtcp(build_sender_report(report), sent_at + 0.05)
    mapping = receivers.clock_mappings(start + 2)[audio.track_id]
    assert mapping.source is ClockSource.SENDER_REPORT
    return mapping.unix_time(mapping.rtp_timestamp, 48_000) - (start + mapping.rtp_timestamp / 48_000)


def test_the_clock_of_a_participant_who_left_is_forgotten() -> None:
    audio = next(section for section in OFFER.sections if section.kind == "audio")
    participant = audio.stream_id.partition("|")[0]
    receivers = Receivers(local_ssrc=7, cname="c")
    assert delay_s(receivers, NOW, 0.0) == pytest.approx(0.05, abs=0.005)
    receivers.retain_participants({participant, "PA_other"})
    receivers.end_track(audio.track_id, NOW + 2)
    receivers.retain_participants({"PA_other"})
    assert delay_s(receivers, NOW + 5, -0.3) == pytest.approx(0.05, abs=0.005)


def test_a_tap_keeps_the_clocks_of_those_who_are_there() -> None:
    class Nobody:
        def on_tap_participants(self, participants: dict[str, RemoteParticipant]) -> None:
            """Nobody listens."""

    def told(sid: str, *, active: bool) -> ParticipantsUpdated:
        return ParticipantsUpdated((RemoteParticipant(sid, sid, "", "", {}, active),))

    audio = next(section for section in OFFER.sections if section.kind == "audio")
    participant = audio.stream_id.partition("|")[0]
    tap = Tap(TapOptions("ws://localhost", lambda: ""), cast(TapListener, Nobody()), SteadyClock())
    tap.on_signal(told(participant, active=True))
    tap._receivers.configure(OFFER, NOW)
    assert set(tap._receivers._offsets) == {participant}
    tap.on_signal(told("PA_b", active=True))
    assert set(tap._receivers._offsets) == {participant}
    tap.on_signal(told(participant, active=False))
    assert tap._receivers._offsets == {}


def test_what_a_mute_takes_is_no_freeze(monkeypatch: pytest.MonkeyPatch) -> None:
    class Nobody:
        def on_tap_participants(self, participants: dict[str, RemoteParticipant]) -> None:
            """Nobody listens."""

    def told(*, muted: bool) -> ParticipantsUpdated:
        track = RemoteTrack(
            "TR_v", "", MediaKind.VIDEO, "camera", "video/vp8", muted=muted, simulcasted=True, encrypted=False
        )
        return ParticipantsUpdated((RemoteParticipant("PA_a", "a", "", "", {}, active=True, tracks=(track,)),))

    tap = Tap(TapOptions("ws://localhost", lambda: ""), cast(TapListener, Nobody()), SteadyClock())
    noted: list[str] = []
    monkeypatch.setattr(Receivers, "note_pause", lambda _self, sid: noted.append(sid))
    for muted in (False, False, True, True, False):
        tap.on_signal(told(muted=muted))
    assert noted == ["TR_v", "TR_v"], "when it begins and when it ends"
