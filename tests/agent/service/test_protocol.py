"""The lines between supervisor and room process."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.errors import EXIT_CODES, RoomhandError, TrackNotFound
from agent.room.counters import RoomCounters
from agent.room.publish_options import PublishOptions
from agent.room.recording_plan import LayerPolicy, RecordingPlan, RecordWhen, StopConditions
from agent.room.state import ConnectionState, ReceiveState, RoomState, TrackState
from agent.room.subscription import SubscriptionPolicy, SubscriptionRule
from agent.service.protocol import (
    ChangeRecording,
    Command,
    Done,
    Down,
    ErrorReport,
    PauseRecording,
    ProtocolError,
    Publish,
    Reply,
    Request,
    ResumeRecording,
    RoomEnded,
    RoomEventReport,
    RoomOptions,
    RoomReport,
    RoomStarted,
    SendData,
    SendText,
    SetEncryptionKey,
    SetLayer,
    SetMuted,
    SetPolicy,
    SetSubscribed,
    StartRecording,
    StartRoom,
    StopRecording,
    Unpublish,
    Up,
    decode_down,
    decode_up,
    encode_down,
    encode_up,
    error_from_report,
    report_error,
)
from agent.service.room_metrics import MetricsSampler
from media.errors import RecordingNotFound
from quality.stats import TrackKind, VideoQuality

_text = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
_texts = st.lists(_text, max_size=3).map(tuple)
_rules = st.builds(
    SubscriptionRule,
    participant=_text,
    kind=st.none() | st.sampled_from(TrackKind),
    attributes=st.lists(st.tuples(_text, _text), max_size=2).map(tuple),
    quality=st.sampled_from(VideoQuality),
)
_policies = st.builds(
    SubscriptionPolicy, st.lists(_rules, max_size=2).map(tuple), max_tracks=st.none() | st.integers(0, 9)
)
_plans = st.builds(
    RecordingPlan,
    when=st.sampled_from(RecordWhen),
    stop=st.builds(StopConditions, empty_s=st.none() | st.floats(1, 100), size_bytes=st.none() | st.integers(1, 2**40)),
    layers=st.builds(LayerPolicy, st.sampled_from(VideoQuality), st.none() | st.integers(1, 10**9), focus=_texts),
)
_publish_options = st.builds(
    PublishOptions, metadata=st.dictionaries(_text, st.none() | _text | st.integers(), max_size=2)
)
_options = st.builds(
    RoomOptions,
    room=_text,
    attributes=st.dictionaries(_text, _text, max_size=3),
    publish=st.none() | _text,
    policy=st.none() | _policies,
    recording_plan=st.none() | _plans,
)
_commands: st.SearchStrategy[Command] = st.one_of(
    st.builds(StartRecording, _text, st.none() | _policies, st.none() | _plans, st.booleans()),
    st.builds(StopRecording),
    st.builds(PauseRecording),
    st.builds(ResumeRecording),
    st.builds(ChangeRecording, st.none() | _policies, st.none() | _plans),
    st.builds(SetPolicy, _policies),
    st.builds(SetEncryptionKey, _text, st.none() | _text, st.integers(0, 15)),
    st.builds(SetSubscribed, _text, st.none() | st.booleans()),
    st.builds(SetLayer, _text, st.none() | _text, _text),
    st.builds(Publish, _text, _publish_options),
    st.builds(Unpublish, _text),
    st.builds(SetMuted, _text, st.booleans()),
    st.builds(SendData, st.binary(max_size=300), _text, st.booleans(), _texts),
    st.builds(SendText, _text, _text, _texts),
)


@settings(max_examples=100)
@given(st.builds(StartRoom, _options) | st.builds(Request, st.integers(0, 1 << 40), _commands))
def test_what_goes_down_arrives_as_it_was_on_one_line(message: Down) -> None:
    line = encode_down(message)
    assert line.count(b"\n") == 1
    assert decode_down(line) == message


def a_state() -> RoomState:
    track = TrackState(
        "TR_1", "cam", "video", "camera", "alice", "video/VP8", False, True, 1280, 720, subscription=ReceiveState(7)
    )
    return RoomState("r", "RM_1", "bot", ConnectionState.CONNECTED, 1.5, tracks=(track,))


@pytest.mark.parametrize(
    "message",
    [
        RoomStarted(),
        RoomReport(a_state(), MetricsSampler().sample(a_state(), RoomCounters(handoffs={"ok": 2}))),
        RoomEventReport("track_published", 2.0, {"track": {"sid": "TR_1"}, "numbers": [1, 2.5, None]}),
        Reply(3, done=Done()),
        Reply(4, error=ErrorReport("track_not_found", "no such track")),
        RoomEnded("drained"),
        RoomEnded("error", ErrorReport("unauthorized", "no", retryable=False)),
    ],
)
def test_what_goes_up_arrives_as_it_was(message: Up) -> None:
    assert decode_up(encode_up(message)) == message


@pytest.mark.parametrize("line", [b"", b"{", b"null\n", b'{"type":"request"}\n', b'{"type":"no such"}\n', b"\xff\n"])
def test_a_line_that_is_no_message_is_an_error_of_ours(line: bytes) -> None:
    with pytest.raises(ProtocolError):
        decode_down(line)
    with pytest.raises(ProtocolError):
        decode_up(line)


def test_errors_keep_their_class_and_text_across_the_border() -> None:
    for error in (TrackNotFound("no track; list them"), RecordingNotFound("no recording")):
        back = error_from_report(report_error(error))
        assert (type(back), str(back)) == (type(error), str(error))


def test_every_code_comes_back_as_itself_or_as_internal() -> None:
    for code in EXIT_CODES:
        assert error_from_report(ErrorReport(code, "x")).code in {code, "internal"}
    assert type(error_from_report(ErrorReport("never heard of", "x"))) is RoomhandError
