"""Each payload format through an inbound stream: loss, reordering, duplicates and cut packets, in any pattern."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from media.errors import RtpError
from media.frames import Codec, EncodedFrame
from media.rtp.inbound_stream import InboundStream, InboundStreamConfig
from media.rtp.packet import RtpPacket
from tests.media.rtp.encodings import encode_av1, encode_h264, encode_h265, encode_vp8, encode_vp9
from tests.media.rtp.packetisers import (
    Sender,
    av1_payloads,
    h264_payloads,
    h265_payloads,
    split_annex_b,
    split_temporal_unit,
    vp8_payloads,
    vp9_payloads,
    without_size,
)

START = 1_700_000_000.0
FRAME_S = 0.033
STEP = 3000
PAYLOAD_TYPE = 96
MAX_BYTES = 700
# A key frame comes first and in the middle.
FRAMES_PER_KEY = 6

Payloads = list[list[bytes]]


def _vp8() -> Payloads:
    return [vp8_payloads(frame, index, MAX_BYTES) for index, frame in enumerate(encode_vp8(64, 48))]


def _vp9(*, flexible: bool) -> Payloads:
    return [
        vp9_payloads([frame], index, MAX_BYTES, keyframe=index % FRAMES_PER_KEY == 0, flexible=flexible)
        for index, frame in enumerate(encode_vp9(64, 48))
    ]


def _vp9_layers(*, below_left_out: bool) -> Payloads:
    """Two spatial layers; `below_left_out`: only the upper one of pictures that are no key frames (L2T1_KEY)."""
    payloads = []
    for index, (lower, upper) in enumerate(zip(encode_vp9(64, 48), encode_vp9(96, 64), strict=True)):
        keyframe = index % FRAMES_PER_KEY == 0
        if below_left_out and not keyframe:
            payloads.append(vp9_payloads([upper], index, MAX_BYTES, first_layer=1))
        else:
            payloads.append(vp9_payloads([lower, upper], index, MAX_BYTES, keyframe=keyframe))
    return payloads


def _av1() -> Payloads:
    units = [[without_size(obu) for obu in split_temporal_unit(unit)[1:]] for unit in encode_av1(64, 64)]
    return [av1_payloads(unit, MAX_BYTES, new_sequence=index % FRAMES_PER_KEY == 0) for index, unit in enumerate(units)]


def _h264() -> Payloads:
    return [h264_payloads(split_annex_b(unit), MAX_BYTES) for unit in encode_h264(64, 48, slices=2)]


def _h265() -> Payloads:
    return [h265_payloads(split_annex_b(unit), MAX_BYTES) for unit in encode_h265(64, 48)]


@dataclass(frozen=True)
class Format:
    """A codec and the payloads of some real frames of it, a key frame every `FRAMES_PER_KEY`."""

    codec: Codec
    make: Callable[[], Payloads]


FORMATS = {
    "vp8": Format(Codec.VP8, _vp8),
    "vp9 flexible": Format(Codec.VP9, lambda: _vp9(flexible=True)),
    "vp9 not flexible": Format(Codec.VP9, lambda: _vp9(flexible=False)),
    "vp9 layers": Format(Codec.VP9, lambda: _vp9_layers(below_left_out=False)),
    "vp9 layers of key frames": Format(Codec.VP9, lambda: _vp9_layers(below_left_out=True)),
    "av1": Format(Codec.AV1, _av1),
    "h264": Format(Codec.H264, _h264),
    "h265": Format(Codec.H265, _h265),
}


@cache
def payloads_of(name: str) -> Payloads:
    return FORMATS[name].make()


@cache
def frames_of(name: str) -> tuple[bytes, ...]:
    """What comes out when nothing happens to the packets."""
    run = Run(name, [])
    assert len(run.frames) == len(payloads_of(name))
    return tuple(frame.data for frame in run.frames)


@dataclass(frozen=True)
class Fate:
    """What becomes of a packet: the milliseconds until each copy arrives (none: lost), and how much of it does."""

    arrivals_ms: tuple[int, ...] = (0,)
    cut_to: int | None = None


ARRIVES = st.one_of(
    st.just(Fate()),
    st.builds(lambda delay: Fate((delay,)), st.integers(0, 90)),
    st.builds(lambda first, second: Fate((first, second)), st.integers(0, 90), st.integers(0, 90)),
)
ANY = st.one_of(
    st.just(Fate()),
    ARRIVES,
    st.just(Fate(())),
    st.builds(lambda delay: Fate((delay,)), st.integers(0, 4000)),
    st.builds(lambda size: Fate((0,), size), st.integers(1, 40)),
)


class Run:
    """Sends the frames of a format, packets by their fates (then prompt), to a stream that is polled as by a shell."""

    def __init__(self, name: str, fates: Sequence[Fate], clean: int = 0) -> None:
        """`clean`: so many groups of frames follow after 10 s, with nothing happening to them."""
        self.stream = InboundStream(InboundStreamConfig(codecs={PAYLOAD_TYPE: FORMATS[name].codec}))
        self.frames: list[EncodedFrame] = []
        self.cut: set[int] = set()
        """Indices of frames with a packet that was cut."""
        self.hit: set[int] = set()
        """Indices of frames with a packet that was lost, cut or late."""
        sender = Sender(payload_type=PAYLOAD_TYPE, sequence_number=65_520)
        events: list[tuple[float, int, bytes]] = []
        rest = list(fates)
        count = len(payloads_of(name))
        for index in range(count * (1 + clean)):
            now = START + index * FRAME_S + (10 if index >= count else 0)
            for packet in sender.frame(payloads_of(name)[index % count], index * STEP):
                fate = rest.pop(0) if rest and index < count else Fate()
                if fate.cut_to is not None:
                    self.cut.add(index)
                if fate.cut_to is not None or max(fate.arrivals_ms, default=1000) > 90:
                    self.hit.add(index)
                data = packet.data if fate.cut_to is None else packet.data[: 12 + fate.cut_to]
                events.extend((now + ms / 1000, len(events), data) for ms in fate.arrivals_ms)
        for arrival, _, data in sorted(events, key=lambda event: event[:2]):
            self._poll_until(arrival)
            self.stream.receive(RtpPacket(data), arrival)
            self.frames += self.stream.poll(arrival).frames
        self.frames += self.stream.flush(START + 100).frames

    def _poll_until(self, now: float) -> None:
        while (deadline := self.stream.next_deadline(START)) is not None and deadline < now:
            self.frames += self.stream.poll(deadline).frames

    @property
    def indices(self) -> list[int]:
        return [frame.rtp_timestamp // STEP for frame in self.frames]


@pytest.mark.parametrize("name", FORMATS)
@settings(max_examples=25, deadline=None)
@given(fates=st.lists(ARRIVES, max_size=60))
def test_everything_is_there_when_nothing_is_lost(name: str, fates: list[Fate]) -> None:
    run = Run(name, fates)
    assert tuple(frame.data for frame in run.frames) == frames_of(name)
    assert run.indices == list(range(len(frames_of(name))))
    assert not any(frame.discontinuity for frame in run.frames)
    assert [frame.sync_sample for frame in run.frames] == [
        index % FRAMES_PER_KEY == 0 for index in range(len(run.frames))
    ]


@pytest.mark.parametrize("name", FORMATS)
@settings(max_examples=40, deadline=None)
@given(fates=st.lists(ANY, max_size=80))
def test_whatever_happens_only_whole_frames_come_in_order_and_it_recovers(name: str, fates: list[Fate]) -> None:
    run = Run(name, fates, clean=1)
    sent = frames_of(name) * 2
    assert run.indices == sorted(set(run.indices))
    for frame, index in zip(run.frames, run.indices, strict=True):
        # What is cut is such as no SRTP lets through: it may spoil its own frame, and nothing else.
        if index not in run.cut:
            assert frame.data == sent[index]
    for (_, before), (frame, after) in pairwise(zip(run.frames, run.indices, strict=True)):
        if after != before + 1:
            assert frame.discontinuity
    count = len(frames_of(name))
    assert run.indices[-count:] == list(range(count, 2 * count))


@pytest.mark.parametrize("name", FORMATS)
@settings(max_examples=20, deadline=None)
@given(fates=st.lists(st.sampled_from([Fate(), Fate(), Fate(), Fate(())]), max_size=80))
def test_what_is_lost_takes_at_most_the_frame_after_it_along(name: str, fates: list[Fate]) -> None:
    """A frame that is whole comes out, unless the one before it is not and nothing proves where it starts."""
    run = Run(name, [Fate(), *fates])
    if 0 in run.hit:
        return
    for index in range(1, len(frames_of(name))):
        if index not in run.hit and index - 1 not in run.hit:
            assert index in run.indices


def test_the_formats_are_read_or_refused_when_any_bit_is_wrong() -> None:
    """Each byte of a first packet replaced: only `RtpError` leaves the packet parser, and nothing the stream."""
    for name, made in FORMATS.items():
        first = Sender(payload_type=PAYLOAD_TYPE).frame(payloads_of(name)[0], 0)
        for at in range(min(60, len(first[0].data))):
            for value in (0x00, 0x7F, 0x80, 0xFF):
                data = first[0].data[:at] + bytes((value,)) + first[0].data[at + 1 :]
                stream = InboundStream(InboundStreamConfig(codecs={PAYLOAD_TYPE: made.codec}))
                try:
                    stream.receive(RtpPacket(data), START)
                except RtpError:
                    continue
                for packet in first[1:]:
                    stream.receive(packet, START)
                assert len(stream.flush(START + 1).frames) <= 1
