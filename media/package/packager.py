"""Packs one participant's audio and video as HLS with fMP4 segments; video but VP8 and Opus go in as recorded."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from media.package.hls import (
    AudioRendition,
    MediaPlaylist,
    MediaSegment,
    MultivariantPlaylist,
    Variant,
    peak_bandwidth_bps,
)
from media.process.output import ExportOutput, JsonObject, OutputFile, to_json
from media.process.streams import OutputStream, ProgramReader, TimedSample
from media.process.timeline import Program, program_from_json
from media.record.entries import JsonValue
from media.record.fmp4 import media_part, segment_head
from media.record.reader import RecordingView, read_recording
from media.record.sample import Sample

ENTRY_NAME = "index.m3u8"

# A segment is cut at the first sync sample from here on: short enough to start and seek quickly,
# long enough to keep requests few (Apple recommends 6 s, transcoded video has a key frame every 4 s).
SEGMENT_S = 4.0


@dataclass(frozen=True, slots=True)
class _Packed:
    """One written segment. Times in seconds from the output's zero."""

    name: str
    map_name: str
    start_s: float
    duration_s: float
    size_bytes: int
    samples: int
    discontinuity: bool


@dataclass(frozen=True, slots=True)
class _Rendition:
    """A written rendition: its playlist, what the multivariant playlist says about it, and its files in order."""

    playlist_name: str
    segments: tuple[_Packed, ...]
    codecs: tuple[str, ...]
    map_names: tuple[str, ...]

    @property
    def target_duration_s(self) -> float:
        return max(segment.duration_s for segment in self.segments)

    def peak_bps(self) -> int:
        sizes = [segment.size_bytes for segment in self.segments]
        return peak_bandwidth_bps(sizes, [s.duration_s for s in self.segments], self.target_duration_s)

    def average_bps(self) -> int:
        total_s = sum(segment.duration_s for segment in self.segments)
        return math.ceil(8 * sum(segment.size_bytes for segment in self.segments) / max(total_s, 0.001))

    def frame_rate(self) -> float:
        return max(segment.samples / segment.duration_s for segment in self.segments)

    def files(self) -> tuple[str, ...]:
        return (*self.map_names, *(segment.name for segment in self.segments), self.playlist_name)


def package_hls(
    view: RecordingView, program: Program, directory: Path, on_progress: Callable[[float], None]
) -> ExportOutput:
    """Write an HLS presentation into `directory / program.stem` and say what it must hold. It is not verified yet.

    All renditions share one timeline that starts at 0, and end together. A new picture size is a discontinuity
    with an init segment of its own, in the audio too. Raises RecordingDamaged, UnsupportedCodec, OSError.
    """
    folder = directory / program.stem
    folder.mkdir()
    reader = ProgramReader(view, program, on_progress)
    video, audio = reader.video(for_segments=True), reader.audio(for_segments=True)
    started_at = view.started_at + reader.origin_s
    packed_video = _write_rendition(video, folder, started_at, ()) if video else None
    cuts = [s.start_s for s in packed_video.segments if s.discontinuity] if packed_video else []
    packed_audio = _write_rendition(audio, folder, started_at, cuts) if audio else None
    (folder / ENTRY_NAME).write_text(_multivariant(video, packed_video, packed_audio).render())
    names = [name for packed in (packed_video, packed_audio) if packed for name in packed.files()]
    return ExportOutput(
        participant_identity=program.participant_identity,
        source=program.source,
        format="hls",
        entry=f"{program.stem}/{ENTRY_NAME}",
        start_media_time_s=reader.origin_s,
        duration_s=reader.end_s - reader.origin_s,
        tracks=tuple(stream.report() for stream in (video, audio) if stream),
        files=tuple(OutputFile(f"{program.stem}/{name}", 0, "") for name in (*names, ENTRY_NAME)),
        checks=(),
    )


def cut_segments(
    samples: Iterator[TimedSample], timescale: int, forced_cuts_s: Sequence[float]
) -> Iterator[tuple[list[TimedSample], bool]]:
    """The samples in segments of at least SEGMENT_S that start with sync samples, each with its discontinuity flag.

    A discontinuity is where the init segment changes, and at each of `forced_cuts_s` (rising, seconds).
    """
    segment: list[TimedSample] = []
    discontinuity = False
    forced = iter(forced_cuts_s)
    next_forced_s = next(forced, math.inf)
    for sample in samples:
        time_s = sample.time / timescale
        is_forced = time_s >= next_forced_s
        while time_s >= next_forced_s:
            next_forced_s = next(forced, math.inf)
        if segment and sample.sync:
            changed = is_forced or sample.init != segment[-1].init
            if changed or sample.time - segment[0].time >= SEGMENT_S * timescale:
                yield segment, discontinuity
                segment, discontinuity = [], changed
        segment.append(sample)
    if segment:
        yield segment, discontinuity


def _write_rendition(
    stream: OutputStream, folder: Path, started_at: float, forced_cuts_s: Sequence[float]
) -> _Rendition:
    name = stream.kind.value
    map_names = [f"{name}-init-{index}.mp4" for index in range(len(stream.inits))]
    for map_name, init in zip(map_names, stream.inits, strict=True):
        (folder / map_name).write_bytes(init.init_segment)
    packed: list[_Packed] = []
    for samples, discontinuity in cut_segments(stream.samples, stream.timescale, forced_cuts_s):
        sequence, map_name = len(packed) + 1, map_names[samples[0].init]
        parts = [Sample(item.data, item.time, item.duration, item.sync) for item in samples]
        data = segment_head(b"") + media_part(stream.codec, sequence, parts)
        segment_name = f"{name}-{sequence:06d}.m4s"
        (folder / segment_name).write_bytes(data)
        start = samples[0].time / stream.timescale
        end = (samples[-1].time + samples[-1].duration) / stream.timescale
        packed.append(_Packed(segment_name, map_name, start, end - start, len(data), len(samples), discontinuity))
    rendition = _Rendition(
        f"{name}.m3u8",
        tuple(packed),
        tuple(dict.fromkeys(init.codec_string for init in stream.inits)),
        tuple(map_names),
    )
    (folder / rendition.playlist_name).write_text(_media_playlist(rendition, started_at).render())
    return rendition


def _media_playlist(rendition: _Rendition, started_at: float) -> MediaPlaylist:
    return MediaPlaylist(
        tuple(
            MediaSegment(
                uri=segment.name,
                duration_s=segment.duration_s,
                map_uri=segment.map_name,
                discontinuity=segment.discontinuity,
                program_date_time=started_at + segment.start_s if segment.discontinuity or index == 0 else None,
            )
            for index, segment in enumerate(rendition.segments)
        )
    )


def _multivariant(
    stream: OutputStream | None, video: _Rendition | None, audio: _Rendition | None
) -> MultivariantPlaylist:
    renditions = [rendition for rendition in (video, audio) if rendition]
    main = renditions[0]
    variant = Variant(
        uri=main.playlist_name,
        bandwidth_bps=sum(rendition.peak_bps() for rendition in renditions),
        average_bandwidth_bps=sum(rendition.average_bps() for rendition in renditions),
        codecs=tuple(codec for rendition in renditions for codec in rendition.codecs),
        width=max(init.width for init in stream.inits) if stream else 0,
        height=max(init.height for init in stream.inits) if stream else 0,
        frame_rate=main.frame_rate() if video else 0.0,
        audio_group="audio" if video and audio else "",
    )
    group = (AudioRendition(audio.playlist_name, "Audio"),) if video and audio else ()
    return MultivariantPlaylist((variant,), group)


def run_task(request: dict[str, JsonValue], on_progress: Callable[[float], None]) -> JsonObject:
    """The task "hls" of `media.process.child`: recording_path, program, directory in, an ExportOutput out."""
    view = read_recording(Path(str(request["recording_path"])))
    program = program_from_json(cast(JsonObject, request["program"]))
    return to_json(package_hls(view, program, Path(str(request["directory"])), on_progress))
