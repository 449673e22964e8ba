"""The packets of one stream of a file, with times that go on where the file's start anew."""

from collections.abc import Iterator
from typing import TypeAlias, cast

import av
from av.container import InputContainer
from av.format import Flags
from av.stream import Disposition, Stream

from media.sources.joins import JoinedTimes

Packet: TypeAlias = "av.Packet[Stream]"


def may_start_anew(container: InputContainer) -> bool:
    """Whether times of this format may (MPEG transport and program streams, Ogg)."""
    return bool(container.format.flags & cast(int, Flags.ts_discont.value))


def video_index(container: InputContainer) -> int | None:
    """The first video stream that is not a cover picture."""
    for stream in container.streams.video:
        if not stream.disposition & Disposition.attached_pic:
            return stream.index
    return None


def packets_of(container: InputContainer, index: int) -> Iterator[Packet]:
    """The packets of the stream `index`, the empty one at the end as well.

    Whoever reads the picture and whoever reads the sound puts the parts of a file in the same places.
    """
    if not may_start_anew(container):
        yield from container.demux(index)
        return
    for packet in _joined(container, JoinedTimes()):
        if packet.stream.index == index:
            yield packet


def length_s(container: InputContainer) -> float:
    """How long a file whose times may start anew is, by reading all of it."""
    times = JoinedTimes()
    for _ in _joined(container, times):
        pass
    return times.end_s


def _joined(container: InputContainer, times: JoinedTimes) -> Iterator[Packet]:
    begin, picture = container.start_time or 0, video_index(container)
    used = [*([] if picture is None else [picture]), *(stream.index for stream in container.streams.audio[:1])]
    for packet in container.demux(*used):
        time = packet.dts if packet.dts is not None else packet.pts
        if time is not None and packet.time_base is not None:
            base = packet.time_base
            duration_s = float((packet.duration or 0) * base)
            later_s = times.later_s(packet.stream.index, float(time * base) - begin / av.time_base, duration_s)
            later = round(later_s / base)
            packet.pts = None if packet.pts is None else packet.pts + later
            packet.dts = None if packet.dts is None else packet.dts + later
        yield packet
