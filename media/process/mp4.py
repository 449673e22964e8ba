"""One participant's audio and video into a progressive MP4 that starts to play before it is all there."""

import heapq
import io
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path
from typing import cast

import av
from av.video.codeccontext import VideoCodecContext

from media.frames import Codec
from media.process.output import ExportOutput, JsonObject, OutputFile, to_json
from media.process.published import OUT_OF_BAND_ENTRIES, vp9_pixel_format
from media.process.streams import OutputStream, ProgramReader, TimedSample
from media.process.timeline import Program, program_from_json
from media.record.entries import JsonValue
from media.record.reader import RecordingView, read_recording


def write_mp4(
    view: RecordingView, program: Program, directory: Path, on_progress: Callable[[float], None]
) -> ExportOutput:
    """Write `<program.stem>.mp4` into `directory` and say what it must hold. It is not verified yet.

    H.264 and H.265 of one picture size, VP9, AV1 and Opus are copied; other video is transcoded to H.264. A track
    that starts later than the other does so in the file (edit list).
    Raises RecordingDamaged, UnsupportedCodec, OSError.
    """
    reader = ProgramReader(view, program, on_progress)
    found = (reader.video(for_segments=False), reader.audio(for_segments=False))
    streams = [stream for stream in found if stream is not None]
    path = directory / f"{program.stem}.mp4"
    with av.open(str(path), "w", format="mp4", options={"movflags": "+faststart"}) as container:
        started_at = datetime.fromtimestamp(view.started_at + reader.origin_s, UTC)
        container.metadata["creation_time"] = started_at.isoformat()
        outputs = [_add_stream(container, stream) for stream in streams]
        for index, sample in _interleaved(streams):
            packet = av.Packet(sample.data)
            packet.stream = outputs[index]
            packet.time_base = Fraction(1, streams[index].timescale)
            packet.pts = packet.dts = sample.time
            packet.duration = sample.duration
            packet.is_keyframe = sample.sync
            container.mux_one(packet)
    return ExportOutput(
        participant_identity=program.participant_identity,
        source=program.source,
        format="mp4",
        entry=path.name,
        start_media_time_s=reader.origin_s,
        duration_s=reader.end_s - reader.origin_s,
        tracks=tuple(stream.report() for stream in streams),
        files=(OutputFile(path.name, 0, ""),),
        checks=(),
    )


def _add_stream(container: av.container.OutputContainer, stream: OutputStream) -> av.stream.Stream:
    # Frames may be smaller than the track, not larger.
    largest = max(stream.inits, key=lambda init: init.width * init.height)
    with av.open(io.BytesIO(largest.init_segment), format="mp4") as template:
        # Opaque: as it is, with no need of an encoder for the codec.
        output = container.add_stream_from_template(template.streams[0], opaque=True)
    output.time_base = Fraction(1, stream.timescale)
    if stream.codec in OUT_OF_BAND_ENTRIES:
        # The first name says that all parameter sets are in the header; with several they come in band as well.
        in_band, out_of_band = OUT_OF_BAND_ENTRIES[stream.codec]
        output.codec_context.codec_tag = in_band if len(stream.inits) > 1 else out_of_band
    if stream.codec is Codec.VP9:
        cast(VideoCodecContext, output.codec_context).pix_fmt = vp9_pixel_format(largest.init_segment)
    return output


def _interleaved(streams: list[OutputStream]) -> Iterator[tuple[int, TimedSample]]:
    """All samples in the order of their times, with their stream's index."""
    tagged = (_tagged(index, stream) for index, stream in enumerate(streams))
    for _, index, sample in heapq.merge(*tagged, key=lambda item: item[:2]):
        yield index, sample


def _tagged(index: int, stream: OutputStream) -> Iterator[tuple[float, int, TimedSample]]:
    for sample in stream.samples:
        yield sample.time / stream.timescale, index, sample


def run_task(request: dict[str, JsonValue], on_progress: Callable[[float], None]) -> JsonObject:
    """The task "mp4" of `media.process.child`: recording_path, program, directory in, an ExportOutput out."""
    view = read_recording(Path(str(request["recording_path"])))
    program = program_from_json(cast(JsonObject, request["program"]))
    return to_json(write_mp4(view, program, Path(str(request["directory"])), on_progress))
