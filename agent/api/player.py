"""The player page: plays an export, or a recording while it goes on, in a browser.

The page holds no data and needs no token; it takes one from the URL's fragment, which
browsers do not send, and fetches what it plays with it.
"""

from pathlib import Path

from fastapi import APIRouter, HTTPException
from fastapi.responses import FileResponse, Response

from agent.api.errors import ServiceUnavailable

WEB = Path(__file__).parent / "web"
FILES = {
    "live.js": (WEB / "live.js", "text/javascript"),
    "live_edge.js": (WEB / "live_edge.js", "text/javascript"),
    "player.js": (WEB / "player.js", "text/javascript"),
    "player.css": (WEB / "player.css", "text/css"),
    "hls.min.js": (WEB / "vendor" / "hls.min.js", "text/javascript"),
}
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
        "media-src 'self' blob:; worker-src blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-cache",
}

router = APIRouter(include_in_schema=False)


def _file(path: Path, media_type: str) -> Response:
    if not path.is_file():
        raise ServiceUnavailable(
            "player_missing", f"{path.name} is not installed; run `make setup`, which puts it there, and reload"
        )
    return FileResponse(path, media_type=media_type, headers=HEADERS)


@router.get("/player")
def page() -> Response:
    """The page. The README has its addresses, `/player?export=…` and `/player?recording=…`, which its scripts read."""
    if not FILES["hls.min.js"][0].is_file():
        return _file(*FILES["hls.min.js"])
    return _file(WEB / "player.html", "text/html")


@router.get("/player/{name}")
def asset(name: str) -> Response:
    """The page's script, style and library."""
    if name not in FILES:
        raise HTTPException(404, "the player has no such file")
    return _file(*FILES[name])
