"""Take an image from a running Docker, Podman or other daemon that speaks Docker's API (``DOCKER_HOST``).

The daemon streams what ``docker save`` would write, whether it keeps images itself or in containerd; that goes the
way of any archive, verified on its way into the store.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

from provisioner.errors import NetworkError, NotFoundError
from provisioner.model.oci import Descriptor
from provisioner.oci.archive import ingest
from provisioner.oci.layout import choose
from provisioner.oci.reference import Reference
from provisioner.oci.store import Store

_HINT = "is the daemon running, and may you talk to it? DOCKER_HOST says where it is"
_CHUNK = 1 << 18


def fetch(reference: Reference, store: Store) -> Descriptor:
    """Copy a daemon's image into the store and return what it is; nothing is tagged.

    Raises NotFoundError when the daemon does not have it, NetworkError when there is no daemon.
    """
    with _daemon() as client, _exported(client, reference.familiar) as chunks:
        entries = ingest(_Readable(chunks), store, f"docker-daemon:{reference.familiar}")
    wanted = "" if reference.digest else reference.key
    return choose(entries, wanted, f"what the daemon sent for {reference.familiar}")


class _Readable:
    """Chunks as a file to read from."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks, self._held = chunks, memoryview(b"")

    def read(self, size: int, /) -> bytes:
        while not self._held:
            try:
                chunk = next(self._chunks, None)
            except OSError as error:  # what requests raises is an OSError, too
                raise NetworkError(f"the Docker daemon broke off: {error}", hint=_HINT) from error
            if chunk is None:
                return b""
            self._held = memoryview(chunk)
        piece, self._held = self._held[:size], self._held[size:]
        return bytes(piece)


@contextmanager
def _exported(client: Any, name: str) -> Iterator[Iterator[bytes]]:
    """Ask for an image's archive; the SDK's own call would leave the connection open when we stop halfway."""
    api = client.api
    url = f"{api.base_url}/v{api.api_version}/images/{quote(name, safe='/:@')}/get"
    try:
        answer = api.get(url, stream=True, timeout=api.timeout)
    except OSError as error:
        raise NetworkError(f"the Docker daemon failed: {error}", hint=_HINT) from error
    with answer:
        if answer.status_code == 404:
            raise NotFoundError(f"the Docker daemon has no image {name}", hint=f"docker pull {name}")
        if answer.status_code != 200:
            raise NetworkError(f"the Docker daemon answered {answer.status_code} for {name}: {answer.text[:200]}")
        yield answer.iter_content(_CHUNK)


@contextmanager
def _daemon() -> Iterator[Any]:
    host = os.environ.get("DOCKER_HOST") or "unix:///var/run/docker.sock"
    if host.startswith("unix://") and not Path(host.removeprefix("unix://")).exists():
        raise NetworkError(f"no Docker daemon: there is no {host}", hint=_HINT)
    import docker  # slow to import, and rarely needed

    try:
        client = docker.from_env()
        client.ping()
    except (docker.errors.DockerException, OSError) as error:
        raise NetworkError(f"no Docker daemon: {error}", hint=_HINT) from error
    try:
        yield client
    finally:
        client.close()
