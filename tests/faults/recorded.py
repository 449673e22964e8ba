"""What of a recording can be held against the truth: RTP timestamps of its samples, and the numbers in its pictures."""

import bisect
import io
import itertools
from dataclasses import dataclass
from typing import Any, cast

import av

from media.frames import MediaKind
from media.record.muxer import muxer_for
from media.record.reader import RecordingView, TrackView
from media.sources.pattern import read_frame_number
from tests.faults.observer import RTP_MODULUS
from tests.media.record.encoded_media import decoded_audio_samples, files_by_init


@dataclass(frozen=True, slots=True)
class Picture:
    """A recorded video frame. `decode_time` is in ticks, `number` the one it shows (None: unreadable)."""

    decode_time: int
    number: int | None


def decode_times(view: RecordingView, track: TrackView) -> list[int]:
    """Of all samples of a track, in ticks."""
    found: list[int] = []
    for segment in track.segments:
        init = track.init_of(segment)
        scan = muxer_for(init.codec, init.container).scan(view.file_of(segment).read_bytes())
        assert len(scan.samples) == segment.samples
        found += [sample.decode_time for sample in scan.samples]
    return found


def rtp_timestamps(view: RecordingView, track: TrackView) -> list[int]:
    """Of all samples of a track, modulo 2**32; off by a millisecond where the file format rounds to that."""
    anchors = sorted(track.rtp_anchors, key=lambda item: item.decode_time)
    found: list[int] = []
    for decode_time in decode_times(view, track):
        slack = track.timescale // 1000
        anchor = [item for item in anchors if item.decode_time <= decode_time + slack][-1]
        found.append((anchor.rtp_timestamp + decode_time - anchor.decode_time) % RTP_MODULUS)
    return found


def behind_s(earlier: int, later: int, clock_rate: int) -> float:
    """By how much the RTP timestamp `earlier` is before `later`, in seconds; negative when it is not."""
    ticks = (later - earlier) % RTP_MODULUS
    return (ticks - RTP_MODULUS if ticks >= RTP_MODULUS // 2 else ticks) / clock_rate


def unmatched(wanted: list[int], found: list[int], tolerance: int) -> list[int]:
    """The RTP timestamps of `wanted` that nothing in `found` is within `tolerance` ticks of."""
    there = sorted(found)

    def near(stamp: int) -> bool:
        index = bisect.bisect_left(there, stamp - tolerance)
        return index < len(there) and there[index] <= stamp + tolerance

    return [stamp for stamp in wanted if not near(stamp)]


def pictures(view: RecordingView, track: TrackView) -> list[Picture]:
    """All pictures of a video track, decoded: every sample gives one, or this fails."""
    found: list[Picture] = []
    for data in files_by_init(view, track):
        with av.open(io.BytesIO(data), "r") as container:
            for frame in container.decode(video=0):
                ticks = round(cast("int", frame.pts) * cast("float", frame.time_base) * track.timescale)
                plane = cast("Any", frame.to_ndarray(format="gray"))
                found.append(Picture(ticks, read_frame_number(plane)))
    assert len(found) == track.samples, f"{track.samples - len(found)} samples of track {track.number} do not decode"
    return found


def check_all_decodes(view: RecordingView) -> None:
    """Every segment of every track decodes, and nothing in it goes back in time."""
    for track in view.tracks:
        if track.descriptor.kind is MediaKind.VIDEO:
            pictures(view, track)
        else:
            assert sum(map(decoded_audio_samples, files_by_init(view, track))) >= track.samples * 480
        times = decode_times(view, track)
        assert all(one < two for one, two in itertools.pairwise(times))
