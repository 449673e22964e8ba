"""Transport-wide feedback against its draft, read by a reader of the test's own."""

from hypothesis import given, settings
from hypothesis import strategies as st

from media.rtp.transport_feedback import ArrivalRecorder, build_transport_feedback


def read(data: bytes) -> tuple[int, dict[int, float | None], int]:
    """Base, arrivals in seconds (modulo the reference time's range) or None by offset, and the feedback's count."""
    assert (data[0] & 0xDF, data[1]) == (0x8F, 205)
    assert len(data) == 4 + 4 * int.from_bytes(data[2:4])
    end = len(data) - (data[-1] if data[0] & 0x20 else 0)
    base, count = int.from_bytes(data[12:14]), int.from_bytes(data[14:16])
    at = int.from_bytes(data[16:19]) * 64_000
    symbols: list[int] = []
    position = 20
    while len(symbols) < count:
        chunk = int.from_bytes(data[position : position + 2])
        position += 2
        if not chunk & 0x8000:
            symbols += [chunk >> 13] * (chunk & 0x1FFF)
        elif chunk & 0x4000:
            symbols += [chunk >> shift & 3 for shift in range(12, -1, -2)]
        else:
            symbols += [chunk >> shift & 1 for shift in range(13, -1, -1)]
    arrivals: dict[int, float | None] = {}
    for offset, symbol in enumerate(symbols[:count]):
        if symbol == 0:
            arrivals[offset] = None
            continue
        size = symbol
        at += int.from_bytes(data[position : position + size], signed=size == 2) * 250
        position += size
        arrivals[offset] = at / 1e6
    assert position == end
    assert not any(symbols[count:])
    return base, arrivals, data[19]


def test_a_packet_byte_for_byte() -> None:
    arrivals = {0x1_0005: 1.0, 0x1_0006: 1.00025, 0x1_0008: 0.999}
    data = build_transport_feedback(1, 2, 0x1_0005, arrivals, 7)
    # reference 15 x 64 ms = 0.96 s; small +40 ms, small +0.25 ms, not received, large -1.25 ms; a vector
    assert data.hex() == "afcd000600000001000000020005000400000f07d480a001fffb0002"


@settings(max_examples=100)
@given(
    st.integers(0x10000, 0x1FFFF),
    st.lists(st.one_of(st.none(), st.floats(0, 8.0)), min_size=1, max_size=60),
    st.integers(0, 1000),
)
def test_what_is_built_is_read_again(base: int, offsets: list[float | None], feedback_count: int) -> None:
    began = 1_700_000_000.0
    arrivals = {base + index: began + late for index, late in enumerate(offsets) if late is not None}
    if not arrivals:
        return
    read_base, seen, count = read(build_transport_feedback(1, 2, base, arrivals, feedback_count))
    assert read_base == base & 0xFFFF
    assert count == feedback_count & 0xFF
    cycle = (1 << 24) * 0.064
    assert seen.keys() == set(range(max(arrivals) - base + 1))
    for offset, at in seen.items():
        expected = arrivals.get(base + offset)
        if expected is None:
            assert at is None
        else:
            assert at is not None
            error = abs(at - expected % cycle)
            assert min(error, cycle - error) <= 0.000126


def test_a_long_run_takes_one_chunk() -> None:
    arrivals = {0x10000 + index: 1.0 for index in range(3000)}
    assert len(build_transport_feedback(1, 2, 0x10000, arrivals, 0)) <= 20 + 2 + 3000 + 4


def test_feedback_is_due_once_in_100_ms_and_tells_of_losses_between() -> None:
    recorder = ArrivalRecorder()
    assert recorder.take_due(5.0) == []
    recorder.receive(0xFFFE, 5.0)
    recorder.receive(0xFFFF, 5.01)
    assert recorder.take_due(5.02) == [(0x1FFFE, {0x1FFFE: 5.0, 0x1FFFF: 5.01})]
    recorder.receive(2, 5.03)
    assert recorder.take_due(5.1) == []
    assert recorder.take_due(5.12) == [(0x20000, {0x20002: 5.03})]


def test_a_late_packet_is_told_after_all_and_a_repeated_one_once() -> None:
    recorder = ArrivalRecorder()
    for number in (10, 12):
        recorder.receive(number, 1.0)
    recorder.take_due(1.0)
    recorder.receive(11, 1.05)
    recorder.receive(13, 1.06)
    recorder.receive(13, 1.07)
    assert recorder.take_due(1.2) == [(0x1000B, {0x1000B: 1.05, 0x1000D: 1.06})]


def test_a_long_silence_is_not_told_packet_by_packet() -> None:
    recorder = ArrivalRecorder()
    recorder.receive(0, 1.0)
    recorder.take_due(1.0)
    recorder.receive(20_000, 9.0)
    ((base, arrivals),) = recorder.take_due(9.0)
    assert arrivals == {0x10000 + 20_000: 9.0}
    assert 0x10000 + 20_000 - base < 4096


def test_what_came_while_the_process_stood_still_is_told_in_packets_that_pass() -> None:
    recorder = ArrivalRecorder()
    for number in range(1500):
        if number % 7:
            recorder.receive(number, 1.0 + number * 0.1)  # far apart: two bytes each
    told = recorder.take_due(200.0)
    packets = [build_transport_feedback(1, 2, base, arrivals, count) for count, (base, arrivals) in enumerate(told)]
    assert max(map(len, packets)) < 1100
    assert [number for _, arrivals in told for number in arrivals] == [0x10000 + n for n in range(1500) if n % 7]
