"""What data packets and texts may be, checked before they are sent: the SDK's own answers come late, or never."""

from collections.abc import Iterable

from agent.errors import InvalidSettings
from agent.room.wire_text import wire_bytes

# Server and SDK agree on 64,000 bytes for a whole packet (livekit 1.2.1 with server 1.13). Around payload, topic and
# destinations are 38 bytes, up to 10 more for lengths and a running number, 41 where it is encrypted, and our own
# identity, up to 256: what is left is the same for everybody.
MAX_PACKET_BYTES = 63_600
DESTINATION_BYTES = 4  # around each destination identity
TEXT_TOPICS = ("lk.chat", "lk.transcription")  # LiveKit's own, for chat and live transcriptions
MAX_TEXT_CHARACTERS = 1_000_000  # a text stream may be endless; nobody chats more than this at once


def payload_bytes(payload: object) -> bytes:
    """The bytes to send. Raises InvalidSettings."""
    if not isinstance(payload, bytes | bytearray | memoryview):
        raise InvalidSettings(f"the payload is {type(payload).__name__}; give bytes (text.encode())")
    return bytes(payload)


def strings(what: str, values: Iterable[str]) -> list[str]:
    """The strings of a list. Raises InvalidSettings, also for one string: it would be read as a list of its letters."""
    if isinstance(values, str | bytes) or not isinstance(values, Iterable):
        raise InvalidSettings(f"{what} is {type(values).__name__}; give a list, like ['ada']")
    found = list(values)
    for value in found:
        if not wire_bytes(f"one of {what}", value):
            raise InvalidSettings(f"one of {what} is empty; leave it out")
    return found


def destinations(identities: Iterable[str]) -> list[str]:
    """Whom to send to; none is everybody. Raises InvalidSettings."""
    return strings("destination_identities", identities)


def check_packet(size: int, topic: str, identities: list[str]) -> None:
    """InvalidSettings unless a packet of `size` payload bytes fits."""
    size += len(wire_bytes("the topic", topic))
    size += sum(len(identity.encode()) + DESTINATION_BYTES for identity in identities)
    if size > MAX_PACKET_BYTES:
        raise too_long(size)


def too_long(size: int) -> InvalidSettings:
    """What to say of a data packet with so many bytes."""
    return InvalidSettings(
        f"a data packet of {size} bytes is too long: {MAX_PACKET_BYTES} are allowed for payload, topic and "
        f"destination identities ({DESTINATION_BYTES} more each); send it as a text stream or in parts"
    )


def check_text(text: str) -> None:
    """InvalidSettings unless a Roomhand that receives `text` would read it."""
    wire_bytes("the text", text)
    if len(text) > MAX_TEXT_CHARACTERS:
        raise InvalidSettings(
            f"a text of {len(text)} characters is too long, {MAX_TEXT_CHARACTERS} are allowed; send it in parts"
        )


def check_user_timestamp(timestamp: object) -> None:
    """InvalidSettings unless it is an unsigned integer of 64 bits, or None."""
    if timestamp is not None and not (isinstance(timestamp, int) and 0 <= timestamp < 2**64):
        raise InvalidSettings(f"user_timestamp is {timestamp!r}; give an integer from 0 to 2**64 - 1, or none")
