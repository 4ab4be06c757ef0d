"""Data is found where the user put it first, then where it was installed."""

from __future__ import annotations

from pathlib import Path

import pytest

from provisioner import data
from provisioner.errors import NotFoundError


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("PROVISIONER_DATA", "PROVISIONER_CACHE", "XDG_CACHE_HOME", "XDG_STATE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def test_the_shipped_examples_are_found(home: Path) -> None:
    assert data.find("examples", "docker.yml").is_file()
    assert "minimal.yml" in data.listing("examples")


def test_the_users_file_wins(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = home / "config/provisioner/examples/docker.yml"
    mine.parent.mkdir(parents=True)
    mine.write_text("{}")
    assert data.find("examples", "docker.yml") == mine
    assert data.listing("examples")["docker.yml"] == mine
    chosen = home / "chosen/examples/docker.yml"
    chosen.parent.mkdir(parents=True)
    chosen.write_text("{}")
    monkeypatch.setenv("PROVISIONER_DATA", str(home / "chosen"))
    assert data.find("examples", "docker.yml") == chosen


def test_what_is_missing_says_where_it_was_sought(home: Path) -> None:
    with pytest.raises(NotFoundError, match="no examples/none") as caught:
        data.find("examples", "none.yml")
    assert "/etc/provisioner/examples/none.yml" in caught.value.hint


def test_directories_follow_xdg(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert data.cache_dir() == home / ".cache/provisioner"
    assert data.state_dir() == home / ".local/state/provisioner"
    monkeypatch.setenv("PROVISIONER_CACHE", str(home / "c"))
    monkeypatch.setenv("XDG_STATE_HOME", str(home / "s"))
    assert data.cache_dir() == home / "c"
    assert data.state_dir() == home / "s/provisioner"
