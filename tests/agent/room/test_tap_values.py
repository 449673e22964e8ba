"""What the tap counts and is told, as the quality package takes it."""

from dataclasses import replace

from agent.room.tap_values import tap_inbound_rtp, video_layers
from media.frames import Codec, MediaKind
from media.rtp.inbound_config import InboundStreamConfig
from media.rtp.inbound_stream import InboundStream
from media.rtp.minimum_offset import NtpOffset
from media.rtp.packet import RtpPacket
from media.rtp.rtcp import SenderReport
from media.tap.events import LayerQuality, RemoteTrack, VideoLayer
from quality import stats as quality_stats
from quality.stats import VideoQuality

START = 1_700_000_000.0
TRACK = RemoteTrack(
    sid="TR_1",
    name="camera",
    kind=MediaKind.VIDEO,
    source="camera",
    mime_type="video/VP8",
    muted=False,
    simulcasted=True,
    encrypted=False,
    layers=(VideoLayer(LayerQuality.LOW, 320, 180, 150_000), VideoLayer(LayerQuality.HIGH, 1280, 720, 1_700_000)),
)


def test_sender_reports_and_key_frames_are_counted_and_what_is_not_known_is_none() -> None:
    stream = InboundStream(InboundStreamConfig({96: Codec.VP8}), NtpOffset(), None)
    report = SenderReport(1, 0, 0.0, 0, 1, 1)
    for second in range(3):
        stream.handle_sender_report(report, START + second)
    counted = replace(stream.stats(START + 3), key_frames_received=4, frames_received=9, jitter_buffer_emitted_count=8)
    told = tap_inbound_rtp(counted, TRACK)
    assert (told.reports_sent, told.key_frames_decoded) == (3, 4)
    assert (told.frames_received, told.frames_decoded) == (9, 8), "what waits for a key frame, or a key, is no picture"
    assert (told.round_trip_time, told.audio_level) == (None, None)


def test_sound_that_is_lost_for_good_is_what_a_player_conceals() -> None:
    stream = InboundStream(InboundStreamConfig({96: Codec.OPUS}), NtpOffset(), None)
    counted = replace(
        stream.stats(START),
        packets_received=100,
        padding_packets_received=7,
        packets_duplicated=5,
        packets_lost=15,
        packets_given_up=10,
        packets_recovered_by_rtx=3,
        packets_repaired=2,
    )
    sound, picture = tap_inbound_rtp(counted, replace(TRACK, kind=MediaKind.AUDIO)), tap_inbound_rtp(counted, TRACK)
    assert (sound.packets_received, sound.packets_lost, sound.packets_repaired) == (90, 10, 5)
    assert sound.concealed_samples / sound.total_samples_received == 0.1
    assert (picture.concealed_samples, picture.total_samples_received) == (0, 0)


def test_what_is_asked_for_twice_and_comes_twice_mends_no_other_loss() -> None:
    """Sound has no retransmission stream: what is asked for comes again under its own number."""
    stream = InboundStream(InboundStreamConfig({111: Codec.OPUS}), NtpOffset(), None)
    now, lost, missing = START, range(20, 200, 10), range(300, 309)
    for number in range(400):
        now += 0.02
        if number in missing:
            continue
        if number not in lost:
            stream.receive(opus(number), now)
        for again in (number - 8, number - 5):
            if again in lost:
                stream.receive(opus(again), now)
        stream.poll(now)
    stream.poll(now + 3)
    counted = stream.stats(now + 3)
    assert (counted.packets_lost, counted.packets_duplicated) == (len(missing) - len(lost), len(lost))
    told = tap_inbound_rtp(counted, replace(TRACK, kind=MediaKind.AUDIO))
    assert (told.packets_received, told.packets_lost) == (400 - len(missing), len(missing))


def opus(number: int) -> RtpPacket:
    return RtpPacket.build(
        payload_type=111, sequence_number=number, timestamp=number * 960, ssrc=7, payload=b"\xf8" + bytes(40)
    )


def test_freezes_and_pauses_are_told_apart() -> None:
    stream = InboundStream(InboundStreamConfig({96: Codec.VP8}), NtpOffset(), None)
    counted = replace(
        stream.stats(START), freeze_count=1, total_freezes_duration=2.0, pause_count=3, total_pauses_duration=60.0
    )
    told = tap_inbound_rtp(counted, TRACK)
    assert (told.freeze_count, told.total_freezes_duration) == (1, 2.0)
    assert (told.pause_count, told.total_pauses_duration) == (3, 60.0)


def test_frames_that_came_incomplete_were_not_dropped_for_want_of_time() -> None:
    stream = InboundStream(InboundStreamConfig({96: Codec.VP8}), NtpOffset(), None)
    assert tap_inbound_rtp(replace(stream.stats(START), frames_dropped=9), TRACK).frames_dropped == 0


def test_bytes_that_only_probed_the_way_are_not_the_tracks() -> None:
    stream = InboundStream(InboundStreamConfig({96: Codec.VP8}), NtpOffset(), None)
    counted = replace(stream.stats(START), bytes_received=5000, unneeded_bytes_received=2000)
    assert tap_inbound_rtp(counted, TRACK).bytes_received == 3000


def test_layers_are_those_of_simulcast_only() -> None:
    assert video_layers(TRACK) == (
        quality_stats.VideoLayer(VideoQuality.LOW, 320, 180),
        quality_stats.VideoLayer(VideoQuality.HIGH, 1280, 720),
    )
    assert video_layers(replace(TRACK, simulcasted=False)) == ()
