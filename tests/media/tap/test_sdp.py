"""Answers to offers that a real server made (LiveKit 1.13.4)."""

from pathlib import Path

import pytest
from aiortc.sdp import SessionDescription

from media.errors import TapError
from media.frames import Codec
from media.tap.sdp import (
    ABS_CAPTURE_TIME,
    ABS_SEND_TIME,
    DEPENDENCY_DESCRIPTOR,
    LocalTransport,
    MediaSection,
    Offer,
    build_answer,
    parse_offer,
    receive_formats,
    without_bandwidth_feedback,
)

FIXTURES = Path(__file__).parent / "fixtures"
LOCAL = LocalTransport(
    ice_ufrag="uuuu",
    ice_pwd="p" * 22,
    fingerprints=(("sha-256", ":".join(["AB"] * 32)),),
    candidates=("1 1 udp 2130706431 127.0.0.1 5000 typ host",),
)


def load(name: str) -> Offer:
    return parse_offer((FIXTURES / name).read_text())


@pytest.mark.parametrize("name", ["offer_opus_vp8.sdp", "offer_opus_h264.sdp"])
def test_every_track_of_an_offer_is_known_by_its_ssrcs(name: str) -> None:
    offer = load(name)
    application, *media = offer.sections
    assert application.kind == "application"
    assert application.sctp_port == 5000
    assert {section.kind for section in media} == {"audio", "video"}
    for section in media:
        assert section.track_id.startswith("TR_")
        assert section.stream_id.startswith("PA_")
        assert section.ssrcs
    video = next(section for section in media if section.kind == "video")
    assert video.rtx_ssrcs == ((video.ssrcs[1], video.ssrcs[0]),)


def test_formats_that_are_recorded_are_chosen_with_their_retransmissions() -> None:
    offer = load("offer_opus_vp8.sdp")
    video = next(section for section in offer.sections if section.kind == "video")
    chosen = receive_formats(video)
    assert chosen.codecs == {
        96: Codec.VP8,
        98: Codec.VP9,
        100: Codec.VP9,
        108: Codec.H264,
        35: Codec.AV1,
        116: Codec.H265,
    }
    assert chosen.rtx == {97: 96, 99: 98, 101: 100, 109: 108, 36: 35, 117: 116}
    assert chosen.extensions == {ABS_CAPTURE_TIME: 2, DEPENDENCY_DESCRIPTOR: 1, ABS_SEND_TIME: 3}


def test_the_dependency_descriptor_is_accepted_for_av1_only() -> None:
    text = (FIXTURES / "offer_opus_vp8.sdp").read_text().replace("AV1/90000", "AVX/90000")
    video = next(section for section in parse_offer(text).sections if section.kind == "video")
    assert receive_formats(video).extensions == {ABS_CAPTURE_TIME: 2, ABS_SEND_TIME: 3}


def test_the_answer_is_one_another_implementation_reads() -> None:
    offer = load("offer_opus_vp8.sdp")
    answer = SessionDescription.parse(build_answer(offer, LOCAL))
    assert [media.kind for media in answer.media] == [section.kind for section in offer.sections]
    assert [media.rtp.muxId for media in answer.media] == [section.mid for section in offer.sections]
    assert answer.group[0].items == [section.mid for section in offer.sections]
    video = next(media for media in answer.media if media.kind == "video")
    assert video.direction == "recvonly"
    assert [codec.payloadType for codec in video.rtp.codecs] == [96, 97, 98, 99, 100, 101, 108, 109, 35, 36, 116, 117]
    feedback = {(item.type, item.parameter or "") for item in video.rtp.codecs[0].rtcpFeedback}
    assert feedback == {("nack", ""), ("nack", "pli"), ("goog-remb", "")}
    extensions = {extension.uri for extension in video.rtp.headerExtensions}
    assert extensions == {DEPENDENCY_DESCRIPTOR, ABS_CAPTURE_TIME, ABS_SEND_TIME}
    assert video.dtls is not None
    assert video.dtls.role == "client"


def test_an_answer_without_bandwidth_feedback_gives_the_server_nothing_to_estimate_from() -> None:
    offer = without_bandwidth_feedback(load("offer_opus_vp8.sdp"))
    answer = build_answer(offer, LOCAL)
    for refused in ("abs-send-time", "transport-wide-cc", "goog-remb", "transport-cc"):
        assert refused not in answer
    assert "nack pli" in answer
    assert ABS_CAPTURE_TIME in answer


def test_a_section_without_a_recordable_codec_is_rejected_and_left_out_of_the_bundle() -> None:
    text = (FIXTURES / "offer_opus_vp8.sdp").read_text()
    for encoding in ("VP8", "VP9", "AV1", "H264", "H265"):
        text = text.replace(f"{encoding}/90000", "VPX/90000")
    answer = build_answer(parse_offer(text), LOCAL)
    video = next(section for section in parse_offer(text).sections if section.kind == "video")
    assert "m=video 0 " in answer
    assert video.mid not in answer.split("a=group:BUNDLE ")[1].splitlines()[0].split()


@pytest.mark.parametrize("broken", ["", "v=0\r\n", "v=0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\n"])
def test_an_offer_without_a_transport_is_an_error(broken: str) -> None:
    with pytest.raises(TapError, match="offer"):
        parse_offer(broken)


def audio_of(offer: Offer) -> MediaSection:
    return next(section for section in offer.sections if section.kind == "audio")


def test_redundant_audio_is_accepted_with_its_primary() -> None:
    offer = load("offer_opus_vp8.sdp")
    chosen = receive_formats(audio_of(offer))
    assert (chosen.codecs, chosen.red, chosen.rtx) == ({111: Codec.OPUS}, {63: 111}, {})
    answer = SessionDescription.parse(build_answer(offer, LOCAL))
    audio = next(media for media in answer.media if media.kind == "audio")
    assert [codec.payloadType for codec in audio.rtp.codecs] == [111, 63]
    assert "a=fmtp:63 111/111" in build_answer(offer, LOCAL)


@pytest.mark.parametrize("fmtp", ["0/0", "111/0", "x/x", ""])
def test_redundancy_of_another_codec_is_refused(fmtp: str) -> None:
    text = (FIXTURES / "offer_opus_vp8.sdp").read_text().replace("a=fmtp:63 111/111", f"a=fmtp:63 {fmtp}")
    assert receive_formats(audio_of(parse_offer(text))).red == {}
