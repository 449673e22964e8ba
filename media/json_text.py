"""JSON that others wrote, read so that every text which cannot be read fails in one way (pure)."""

import json
from typing import Any


def parse_json(text: str | bytes) -> Any:
    """The value of a JSON text (RFC 8259), as `json.loads` reads it.

    Raises json.JSONDecodeError, a ValueError, for all that cannot be read: also for bytes that are no text, for half a
    character (RFC 7493, section 2.1), which could not be written again, and for what goes beyond Python's limits, as
    section 9 allows: some 900 arrays and objects within each other, 4,300 digits.
    """
    try:
        whole = text if isinstance(text, str) else text.decode(json.detect_encoding(text))
        value = json.loads(whole)  # noqa: TID251 - the one place
        if "\\ud" in whole or "\\uD" in whole:  # nearly no text has one, and each is gone through for it
            json.dumps(value, ensure_ascii=False).encode()
    except json.JSONDecodeError:
        raise
    except RecursionError as error:
        raise json.JSONDecodeError("arrays and objects are nested too deeply", "", 0) from error
    except UnicodeDecodeError as error:
        raise json.JSONDecodeError(f"it is no {error.encoding} text", "", 0) from error
    except UnicodeEncodeError as error:
        raise json.JSONDecodeError("a string has half a character (a lone surrogate)", "", 0) from error
    except ValueError as error:
        raise json.JSONDecodeError("a number has too many digits", "", 0) from error
    return value
