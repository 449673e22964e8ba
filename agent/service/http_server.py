"""The service's HTTP server: a socket bound before anything else starts, and uvicorn without its signal handling."""

import asyncio
import contextlib
import errno
import socket
from collections.abc import Iterator

import uvicorn
from fastapi import FastAPI

from agent.errors import InvalidSettings, PortInUse
from agent.service.addresses import url_of
from agent.tasks import Tasks

GRACE_S = 3  # for answers that are being written when the service ends
_POLL_S = 0.02


def bind(host: str, port: int) -> socket.socket:
    """A listening TCP socket. Raises PortInUse, or InvalidSettings for an address that is none of this machine's."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0][0]
        return socket.create_server((host, port), family=family, backlog=128)
    except socket.gaierror as error:
        raise InvalidSettings(f"{host!r} is no address to listen on ({error.strerror}); set ROOMHAND_HOST") from error
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise PortInUse(
                f"port {port} on {host} is taken; stop what listens there, "
                "or give another with --port or ROOMHAND_PORT (0 for any free one)"
            ) from error
        raise InvalidSettings(
            f"cannot listen on {host} port {port}: {error.strerror}; give another with --host and --port"
        ) from error


def address_of(listening: socket.socket) -> str:
    """The URL at which `listening` is reached from this machine."""
    host, port = listening.getsockname()[:2]
    return url_of(host, port)


class _Server(uvicorn.Server):
    """uvicorn's server, which leaves signals to the service: that drains its rooms first."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class HttpServer:
    """Serves `app` on a bound socket from `start` to `aclose`."""

    def __init__(self, app: FastAPI, listening: socket.socket) -> None:
        config = uvicorn.Config(
            app,
            log_config=None,
            log_level="warning",  # what it says of its start and end, the service says better
            access_log=False,  # URLs of players hold tokens; requests are in the metrics
            ws="none",
            lifespan="off",
            server_header=False,
            timeout_graceful_shutdown=GRACE_S,
        )
        self._app = app
        self._server = _Server(config)
        self._socket = listening
        self._tasks = Tasks("http_server")
        self._serving: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Return when requests are answered."""
        self._serving = self._tasks.start(self._server.serve(sockets=[self._socket]), name="serve")
        while not self._server.started and not self._serving.done():  # noqa: ASYNC110 - uvicorn only has the flag
            await asyncio.sleep(_POLL_S)

    async def aclose(self) -> None:
        """Accept no more, let answers end for GRACE_S, and close; idempotent. Endless streams must be ended before.

        Requests that are held until something comes see `app.state.closing`, and are answered as things are.
        """
        self._app.state.closing = True
        self._server.should_exit = True
        if self._serving is not None:
            await asyncio.wait({self._serving})
        await self._tasks.aclose()
        self._socket.close()
