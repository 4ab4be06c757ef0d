"""Take an image from a running Docker, Podman or other daemon that speaks Docker's API (``DOCKER_HOST``).

The daemon streams what ``docker save`` would write, whether it keeps images itself or in containerd; that goes the
way of any archive, verified on its way into the store.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from provisioner.errors import NetworkError, NotFoundError
from provisioner.model.oci import Descriptor
from provisioner.oci.archive import ingest
from provisioner.oci.layout import choose
from provisioner.oci.reference import Reference
from provisioner.oci.store import Store

_HINT = "is the daemon running, and may you talk to it? DOCKER_HOST says where it is"


def fetch(reference: Reference, store: Store) -> Descriptor:
    """Copy a daemon's image into the store and return what it is; nothing is tagged.

    Raises NotFoundError when the daemon does not have it, NetworkError when there is no daemon.
    """
    with _daemon() as client:
        try:
            image = client.images.get(reference.familiar)
            stream = _Chunks(image.save(named=True))
            entries = ingest(stream, store, f"docker-daemon:{reference.familiar}")
        except _errors().ImageNotFound as error:
            raise NotFoundError(f"the Docker daemon has no image {reference.familiar}",
                                hint=f"docker pull {reference.familiar}") from error
        except (_errors().DockerException, OSError) as error:
            raise NetworkError(f"the Docker daemon failed: {error}", hint=_HINT) from error
    wanted = "" if reference.digest else reference.key
    return choose(entries, wanted, f"what the daemon sent for {reference.familiar}")


class _Chunks:
    """Chunks as a file to read from."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks, self._held = chunks, memoryview(b"")

    def read(self, size: int, /) -> bytes:
        while not self._held:
            chunk = next(self._chunks, None)
            if chunk is None:
                return b""
            self._held = memoryview(chunk)
        piece, self._held = self._held[:size], self._held[size:]
        return bytes(piece)


@contextmanager
def _daemon() -> Iterator[Any]:
    import docker  # slow to import, and rarely needed

    try:
        client = docker.from_env()
    except docker.errors.DockerException as error:
        raise NetworkError(f"no Docker daemon: {error}", hint=_HINT) from error
    try:
        yield client
    finally:
        client.close()


def _errors() -> Any:
    import docker.errors

    return docker.errors
