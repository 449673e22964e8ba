"""Settings as people write them into environments and env files."""

from pathlib import Path

import pytest

from agent import load_settings
from agent.errors import InvalidSettings


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))


def test_a_folder_that_is_left_empty_is_not_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    for name in ("STATE_DIR", "RECORDINGS_DIR"):
        monkeypatch.setenv(f"ROOMHAND_{name}", "")
    settings = load_settings()
    assert settings.state_dir == tmp_path / "state" / "roomhand"
    assert settings.recordings_dir == Path("recordings")


def test_the_home_folder_is_found_in_an_env_file(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("ROOMHAND_RECORDINGS_DIR=~/recs\n")
    assert load_settings().recordings_dir == tmp_path / "home" / "recs"


def test_an_empty_limit_is_none_whatever_an_env_file_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".env").write_text("ROOMHAND_RETENTION_MAX_AGE_S=60\n")
    assert load_settings().retention_max_age_s == 60
    monkeypatch.setenv("ROOMHAND_RETENTION_MAX_AGE_S", "")
    assert load_settings().retention_max_age_s is None


def test_what_makes_no_sense_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROOMHAND_PORT", "eighty")
    with pytest.raises(InvalidSettings, match="port"):
        load_settings()
