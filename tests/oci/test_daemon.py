"""Images from a daemon that speaks Docker's API."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from provisioner.errors import NetworkError, NotFoundError, ProvisionerError
from provisioner.model.platform import Platform
from provisioner.oci.sources import fetch
from provisioner.oci.store import PlatformError, Store
from tests.fakes.docker_api import docker_daemon
from tests.fakes.images import Images, docker_save, layer, tar_of

AMD64, ARM64 = Platform("amd64"), Platform("arm64")


@pytest.fixture
def socket() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:  # pytest's own paths are too long for a socket
        yield Path(folder) / "docker.sock"


def use(monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    monkeypatch.setenv("DOCKER_HOST", host)


def test_the_classic_daemon(store: Store, socket: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = docker_save([(["acme/x:1"], "amd64", [layer("a", 30_000)])])
    with docker_daemon(socket, {"acme/x:1": archive}) as host:
        use(monkeypatch, host)
        found = fetch("docker-daemon:acme/x:1", AMD64, store)
        assert store.read(store.image(found, AMD64).layers[0]) == layer("a", 30_000)
        with pytest.raises(PlatformError, match="it has linux/amd64"):
            fetch("docker-daemon:acme/x:1", ARM64, store)
        with pytest.raises(NotFoundError, match="has no image acme/y:1") as caught:
            fetch("docker-daemon:acme/y:1", AMD64, store)
    assert caught.value.hint == "docker pull acme/y:1"
    assert store.references() == {}


def test_the_daemon_that_keeps_images_in_containerd(store: Store, socket: Path,
                                                    monkeypatch: pytest.MonkeyPatch) -> None:
    made = Images()
    made.name(made.index([made.manifest(arch, [layer(arch)]) for arch in ("amd64", "arm64")]),
              "docker.io/library/x:latest")
    with docker_daemon(socket, {"x:latest": tar_of(made.files())}) as host:
        use(monkeypatch, host)
        assert store.complete(fetch("docker-daemon:x", ARM64, store), ARM64)


def test_the_daemon_first_then_the_store(store: Store, socket: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = docker_save([(["acme/x:1"], "amd64", [layer("a")])])
    with docker_daemon(socket, {"acme/x:1": archive}) as host:
        use(monkeypatch, host)
        found = fetch("acme/x:1", AMD64, store, docker=True)
        store.tag("acme/y:1", found)
        assert fetch("acme/y:1", AMD64, store, docker=True) == found


def test_nobody_there(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, "unix:///nowhere/docker.sock")
    with pytest.raises(NetworkError, match="no Docker daemon") as caught:
        fetch("docker-daemon:x", AMD64, store)
    assert "DOCKER_HOST" in caught.value.hint


def test_a_daemon_that_dies(store: Store, socket: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = docker_save([(["acme/x:1"], "amd64", [layer("a", 100_000)])])
    with docker_daemon(socket, {"acme/x:1": archive}, broken=True) as host:
        use(monkeypatch, host)
        with pytest.raises(ProvisionerError, match="daemon"):
            fetch("docker-daemon:acme/x:1", AMD64, store)
    assert list((store.root / "ingest").iterdir()) == []
