"""structlog set-up: JSON or console lines on standard error, secrets redacted, context bound.

A room's process binds `room` and `recording` once (`bind_context`), so each line of it carries them.
"""

import logging
import re
import sys
from collections.abc import MutableMapping
from typing import Any, Literal

import structlog

from agent.printable import printable, printable_lines

LogFormat = Literal["auto", "json", "console"]

REDACTED = "[redacted]"
_SECRET_KEY = re.compile(r"(secret|token|password|authorization|api_key|private_key|e2ee\w*key)", re.IGNORECASE)
_JWT = re.compile(r"eyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]+")
_QUERY_TOKEN = re.compile(r"(access_token=)[^&\s\"']+")


_BOUND: dict[str, str] = {}


def redact(value: Any) -> Any:
    """`value` with JWTs and token query parameters taken out of every string in it."""
    if isinstance(value, str):
        return _QUERY_TOKEN.sub(r"\1" + REDACTED, _JWT.sub(REDACTED, value))
    if isinstance(value, dict):
        return {key: REDACTED if _is_secret(key) else redact(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [redact(item) for item in value]
    return value


def _is_secret(key: object) -> bool:
    return isinstance(key, str) and _SECRET_KEY.search(key) is not None


def _redact_event(_logger: Any, _name: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    for key, value in event.items():
        event[key] = REDACTED if _is_secret(key) else redact(value)
    return event


def _printable_event(_logger: Any, _name: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """What a name holds must not control the terminal, nor look like a line of ours. JSON escapes it by itself."""
    for key, value in event.items():
        if isinstance(value, str):
            # The renderer quotes values that have several lines; those of a traceback are wanted.
            event[key] = printable(value) if key == "event" else printable_lines(value)
    return event


def configure_logs(log_format: LogFormat = "auto", level: str = "info") -> None:
    """Send structlog and the standard library's logging to standard error in one format."""
    console = log_format == "console" or (log_format == "auto" and sys.stderr.isatty())
    shared: list[structlog.typing.Processor] = [
        _add_bound,
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        _redact_event,
    ]
    renderers: list[structlog.typing.Processor] = (
        [_printable_event, structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())]
        if console
        else [structlog.processors.JSONRenderer()]
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *renderers],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for noisy in ("aioice", "aiortc", "websockets", "httpx", "httpcore", "asyncio", "dbos", "livekit"):
        logging.getLogger(noisy).setLevel(max(logging.WARNING, root.level))
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *(processor for processor in shared if not isinstance(processor, structlog.stdlib.ExtraAdder)),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )


def bind_context(**values: str) -> None:
    """Put `values` (room, recording) on every line this process logs from now on, in all its tasks and threads.

    For processes that run one room, as the commands and the service have.
    """
    _BOUND.update(values)


def _add_bound(_logger: Any, _name: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    for key, value in _BOUND.items():
        event.setdefault(key, value)
    return event
