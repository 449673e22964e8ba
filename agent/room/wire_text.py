"""Text that is to travel: a string that UTF-8 carries. The SDK answers others with a traceback."""

from agent.errors import InvalidSettings


def wire_bytes(what: str, text: object) -> bytes:
    """The bytes of `text`; `what` says in an error what it is. Raises InvalidSettings."""
    if not isinstance(text, str):
        raise InvalidSettings(f"{what} is {type(text).__name__}; give a string")
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise InvalidSettings(
            f"{what} has half a character at place {error.start} (a lone surrogate), which nothing can carry; "
            "leave it out"
        ) from None
