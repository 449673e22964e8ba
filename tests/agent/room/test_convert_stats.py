"""The SDK's statistics as quality.stats."""

from typing import Any

from livekit import rtc
from livekit.rtc._proto import stats_pb2 as proto_stats

from agent.room.convert_stats import (
    SelectedPair,
    encoded,
    inbound_by_track,
    outbound_by_source,
    path_of,
    selected_pair,
    track_identifier,
)
from quality.pre_encoded import Encoded
from quality.stats import QualityLimitationReason


def entry(**fields: dict[str, Any]) -> proto_stats.RtcStats:
    """One entry; only what is given is set, as `required` fields are not checked before sending."""
    stats = proto_stats.RtcStats()
    (kind, groups), *_ = fields.items()
    for group, values in groups.items():
        for name, value in values.items():
            setattr(getattr(getattr(stats, kind), group), name, value)
    return stats


def test_inbound_streams_are_found_on_either_connection_with_their_sender_reports() -> None:
    video = entry(
        inbound_rtp={
            "rtc": {"id": "IV"},
            "stream": {"kind": "video", "ssrc": 5},
            "received": {"packets_received": 10, "packets_lost": -1, "jitter": 0.5},
            "inbound": {
                "track_identifier": "a",
                "frames_decoded": 3,
                "frame_width": 320,
                "remote_id": "RV",
                "frames_assembled_from_multiple_packets": 2,
                "total_assembly_time": 0.25,
                "pause_count": 1,
                "total_pause_duration": 7.5,
            },
        }
    )
    audio = entry(inbound_rtp={"stream": {"kind": "audio"}, "inbound": {"track_identifier": "b"}})
    report = entry(remote_outbound_rtp={"rtc": {"id": "RV"}, "remote_outbound": {"reports_sent": 4}})
    streams = inbound_by_track(rtc.RtcStats(publisher_stats=[video, report], subscriber_stats=[audio]))
    assert set(streams) == {"a", "b"}
    seen = streams["a"]
    assert (seen.ssrc, seen.packets_received, seen.packets_lost, seen.jitter) == (5, 10, -1, 0.5)
    assert (seen.frames_decoded, seen.frame_width, seen.reports_sent) == (3, 320, 4)
    assert (seen.frames_assembled_from_multiple_packets, seen.total_assembly_time) == (2, 0.25)
    assert (seen.pause_count, seen.total_pauses_duration) == (1, 7.5)
    assert streams["b"].frames_decoded is None
    assert streams["b"].reports_sent is None


def test_layers_of_one_source_are_together_with_what_the_receiver_reported() -> None:
    layers = [
        entry(
            outbound_rtp={
                "rtc": {"id": f"O{rid}"},
                "stream": {"codec_id": "COT"},
                "sent": {"packets_sent": packets},
                "outbound": {
                    "rid": rid,
                    "media_source_id": "SV",
                    "quality_limitation_reason": proto_stats.QualityLimitationReason.LIMITATION_CPU,
                },
            }
        )
        for rid, packets in (("q", 1), ("f", 3), ("h", 2))
    ]
    source = entry(media_source={"rtc": {"id": "SV"}, "source": {"track_identifier": "local"}})
    report = entry(
        remote_inbound_rtp={
            "received": {"packets_lost": 9},
            "remote_inbound": {"local_id": "Oh", "round_trip_time": 0.25},
        }
    )
    stray = entry(outbound_rtp={"outbound": {"media_source_id": "gone"}})
    codec = entry(codec={"rtc": {"id": "COT"}, "codec": {"mime_type": "video/VP8"}})
    entries = [*layers, source, report, stray, codec]
    streams = outbound_by_source(rtc.RtcStats(publisher_stats=entries, subscriber_stats=[]))
    assert set(streams) == {"local"}
    assert [(each.rid, each.packets_sent) for each in streams["local"]] == [("f", 3), ("h", 2), ("q", 1)]
    assert [each.packets_lost for each in streams["local"]] == [None, 9, None]
    assert streams["local"][1].round_trip_time == 0.25
    assert {each.quality_limitation_reason for each in streams["local"]} == {QualityLimitationReason.CPU}
    assert {each.mime_type for each in streams["local"]} == {"video/VP8"}


def test_frames_of_all_layers_are_counted_as_encoded() -> None:
    layers = [
        entry(outbound_rtp={"outbound": {"frames_encoded": frames, "key_frames_encoded": keys}})
        for frames, keys in ((100, 3), (20, 1))
    ]
    assert encoded([entry(media_source={"rtc": {"id": "SV"}}), *layers]) == Encoded(120, 4)


def test_a_track_is_known_by_its_source_or_by_what_it_receives() -> None:
    assert track_identifier([entry(media_source={"source": {"track_identifier": "x"}})]) == "x"
    assert (
        track_identifier([entry(codec={"rtc": {"id": "c"}}), entry(inbound_rtp={"inbound": {"track_identifier": "y"}})])
        == "y"
    )
    assert track_identifier([]) is None


def test_the_nominated_pair_tells_the_way_and_absent_values_are_none() -> None:
    pair = {"nominated": True, "available_outgoing_bitrate": 3e6, "current_round_trip_time": 0.04}
    spare = {"nominated": False, "available_outgoing_bitrate": 9e6, "available_incoming_bitrate": 9e6}
    entries = [entry(candidate_pair={"candidate_pair": values}) for values in (pair, spare)]
    path = path_of(rtc.RtcStats(publisher_stats=entries, subscriber_stats=[]))
    assert (path.incoming_bps, path.outgoing_bps, path.round_trip_time) == (None, 3e6, 0.04)
    assert path_of(rtc.RtcStats(publisher_stats=[], subscriber_stats=[])).round_trip_time is None


def test_the_pair_in_use_is_the_transport_s() -> None:
    pairs = [
        entry(candidate_pair={"rtc": {"id": name}, "candidate_pair": {"responses_received": count}})
        for name, count in (("CPold", 9), ("CPnew", 3))
    ]
    transport = entry(transport={"transport": {"selected_candidate_pair_id": "CPnew"}})
    told = rtc.RtcStats(publisher_stats=[*pairs, transport], subscriber_stats=[])
    assert selected_pair(told) == SelectedPair("CPnew", 3)
    assert selected_pair(rtc.RtcStats(publisher_stats=pairs, subscriber_stats=[])) is None


def test_levels_are_of_sound_and_received_streams_have_the_way_s_round_trip() -> None:
    pair = entry(candidate_pair={"candidate_pair": {"nominated": True, "current_round_trip_time": 0.03}})
    video = entry(inbound_rtp={"stream": {"kind": "video"}, "inbound": {"track_identifier": "v"}})
    audio = entry(inbound_rtp={"stream": {"kind": "audio"}, "inbound": {"track_identifier": "a", "audio_level": 0.5}})
    source = entry(media_source={"rtc": {"id": "S"}, "source": {"kind": "audio"}, "audio": {"audio_level": 0.25}})
    sent = entry(outbound_rtp={"rtc": {"id": "O"}, "outbound": {"media_source_id": "S"}})
    stats = rtc.RtcStats(publisher_stats=[pair, source, sent], subscriber_stats=[video, audio])
    received = inbound_by_track(stats)
    assert (received["v"].audio_level, received["a"].audio_level) == (None, 0.5)
    assert received["a"].round_trip_time == 0.03
    ((stream,),) = outbound_by_source(stats).values()
    assert stream.audio_level == 0.25
