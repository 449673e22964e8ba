"""What is sent as data, and what is refused before it is sent."""

import re
from types import SimpleNamespace
from typing import Any, cast

import pytest
from livekit.rtc.participant import PublishDataError

from agent.errors import InvalidSettings, PermissionDenied, PublishFailed
from agent.room.data import MAX_DATA_FRAME_BYTES, DataPublisher
from agent.room.data_limits import MAX_PACKET_BYTES, MAX_TEXT_CHARACTERS
from agent.room.permissions import Permissions


class LocalParticipant:
    """Ours, as the SDK shows it: it keeps what it is to send."""

    def __init__(self) -> None:
        self.sent: list[tuple[Any, dict[str, Any]]] = []
        self.refuses = ""

    async def publish_data(self, payload: bytes, **how: Any) -> None:
        if self.refuses:
            raise PublishDataError(self.refuses)
        self.sent.append((payload, how))

    async def send_text(self, text: str, **how: Any) -> Any:
        self.sent.append((text, how))
        return SimpleNamespace(stream_id="ST_1")

    async def publish_data_track(self, *, name: str) -> Any:
        return SimpleNamespace(info=SimpleNamespace(sid="DT_1"), try_push=lambda frame: self.sent.append((frame, {})))


@pytest.fixture
def local() -> LocalParticipant:
    return LocalParticipant()


@pytest.fixture
def data(local: LocalParticipant) -> DataPublisher:
    async def restored() -> None:
        """It stands."""

    session = SimpleNamespace(
        permissions=Permissions(),
        sdk_room=SimpleNamespace(local_participant=local),
        before_leaving=lambda name, step: None,
        restored=restored,
    )
    return DataPublisher(cast("Any", session))


def refused(said: str) -> Any:
    return pytest.raises(InvalidSettings, match=re.escape(said))


@pytest.mark.parametrize(
    ("identities", "said"),
    [
        ("alice", "destination_identities is str; give a list"),
        (None, "destination_identities is NoneType; give a list"),
        (["alice", ""], "one of destination_identities is empty"),
        ([7], "one of destination_identities is int; give a string"),
    ],
)
async def test_destinations_are_a_list_of_identities(
    data: DataPublisher, local: LocalParticipant, identities: Any, said: str
) -> None:
    with refused(said):
        await data.publish_data(b"hello", destination_identities=identities)
    with refused(said):
        await data.send_text("hello", topic="lk.chat", destination_identities=identities)
    assert local.sent == []
    await data.publish_data(b"hello", destination_identities=("alice", "bob"))
    assert local.sent[0][1]["destination_identities"] == ["alice", "bob"]


async def test_a_packet_is_measured_whole_and_in_bytes(data: DataPublisher, local: LocalParticipant) -> None:
    topic, to = "\u00e9" * 50, ["alice", "bob"]
    room = MAX_PACKET_BYTES - 100 - len("alicebob") - 2 * 4
    await data.publish_data(b"x" * room, topic=topic, destination_identities=to)
    with refused(f"a data packet of {MAX_PACKET_BYTES + 1} bytes is too long"):
        await data.publish_data(b"x" * (room + 1), topic=topic, destination_identities=to)
    with refused("is too long"):
        await data.send_text("hello", topic="t" * (MAX_PACKET_BYTES + 1))
    assert len(local.sent) == 1


async def test_a_packet_that_the_sdk_finds_too_long_is_no_failure_to_try_again(
    data: DataPublisher, local: LocalParticipant
) -> None:
    local.refuses = "engine: internal error: data packet size (9 bytes) exceeds the negotiated maximum message size"
    with refused("a data packet of 5 bytes is too long"):
        await data.publish_data(b"hello")
    local.refuses = "engine: connection closed"
    with pytest.raises(PublishFailed):
        await data.publish_data(b"hello")


async def test_a_payload_is_bytes(data: DataPublisher, local: LocalParticipant) -> None:
    await data.publish_data_track("telemetry")
    for payload in (b"abc", bytearray(b"abc"), memoryview(b"abc")):
        await data.publish_data(payload)  # type: ignore[arg-type]  # what is like bytes will do
        assert data.push("telemetry", payload)  # type: ignore[arg-type]
    assert [payload for payload, _ in local.sent if isinstance(payload, bytes)] == [b"abc"] * 3
    with refused("the payload is str; give bytes"):
        await data.publish_data("abc")  # type: ignore[arg-type]  # that it is refused is what is tested
    with refused("the payload is int; give bytes"):
        data.push("telemetry", 5)  # type: ignore[arg-type]
    with refused("is too long"):
        data.push("telemetry", b"x" * (MAX_DATA_FRAME_BYTES + 1))


async def test_text_that_cannot_travel_is_refused(data: DataPublisher) -> None:
    for topic, said in ((None, "the topic is NoneType; give a string"), ("\ud800", "the topic has half a character")):
        with refused(said):
            await data.publish_data(b"x", topic=topic)  # type: ignore[arg-type]
        with refused(said):
            await data.send_text("x", topic=topic)  # type: ignore[arg-type]
    with refused("the text has half a character at place 1"):
        await data.send_text("a\ud800", topic="lk.chat")
    with refused("the text is bytes; give a string"):
        await data.send_text(b"x", topic="lk.chat")  # type: ignore[arg-type]
    with refused("a data track's name has half a character"):
        await data.publish_data_track("\ud800")


async def test_who_is_hidden_opens_no_data_track(data: DataPublisher) -> None:
    cast("Any", data)._session.permissions = Permissions(hidden=True)
    with pytest.raises(PermissionDenied, match="join without hidden"):
        await data.publish_data_track("telemetry")


@pytest.mark.parametrize("timestamp", [-1, 2**64, 1.5])
async def test_the_timestamp_of_a_frame_is_an_unsigned_integer(data: DataPublisher, timestamp: Any) -> None:
    await data.publish_data_track("telemetry")
    with refused(f"user_timestamp is {timestamp}; give an integer"):
        data.push("telemetry", b"x", user_timestamp=timestamp)
    assert data.push("telemetry", b"x", user_timestamp=2**64 - 1)


async def test_a_text_is_no_longer_than_what_a_receiver_reads(data: DataPublisher) -> None:
    await data.send_text("x" * MAX_TEXT_CHARACTERS, topic="lk.chat")
    with refused("a text of 1000001 characters is too long"):
        await data.send_text("x" * (MAX_TEXT_CHARACTERS + 1), topic="lk.chat")
