"""Settings from the environment (and `.env`), read here and nowhere else."""

import os
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AliasChoices, BeforeValidator, Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from agent.credentials import Credentials
from agent.errors import InvalidSettings


def _xdg(variable: str, fallback: str) -> Path:
    base = os.environ.get(variable)
    return (Path(base) if base else Path.home() / fallback) / "roomhand"


def _livekit(name: str) -> AliasChoices:
    return AliasChoices(f"LIVEKIT_{name}", f"livekit_{name.lower()}")


def _none_if_empty(value: object) -> object:
    """An empty variable is no limit."""
    return None if value == "" else value


def _home_expanded(value: object) -> object:
    """No shell expands `~` in an env file."""
    return Path(value).expanduser() if isinstance(value, str | Path) else value


Folder = Annotated[Path, BeforeValidator(_home_expanded)]


class Settings(BaseSettings):
    """All settings. Each is an environment variable `ROOMHAND_<NAME>`; LiveKit's keep their own names."""

    model_config = SettingsConfigDict(
        env_prefix="ROOMHAND_",
        env_file=".env",
        extra="ignore",
        populate_by_name=True,
        hide_input_in_errors=True,
    )

    livekit_url: str = Field("", validation_alias=_livekit("URL"), description="LiveKit server, ws:// or wss://")
    livekit_api_key: str = Field("", validation_alias=_livekit("API_KEY"), description="LiveKit API key")
    livekit_api_secret: SecretStr = Field(
        SecretStr(""), validation_alias=_livekit("API_SECRET"), description="LiveKit API secret"
    )
    e2ee_key: SecretStr = Field(
        SecretStr(""), description="key of rooms with end-to-end encryption: a passphrase, or base64: and a raw key"
    )
    recordings_dir: Folder = Field(Path("recordings"), description="where recordings are written")
    exports_dir: Folder = Field(Path("exports"), description="where the API's exports are written")
    sources_dir: Folder = Field(Path("sources"), description="files that callers of the API may have published")
    state_dir: Folder = Field(
        default_factory=lambda: _xdg("XDG_STATE_HOME", ".local/state"),
        description="export queue and other state that outlives a process",
    )
    cache_dir: Folder = Field(
        default_factory=lambda: _xdg("XDG_CACHE_HOME", ".cache"), description="built LiveKit server"
    )
    segment_duration_s: Annotated[float, Field(ge=1, le=60)] = Field(
        6.0, description="target length of a recorded segment"
    )
    part_duration_s: Annotated[float, Field(ge=0.1, le=1)] = Field(
        0.5, description="longest part of a segment: what a crash can lose, and what live playback waits for"
    )
    retention_max_age_s: Annotated[Annotated[float, Field(gt=0)] | None, BeforeValidator(_none_if_empty)] = Field(
        None, description="recordings are deleted so long after their end; empty: never"
    )
    retention_max_bytes: Annotated[Annotated[int, Field(ge=0)] | None, BeforeValidator(_none_if_empty)] = Field(
        None, description="the oldest recordings are deleted while all take more than this; empty: never"
    )
    export_retention_max_age_s: Annotated[Annotated[float, Field(gt=0)] | None, BeforeValidator(_none_if_empty)] = (
        Field(None, description="exports in ROOMHAND_EXPORTS_DIR are deleted so long after their end; empty: never")
    )
    export_retention_max_bytes: Annotated[Annotated[int, Field(ge=0)] | None, BeforeValidator(_none_if_empty)] = Field(
        None, description="the oldest exports there are deleted while all take more than this; empty: never"
    )
    host: str = Field("127.0.0.1", description="address `serve` listens on")
    port: Annotated[int, Field(ge=0, le=65535)] = Field(8080, description="port `serve` listens on; 0 for any free one")
    log_format: Literal["auto", "json", "console"] = Field("auto", description="log lines: json, console, auto")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="least severe line logged")
    drain_timeout_s: Annotated[float, Field(ge=1, le=600)] = Field(
        20.0, description="how long `serve` lets rooms finish on SIGTERM"
    )

    @model_validator(mode="before")
    @classmethod
    def _empty_folder_is_none(cls, values: dict[str, Any]) -> dict[str, Any]:
        """As if it were not set; the current folder is `.`."""
        return {name: value for name, value in values.items() if value or not name.endswith("_dir")}

    @property
    def export_database(self) -> Path:
        """The embedded export queue's file."""
        return self.state_dir / "exports.sqlite"

    @property
    def has_server(self) -> bool:
        """Whether all three LIVEKIT_ variables are set."""
        return bool(self.livekit_url and self.livekit_api_key and self.livekit_api_secret.get_secret_value())

    def credentials(self) -> Credentials:
        """The LiveKit server to use; InvalidSettings names what is missing."""
        missing = [
            name
            for name, value in (
                ("LIVEKIT_URL", self.livekit_url),
                ("LIVEKIT_API_KEY", self.livekit_api_key),
                ("LIVEKIT_API_SECRET", self.livekit_api_secret.get_secret_value()),
            )
            if not value
        ]
        if missing:
            raise InvalidSettings(
                f"{', '.join(missing)} not set; point them at your LiveKit server, "
                "or start a local one with `roomhand server` and use what it prints"
            )
        return Credentials(self.livekit_url, self.livekit_api_key, self.livekit_api_secret.get_secret_value())


def load_settings() -> Settings:
    """The settings of this process; InvalidSettings names each bad one."""
    try:
        return Settings()
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(str(part) for part in item['loc'])}: {item['msg']}" for item in error.errors())
        raise InvalidSettings(f"invalid settings: {problems}") from error
    except UnicodeDecodeError as error:
        raise InvalidSettings(".env is no UTF-8 text; write it as NAME=value lines, or move it away") from error
