"""What a call of a method may be, checked before it is sent: the SDK's own answers come late, or never."""

import math

from agent.errors import InvalidSettings
from agent.room.wire_text import wire_bytes

# LiveKit's documented limits (docs.livekit.io, RPC). The SDK checks the payload alone; other clients have the rest.
MAX_METHOD_BYTES = 64
MAX_PAYLOAD_BYTES = 15 * 1024
DEFAULT_RESPONSE_TIMEOUT_S = 15.0
MIN_RESPONSE_TIMEOUT_S = 0.001  # the SDK counts whole milliseconds
MAX_RESPONSE_TIMEOUT_S = 86_400.0


def check_method(method: object) -> None:
    """InvalidSettings unless `method` is a name that all clients can call."""
    if not 1 <= (size := len(wire_bytes("the method", method))) <= MAX_METHOD_BYTES:
        raise InvalidSettings(f"a method's name has 1 to {MAX_METHOD_BYTES} bytes, this one has {size}; give another")


def check_payload(payload: object) -> None:
    """InvalidSettings unless `payload` is a string that fits."""
    if (size := len(wire_bytes("the payload", payload))) > MAX_PAYLOAD_BYTES:
        raise InvalidSettings(
            f"a payload of {size} bytes is too long, {MAX_PAYLOAD_BYTES} are allowed; send it as a text stream or in "
            "parts"
        )


def check_response_timeout(response_timeout: object) -> None:
    """InvalidSettings unless it is a number of seconds that the SDK can count."""
    if (
        isinstance(response_timeout, bool)
        or not isinstance(response_timeout, int | float)
        or math.isnan(response_timeout)
        or not MIN_RESPONSE_TIMEOUT_S <= response_timeout <= MAX_RESPONSE_TIMEOUT_S
    ):
        raise InvalidSettings(
            f"response_timeout is {response_timeout!r}; give seconds from {MIN_RESPONSE_TIMEOUT_S} to "
            f"{MAX_RESPONSE_TIMEOUT_S:g}"
        )


def check_rpc_code(code: object) -> None:
    """InvalidSettings unless an error's number is one that LiveKit carries."""
    if not isinstance(code, int) or not 0 <= code < 2**32:
        raise InvalidSettings(f"the error's rpc_code is {code!r}; give a number from 0 to 2**32 - 1")
