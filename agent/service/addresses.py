"""URLs of what listens on this machine."""


def url_of(host: str, port: int) -> str:
    """The URL at which what listens on `host` is reached from this machine."""
    if host in {"0.0.0.0", "::"}:  # noqa: S104 - a comparison, nothing is bound here
        host = "127.0.0.1" if host == "0.0.0.0" else "::1"  # noqa: S104
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
