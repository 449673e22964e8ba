"""One track from packets to frames, case by case."""

from collections.abc import Iterable, Sequence

import pytest

from media.errors import UnsupportedCodec
from media.frames import Codec, EncodedFrame, MediaKind
from media.rtp.clock_mapping import ClockSource
from media.rtp.inbound_stream import InboundStream, InboundStreamConfig, StreamOutput
from media.rtp.packet import RtpPacket
from media.rtp.rtcp import SenderReport, unix_to_ntp
from tests.media.rtp.encodings import encode_h264
from tests.media.rtp.packetisers import (
    H264_PAYLOAD_TYPE,
    OPUS_PAYLOAD_TYPE,
    RTX_PAYLOAD_TYPE,
    SSRC,
    VP8_PAYLOAD_TYPE,
    Sender,
    h264_payloads,
    split_annex_b,
    vp8_frame,
)

START = 1_700_000_000.0
SETTLED = START + 0.11
VIDEO = InboundStreamConfig(
    codecs={VP8_PAYLOAD_TYPE: Codec.VP8, H264_PAYLOAD_TYPE: Codec.H264},
    rtx={RTX_PAYLOAD_TYPE: VP8_PAYLOAD_TYPE},
)
AUDIO = InboundStreamConfig(codecs={OPUS_PAYLOAD_TYPE: Codec.OPUS})


class Track:
    """A stream with a sender; keeps all that came out."""

    def __init__(self, config: InboundStreamConfig = VIDEO) -> None:
        self.stream = InboundStream(config)
        self.sender = Sender(payload_type=next(iter(config.codecs)))
        self.frames: list[EncodedFrame] = []

    def receive(self, packets: Iterable[RtpPacket], now: float) -> StreamOutput:
        for packet in packets:
            self.stream.receive(packet, now)
        return self.poll(now)

    def poll(self, now: float) -> StreamOutput:
        output = self.stream.poll(now)
        self.frames.extend(output.frames)
        return output

    def vp8(self, index: int, *, keyframe: bool = False, size: int = 300, max_bytes: int = 100) -> list[RtpPacket]:
        frame = vp8_frame(keyframe=keyframe, size=size, seed=index)
        return self.sender.vp8(frame, 3000 * index, max_bytes)


def started() -> Track:
    """A track that handed out its first key frame."""
    track = Track()
    track.receive(track.vp8(0, keyframe=True), START)
    track.poll(SETTLED)
    assert [frame.sync_sample for frame in track.frames] == [True]
    return track


def bodies(frames: Sequence[EncodedFrame]) -> list[int]:
    """The numbers that `vp8_frame` put into the frames."""
    return [int.from_bytes(frame.data[-frame_tail(frame) :][:4], "big") for frame in frames]


def frame_tail(frame: EncodedFrame) -> int:
    return len(frame.data) - (10 if frame.sync_sample else 3)


def test_a_frame_has_all_its_fields() -> None:
    track = Track()
    key = vp8_frame(keyframe=True, size=3000, seed=7, width=1280, height=720)
    packets = track.sender.vp8(key, 2**32 - 3000)
    track.receive(packets[:1], START)
    track.receive(packets[1:], START + 0.02)
    track.poll(SETTLED)
    track.receive(track.sender.vp8(vp8_frame(keyframe=False), 0), START + 0.2)
    assert track.frames[0] == EncodedFrame(
        codec=Codec.VP8,
        data=key,
        rtp_timestamp=2**32 - 3000,
        arrival_time=START,
        sync_sample=True,
        discontinuity=False,
        width=1280,
        height=720,
    )
    delta = track.frames[1]
    assert (delta.rtp_timestamp, delta.sync_sample, delta.width) == (2**32, False, 0)
    assert not delta.discontinuity


def test_nothing_to_say_is_one_object() -> None:
    track = started()
    assert track.poll(SETTLED) is track.poll(SETTLED + 0.01)


def test_frames_before_the_first_sync_sample_are_dropped_and_a_key_frame_is_asked_for() -> None:
    track = Track()
    asked = []
    for index in range(30):
        now = START + index / 30
        if track.receive(track.vp8(index), now).request_keyframe:
            asked.append(round(now - START, 3))
    assert track.frames == []
    assert asked[0] == pytest.approx(0.1, abs=0.04)
    assert len(asked) in {4, 5}
    track.receive(track.vp8(30, keyframe=True), START + 1)
    track.receive(track.vp8(31), START + 1.04)
    assert bodies(track.frames) == [30, 31]
    assert not any(frame.discontinuity for frame in track.frames)
    stats = track.stream.stats(START + 1.04)
    assert (stats.frames_received, stats.frames_dropped, stats.key_frames_received) == (32, 30, 1)
    assert stats.pli_count == len(asked)
    assert not track.receive(track.vp8(32), START + 2).request_keyframe


@pytest.mark.parametrize("codec", [Codec.VP8, Codec.H264])
def test_a_first_key_frame_that_takes_long_is_not_asked_for_again(codec: Codec) -> None:
    track = Track()
    if codec is Codec.VP8:
        packets = track.vp8(0, keyframe=True, size=3000)
    else:
        track.sender.payload_type = H264_PAYLOAD_TYPE
        packets = track.sender.frame(h264_payloads(split_annex_b(encode_h264()[0]), 300), 0)
    for index, packet in enumerate(packets):
        output = track.receive([packet], START + 0.9 * index / len(packets))
        assert not output.request_keyframe
    assert [frame.sync_sample for frame in track.frames] == [True]


def test_a_lost_packet_is_asked_for_and_comes_by_rtx() -> None:
    track = started()
    frame = track.vp8(1)
    assert track.receive([frame[0], frame[2]], SETTLED) == StreamOutput()
    assert track.stream.next_deadline(SETTLED) == pytest.approx(SETTLED + 0.02)
    output = track.poll(SETTLED + 0.021)
    assert output.nacks == (frame[1].sequence_number,)
    assert track.stream.stats(SETTLED + 0.03).packets_given_up == 0
    assert track.stream.receive_rtx(track.sender.rtx(frame[1]), SETTLED + 0.1), "it was asked for"
    output = track.poll(SETTLED + 0.1)
    assert bodies(output.frames) == [1]
    assert not output.frames[0].discontinuity
    assert track.stream.next_deadline(SETTLED + 0.1) is None
    stats = track.stream.stats(SETTLED + 0.1)
    assert (stats.nack_count, stats.pli_count, stats.packets_recovered) == (1, 0, 1)
    assert (stats.packets_recovered_by_rtx, stats.packets_given_up) == (1, 0)
    assert (stats.retransmitted_packets_received, stats.packets_received) == (1, 6)
    assert stats.packets_lost == 1
    assert track.stream.receive_rtx(track.sender.rtx(frame[1]), SETTLED + 0.2), "a second copy is no probe"
    assert track.stream.stats(SETTLED).unneeded_bytes_received == 0
    assert not track.stream.receive_rtx(track.sender.rtx(frame[0]), SETTLED + 0.2), "one that was there is"
    assert track.stream.stats(SETTLED).unneeded_bytes_received > len(frame[0].data) // 2


def test_a_packet_sent_again_on_the_same_ssrc_will_do_too() -> None:
    track = started()
    frame = track.vp8(1)
    track.receive([frame[0], frame[2]], SETTLED)
    track.poll(SETTLED + 0.03)
    output = track.receive([frame[1]], SETTLED + 0.1)
    assert bodies(output.frames) == [1]
    stats = track.stream.stats(SETTLED + 0.1)
    assert (stats.packets_lost, stats.packets_recovered, stats.retransmitted_packets_received) == (0, 1, 0)
    assert stats.packets_recovered_by_rtx == 0


def test_what_is_missing_around_a_reordered_start_is_asked_for() -> None:
    track = Track()
    frame = track.vp8(0, keyframe=True, size=500)
    track.receive([frame[4], frame[0], frame[2]], START)
    assert track.poll(START + 0.03).nacks == (frame[1].sequence_number, frame[3].sequence_number)
    output = track.receive([frame[1], frame[3]], START + 0.2)
    assert bodies(output.frames) == [0]


def test_rtx_that_nobody_asked_for_does_no_harm() -> None:
    track = Track()
    frame = track.vp8(0, keyframe=True)
    track.stream.receive_rtx(track.sender.rtx(frame[0]), START)
    track.receive(frame, START)
    track.poll(SETTLED)
    padding = RtpPacket.build(
        payload_type=RTX_PAYLOAD_TYPE, sequence_number=1, timestamp=0, ssrc=2, payload=b"", padding_bytes=255
    )
    unknown = RtpPacket.build(payload_type=99, sequence_number=1, timestamp=0, ssrc=2, payload=b"\x00\x00abc")
    later = track.vp8(1)
    for packet in (padding, unknown, track.sender.rtx(frame[1]), track.sender.rtx(later[1])):
        assert not track.stream.receive_rtx(packet, SETTLED)
    assert track.receive(later, SETTLED).nacks == ()
    assert bodies(track.frames) == [0, 1]
    stats = track.stream.stats(SETTLED)
    assert stats.padding_packets_received == 1
    assert stats.packets_duplicated == 1
    assert stats.packets_discarded == 3
    assert stats.packets_lost == 0


def test_a_key_frame_is_asked_for_once_the_hole_is_given_up_and_not_before() -> None:
    track = started()
    frame = track.vp8(1)
    track.receive([frame[0], frame[2]], SETTLED)
    for index in range(2, 60):
        assert not track.receive(track.vp8(index), SETTLED + index / 30).request_keyframe
    output = track.receive(track.vp8(60), SETTLED + 2)
    assert output.request_keyframe
    assert bodies(output.frames) == list(range(2, 61))
    assert [frame.discontinuity for frame in output.frames[:2]] == [True, False]
    assert track.stream.stats(SETTLED + 2).frames_dropped == 1
    assert not track.receive(track.vp8(61), SETTLED + 2.9).request_keyframe
    assert track.receive(track.vp8(62), SETTLED + 3).request_keyframe
    track.receive(track.vp8(63, keyframe=True), SETTLED + 3.5)
    assert not track.receive(track.vp8(64), SETTLED + 9).request_keyframe


def test_padding_probes_leave_no_trace_in_the_frames() -> None:
    track = started()
    for index in range(1, 6):
        track.receive([*track.vp8(index), *(track.sender.padding(3000 * index) for _ in range(7))], SETTLED)
    assert bodies(track.frames) == [0, 1, 2, 3, 4, 5]
    assert not any(frame.discontinuity for frame in track.frames)
    stats = track.stream.stats(SETTLED)
    assert stats.padding_packets_received == 35
    assert stats.header_bytes_received == (18 + 35) * 12 + 35 * 255


def test_the_tiny_frames_of_a_closing_track_are_dropped() -> None:
    track = started()
    for index in range(1, 7):
        blank = vp8_frame(keyframe=True, size=40, width=8, height=8)
        output = track.receive(track.sender.vp8(blank, 3000 * index), SETTLED + index / 30)
        assert output == StreamOutput()
    assert track.stream.next_deadline(SETTLED + 1) is None
    assert track.stream.stats(SETTLED).blank_frames_dropped == 6
    assert track.stream.stats(SETTLED).frame_width == 640
    assert track.receive(track.vp8(8), SETTLED + 2).request_keyframe
    output = track.receive(track.vp8(9, keyframe=True), SETTLED + 2.2)
    assert [frame.discontinuity for frame in output.frames] == [True]


@pytest.mark.parametrize(("width", "height", "kept"), [(16, 16, False), (17, 16, True), (16, 17, True)])
def test_small_pictures_are_no_blank_ones(width: int, height: int, kept: bool) -> None:
    track = started()
    frame = vp8_frame(keyframe=True, width=width, height=height)
    output = track.receive(track.sender.vp8(frame, 3000), SETTLED)
    assert bool(output.frames) is kept


def test_after_blank_frames_a_key_frame_goes_on() -> None:
    track = started()
    blank = vp8_frame(keyframe=True, size=40, width=8, height=8)
    track.receive(track.sender.vp8(blank, 3000), SETTLED)
    output = track.receive(track.vp8(2, keyframe=True), SETTLED + 1)
    assert [frame.discontinuity for frame in output.frames] == [False]


def test_padding_before_the_first_frame_asks_for_nothing() -> None:
    track = Track()
    for index in range(30):
        padding = track.sender.padding(3000 * index)
        assert track.receive([padding], START + index / 30) == StreamOutput()
    key = track.vp8(31, keyframe=True)
    assert track.receive(key[:1], START + 1.1) == StreamOutput()
    output = track.receive(key[1:], START + 1.25)
    assert bodies(output.frames) == [31]
    assert not output.request_keyframe


def test_an_empty_payload_is_padding_for_video_and_a_frame_for_audio() -> None:
    video = started()
    video.receive([video.sender.packet(b"", 3000), *video.vp8(2)], SETTLED)
    assert bodies(video.frames) == [0, 2]
    assert video.stream.stats(SETTLED).padding_packets_received == 1
    audio = Track(AUDIO)
    sender = audio.sender
    audio.receive([sender.packet(b"\x78", 0), sender.packet(b"", 960), sender.padding(960)], START)
    audio.poll(SETTLED)
    assert [frame.data for frame in audio.frames] == [b"\x78", b""]
    assert audio.stream.stats(SETTLED).padding_packets_received == 1


def test_tiny_frames_can_be_kept() -> None:
    track = Track(InboundStreamConfig(codecs={VP8_PAYLOAD_TYPE: Codec.VP8}, drop_blank_frames=False))
    blank = vp8_frame(keyframe=True, size=40, width=8, height=8)
    track.receive(track.sender.vp8(blank, 0), START)
    track.poll(SETTLED)
    assert [(frame.width, frame.height) for frame in track.frames] == [(8, 8)]


def test_a_switch_of_layers_cuts_a_frame_and_needs_no_key_frame_request() -> None:
    """Seen live: the server breaks off the frame of the old layer and goes on with the new one's key frame."""
    track = started()
    cut = track.vp8(1)[:2]
    track.sender.sequence_number = cut[-1].sequence_number + 1
    key = track.sender.vp8(vp8_frame(keyframe=True, width=1280, height=720, seed=2), 3001, 100)
    assert track.receive([*cut, *key[:1]], SETTLED) == StreamOutput()
    output = track.receive(key[1:], SETTLED + 0.01)
    assert not output.request_keyframe
    assert [(frame.width, frame.discontinuity) for frame in output.frames] == [(1280, False)]
    stats = track.stream.stats(SETTLED + 1)
    assert (stats.frames_dropped, stats.pli_count) == (1, 0)


def test_a_cut_frame_without_a_key_frame_after_it_is_a_loss() -> None:
    track = started()
    cut = track.vp8(1)[:2]
    track.sender.sequence_number = cut[-1].sequence_number + 1
    output = track.receive([*cut, *track.vp8(2)], SETTLED)
    assert [frame.discontinuity for frame in output.frames] == [True]
    assert output.request_keyframe


def test_another_codec_starts_with_its_sync_sample() -> None:
    track = started()
    track.receive(track.vp8(1), SETTLED)
    units = encode_h264()
    track.sender.payload_type = H264_PAYLOAD_TYPE
    for index, unit in enumerate(units[1:8], start=2):
        payloads = h264_payloads(split_annex_b(unit))
        track.receive(track.sender.frame(payloads, 3000 * index), SETTLED + index / 30)
    codecs = [frame.codec for frame in track.frames]
    assert codecs == [Codec.VP8] * 2 + [Codec.H264] * 2
    switched = track.frames[2]
    assert switched.discontinuity
    assert switched.sync_sample
    assert (switched.width, switched.height) == (318, 238)
    assert track.stream.stats(SETTLED).frames_dropped == 5


def test_another_codec_that_starts_with_a_sync_sample_is_a_discontinuity() -> None:
    track = started()
    track.sender.payload_type = H264_PAYLOAD_TYPE
    payloads = h264_payloads(split_annex_b(encode_h264()[0]))
    output = track.receive(track.sender.frame(payloads, 3000), SETTLED)
    assert [(frame.codec, frame.discontinuity) for frame in output.frames] == [(Codec.H264, True)]


def test_a_frame_of_two_payload_types_is_dropped() -> None:
    track = started()
    first = track.vp8(1)[0]
    track.sender.sequence_number = first.sequence_number + 1
    track.sender.payload_type = H264_PAYLOAD_TYPE
    other = track.sender.packet(b"\x41\xe0ab", 3000, marker=True)
    output = track.receive([first, other], SETTLED)
    assert output.frames == ()
    assert track.stream.stats(SETTLED).frames_dropped == 1


def test_unknown_payload_types_take_their_numbers() -> None:
    track = started()
    track.sender.payload_type = 13
    noise = track.sender.packet(b"comfort noise", 0)
    track.sender.payload_type = VP8_PAYLOAD_TYPE
    output = track.receive([noise, *track.vp8(1)], SETTLED)
    assert bodies(output.frames) == [1]
    assert not output.frames[0].discontinuity
    assert track.stream.stats(SETTLED).packets_discarded == 1


@pytest.mark.parametrize("jump", [20_000, -20_000, 3002])
def test_a_sender_that_counts_anew_goes_on(jump: int) -> None:
    track = started()
    hole = track.vp8(1)
    track.receive(hole[1:], SETTLED)
    track.receive(track.vp8(2), SETTLED)
    track.sender.sequence_number = (track.sender.sequence_number + jump) & 0xFFFF
    for index in range(3, 9):
        track.receive(track.vp8(index), SETTLED + index / 30)
    assert bodies(track.frames) == [0, 2, 3, 4, 5, 6, 7, 8]
    assert [frame.discontinuity for frame in track.frames[1:4]] == [True, True, False]
    stats = track.stream.stats(SETTLED + 1)
    assert stats.packets_lost == 1
    block = track.stream.report_block(SETTLED + 1)
    assert block is not None
    assert block.highest_sequence & 0xFFFF == (track.sender.sequence_number - 1) & 0xFFFF


def test_a_jump_whose_packets_are_reordered_is_a_jump_too() -> None:
    track = started()
    track.sender.sequence_number = 30_000
    first, second = track.vp8(1), track.vp8(2)
    track.receive([first[1], first[0], first[2], *second], SETTLED)
    track.poll(SETTLED + 0.2)
    assert bodies(track.frames) == [0, 1, 2]
    assert track.stream.stats(SETTLED).packets_lost == 0


def test_what_is_missing_after_a_jump_is_asked_for() -> None:
    track = started()
    track.sender.sequence_number = 30_000
    frame = track.vp8(1, keyframe=True, size=500)
    track.receive([frame[3], frame[2], frame[0], frame[4]], SETTLED)
    assert track.poll(SETTLED + 0.03).nacks == (frame[1].sequence_number,)
    track.receive([frame[1]], SETTLED + 0.05)
    track.poll(SETTLED + 0.2)
    assert bodies(track.frames) == [0, 1]


def test_a_held_packet_of_another_ssrc_confirms_nothing() -> None:
    track = started()
    stray = RtpPacket.build(
        payload_type=VP8_PAYLOAD_TYPE, sequence_number=40_000, timestamp=1, ssrc=SSRC, payload=b"\x10stray"
    )
    track.receive([stray], SETTLED)
    track.stream.reset(SETTLED)
    track.sender = Sender(ssrc=99, sequence_number=5)
    track.receive(track.vp8(1, keyframe=True), SETTLED)
    near = RtpPacket.build(
        payload_type=VP8_PAYLOAD_TYPE, sequence_number=40_001, timestamp=1, ssrc=99, payload=b"\x10stray"
    )
    track.receive([near], SETTLED)
    track.receive(track.vp8(2), SETTLED)
    track.poll(SETTLED + 0.2)
    assert bodies(track.frames) == [0, 1, 2]


def test_a_single_stray_packet_changes_nothing() -> None:
    track = started()
    stray = RtpPacket.build(
        payload_type=VP8_PAYLOAD_TYPE, sequence_number=40_000, timestamp=1, ssrc=SSRC, payload=b"\x10stray"
    )
    track.receive([stray], SETTLED)
    track.receive(track.vp8(1), SETTLED)
    track.receive([stray], SETTLED)
    track.receive(track.vp8(2), SETTLED)
    assert bodies(track.frames) == [0, 1, 2]
    assert not any(frame.discontinuity for frame in track.frames)
    assert track.stream.stats(SETTLED).packets_lost == 0


def test_a_leap_of_rtp_time_is_a_discontinuity_and_not_a_gap() -> None:
    track = started()
    for index in range(1, 4):
        packets = track.sender.vp8(vp8_frame(keyframe=False, seed=index), 3000 * index + 90_000 * 4000)
        track.receive(packets, START + index / 30 + 1)
    assert track.frames[1].discontinuity
    assert track.frames[1].rtp_timestamp == pytest.approx(90_000 * (1 + 1 / 30), abs=1)
    assert track.frames[2].rtp_timestamp - track.frames[1].rtp_timestamp == 3000
    assert not track.frames[2].discontinuity


def test_a_long_mute_is_a_gap_and_not_a_discontinuity() -> None:
    track = started()
    track.stream.note_pause()
    track.receive(track.vp8(30 * 60), START + 60)
    track.receive(track.vp8(30 * 60 + 1), START + 60.04)
    assert [frame.rtp_timestamp for frame in track.frames[1:]] == [90_000 * 60, 90_000 * 60 + 3000]
    assert not any(frame.discontinuity for frame in track.frames)
    stats = track.stream.stats(START + 61)
    assert (stats.freeze_count, stats.pause_count) == (0, 0)


def test_waiting_for_a_packet_that_comes_again_freezes_no_picture() -> None:
    track = started()
    for index in range(1, 40):
        track.receive(track.vp8(index), SETTLED + index / 30)
    (late, *others) = [track.vp8(index) for index in range(40, 60)]
    for index, packets in enumerate(others):
        track.receive(packets, SETTLED + (41 + index) / 30)
    track.receive(late, SETTLED + 2.0)
    stats = track.stream.stats(SETTLED + 2.0)
    assert len(track.frames) == 60
    assert (stats.freeze_count, stats.discontinuities) == (0, 0)


def test_what_is_lost_freezes_the_picture_for_as_long_as_it_is_missing() -> None:
    track = started()
    for index in range(1, 80):
        packets = track.vp8(index)
        if not 40 <= index < 52:
            track.receive(packets, SETTLED + index / 30)
    track.poll(SETTLED + 10)
    stats = track.stream.stats(SETTLED + 10)
    assert len(track.frames) == 80 - 12
    assert stats.freeze_count == 1
    assert stats.total_freezes_duration == pytest.approx(13 / 30, abs=0.001)


def test_another_ssrc_goes_on_where_the_first_one_ended() -> None:
    track = started()
    track.receive(track.vp8(1)[:2], SETTLED)
    track.receive(track.vp8(2), SETTLED)
    track.stream.reset(SETTLED + 0.5)
    track.sender = Sender(ssrc=99, sequence_number=5)
    track.receive(track.sender.vp8(vp8_frame(keyframe=False, seed=50), 4_000_000_000), SETTLED + 1)
    assert track.stream.ssrc == 99
    track.receive(track.sender.vp8(vp8_frame(keyframe=True, seed=51), 4_000_003_000), SETTLED + 1.1)
    track.receive(track.sender.vp8(vp8_frame(keyframe=False, seed=52), 4_000_006_000), SETTLED + 1.2)
    assert bodies(track.frames) == [0, 2, 51, 52]
    assert [frame.discontinuity for frame in track.frames] == [False, True, True, False]
    resumed = track.frames[2].rtp_timestamp - track.frames[1].rtp_timestamp
    assert resumed == pytest.approx(90_000 * 1 + 3000, abs=2)
    block = track.stream.report_block(SETTLED + 2)
    assert block is not None
    assert (block.ssrc, block.highest_sequence & 0xFFFF) == (99, 7)


def test_a_malformed_frame_is_dropped_and_a_key_frame_asked_for() -> None:
    track = started()
    output = track.receive(track.sender.frame([b"\x10"], 3000), SETTLED)
    assert output.frames == ()
    assert output.request_keyframe
    output = track.receive(track.vp8(2), SETTLED)
    assert [frame.discontinuity for frame in output.frames] == [True]
    assert track.stream.stats(SETTLED).frames_dropped == 1


def test_audio_comes_out_packet_by_packet_with_its_dtx_gaps() -> None:
    track = Track(AUDIO)
    packets = [track.sender.packet(b"\x78talk", 960 * index) for index in range(3)]
    packets.append(track.sender.packet(b"\x78", 960 * 3))
    packets.append(track.sender.packet(b"\x78talk", 960 * 23))
    track.receive(packets, START)
    track.poll(SETTLED)
    assert [frame.rtp_timestamp for frame in track.frames] == [0, 960, 1920, 2880, 960 * 23]
    assert track.frames[3].data == b"\x78"
    assert all(frame.sync_sample and frame.codec is Codec.OPUS for frame in track.frames)
    assert not any(frame.discontinuity for frame in track.frames)
    assert not track.poll(START + 10).request_keyframe
    assert track.stream.stats(START).freeze_count == 0


def test_without_nack_a_hole_waits_for_reordering_only() -> None:
    track = Track(InboundStreamConfig(codecs={OPUS_PAYLOAD_TYPE: Codec.OPUS}, nack=False))
    packets = [track.sender.packet(b"\x78" + bytes((index,)), 960 * index) for index in range(4)]
    track.receive(packets[:1], START)
    track.poll(SETTLED)
    output = track.receive(packets[2:], SETTLED)
    assert output == StreamOutput()
    assert track.stream.next_deadline(SETTLED) == pytest.approx(SETTLED + 0.1)
    output = track.poll(SETTLED + 0.1)
    assert [frame.data[1] for frame in output.frames] == [2, 3]
    assert output.frames[0].discontinuity
    assert track.stream.stats(SETTLED).nack_count == 0


def report(track: Track, at: float, rtp_timestamp: int) -> SenderReport:
    ntp_timestamp = unix_to_ntp(at)
    return SenderReport(SSRC, ntp_timestamp, at, rtp_timestamp & 0xFFFF_FFFF, 0, 0)


def test_sender_reports_place_the_track_on_the_clock() -> None:
    track = Track(AUDIO)
    assert track.stream.clock_mapping(START) is None
    assert track.stream.report_block(START) is None
    base = 2**32 - 48_000
    for index in range(400):
        at = START + index / 50
        packet = track.sender.packet(b"\x78", base + 960 * index)
        track.receive([packet], at + 0.03)
        if index % 50 == 25:
            sent = report(track, at - 100, base + 960 * index)
            track.stream.handle_sender_report(sent, at + 0.03)
    mapping = track.stream.clock_mapping(START + 8)
    assert mapping is not None
    assert mapping.source is ClockSource.SENDER_REPORT
    assert mapping.unix_time(base, 48_000) == pytest.approx(START + 0.03, abs=0.006)
    assert mapping.unix_time(track.frames[-1].rtp_timestamp, 48_000) == pytest.approx(
        track.frames[-1].arrival_time, abs=0.006
    )
    block = track.stream.report_block(START + 9)
    assert block is not None
    assert block.lsr == sent.ntp_timestamp >> 16 & 0xFFFF_FFFF


def test_capture_times_are_read_from_the_header_extension() -> None:
    config = InboundStreamConfig(codecs={OPUS_PAYLOAD_TYPE: Codec.OPUS}, abs_capture_time_id=5)
    stream = InboundStream(config)
    for index in range(300):
        captured = START + index / 50
        sender_time = captured - 100
        if index // 50 % 2:
            # The capture system's clock is half a second behind the sender's.
            offset = (-(1 << 31)).to_bytes(8, "big", signed=True)
            value = unix_to_ntp(sender_time - 0.5).to_bytes(8, "big") + offset
        else:
            value = unix_to_ntp(sender_time).to_bytes(8, "big")
        packet = RtpPacket.build(
            payload_type=OPUS_PAYLOAD_TYPE,
            sequence_number=index,
            timestamp=960 * index,
            ssrc=SSRC,
            payload=b"\x78",
            extensions=((5, b"short" if index == 0 else value),),
        )
        stream.receive(packet, captured + 0.04)
        stream.poll(captured + 0.04)
    mapping = stream.clock_mapping(START + 6)
    assert mapping is not None
    assert mapping.source is ClockSource.ABS_CAPTURE_TIME
    assert mapping.uncertainty_ms < 1
    assert mapping.unix_time(960 * 300, 48_000) == pytest.approx(START + 6.04, abs=0.006)


def test_the_end_of_a_track_hands_out_what_is_whole() -> None:
    track = started()
    hole = track.vp8(1)
    track.receive(hole[1:], SETTLED)
    track.receive(track.vp8(2), SETTLED)
    track.receive(track.vp8(3)[:2], SETTLED)
    assert bodies(track.stream.flush(SETTLED).frames) == [2]
    assert track.stream.next_deadline(SETTLED) is None or track.stream.stats(SETTLED).frames_dropped == 2


def test_the_deadline_is_never_in_the_past() -> None:
    track = started()
    track.receive(track.vp8(1)[1:], SETTLED)
    assert track.stream.next_deadline(SETTLED + 5) == SETTLED + 5


def test_stats_tell_the_delay_in_the_buffer() -> None:
    track = started()
    frame = track.vp8(1)
    track.receive([frame[0], frame[2]], SETTLED)
    track.receive([frame[1]], SETTLED + 0.5)
    stats = track.stream.stats(SETTLED + 1)
    assert stats.timestamp == SETTLED + 1
    assert stats.jitter_buffer_emitted_count == 2
    assert stats.jitter_buffer_delay == pytest.approx(0.11 + 0.5)
    assert stats.last_packet_received_timestamp == SETTLED + 0.5
    assert (stats.frame_width, stats.frame_height) == (640, 360)
    assert stats.jitter_buffer_packets == 0


def test_audio_and_video_do_not_mix_in_a_track() -> None:
    with pytest.raises(UnsupportedCodec):
        InboundStreamConfig(codecs={96: Codec.VP8, 111: Codec.OPUS})
    with pytest.raises(UnsupportedCodec):
        InboundStreamConfig(codecs={})
    assert (VIDEO.kind, VIDEO.clock_rate) == (MediaKind.VIDEO, 90_000)
    assert (AUDIO.kind, AUDIO.clock_rate) == (MediaKind.AUDIO, 48_000)
