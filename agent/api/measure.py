"""Counts and times every request by its route's template, never by its path."""

import time

from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from agent.metric_families import OTHER
from agent.metrics import Metrics


class MeasureRequests:
    """ASGI middleware. A request that no route matched counts as route "other"."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and note its answer."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.monotonic()
        answered = False

        async def noting(message: Message) -> None:
            nonlocal answered
            if message["type"] == "http.response.start" and not answered:
                answered = True
                self._note(scope, int(message["status"]), time.monotonic() - began)
            await send(message)

        try:
            await self._app(scope, receive, noting)
        except Exception:
            if not answered:
                self._note(scope, 500, time.monotonic() - began)
            raise

    def _note(self, scope: Scope, status: int, duration_s: float) -> None:
        route = scope.get("route")
        template = route.path if isinstance(route, Route) else OTHER
        self._metrics.observe_request(scope["method"], template, status, duration_s)
