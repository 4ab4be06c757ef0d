"""What the tests of this room share: a store of their own and the user's configuration kept out."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from provisioner.http import Client
from provisioner.oci import sources
from provisioner.oci.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


@pytest.fixture(autouse=True)
def no_user_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither read the credentials of whoever runs the tests, nor write to their cache."""
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    for name in ("REGISTRY_AUTH_FILE", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "DOCKER_CONFIG", "PROVISIONER_MIRROR",
                 "XDG_CACHE_HOME", "PROVISIONER_CACHE", "DOCKER_HOST"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retries come at once."""
    monkeypatch.setattr(sources, "Client", partial(Client, wait=lambda _: None))
