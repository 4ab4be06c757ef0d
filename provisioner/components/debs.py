"""Packages on this machine: fetched once, verified by sha256, shared by all users of one cache.

The cache is a store of blobs like that of the images: a broken transfer goes on where it stopped, two processes that
want the same package fetch it once, and nothing half-written counts.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from provisioner import data
from provisioner.components.apt import Mirror, Package
from provisioner.errors import DigestError, NotFoundError
from provisioner.http import Client
from provisioner.model.event import Event, Sink, discard
from provisioner.model.oci import Descriptor
from provisioner.oci.blobs import Blobs, BlobWriter

_CHUNK = 1 << 18


class GoneError(NotFoundError):
    """The mirror no longer has the package: a newer version took its place."""

    def __init__(self, package: Package) -> None:
        self.package = package
        super().__init__(f"the mirror no longer has {package.name} {package.version}",
                         hint="provisioner component lock --update moves on to its successor")


class Debs:
    """The package cache below ``root``. ``source`` tells the mirror, and is asked only when one must be fetched."""

    def __init__(self, source: Callable[[], Mirror], *, root: Path | None = None, sink: Sink = discard,
                 client: Client | None = None) -> None:
        self._source, self._sink = source, sink
        self._client = client or Client(sink=sink)
        root = root or data.cache_dir() / "debs"
        for folder in ("blobs/sha256", "ingest"):
            (root / folder).mkdir(parents=True, exist_ok=True)
        self._blobs = Blobs(root)

    def fetch(self, package: Package) -> Path:
        """Return a package's path, fetched if need be. Raises GoneError, NetworkError, DigestError, DeviceError."""
        wanted = Descriptor("application/vnd.debian.binary-package", f"sha256:{package.sha256}", package.size)
        if not self._blobs.has(wanted.digest):
            with self._blobs.writer(wanted, resume=True) as blob:
                if not blob.complete:
                    self._download(package, blob)
        return self._blobs.path(wanted.digest)

    def fetch_all(self, packages: Iterable[Package]) -> dict[str, Path]:
        """Fetch several packages and return their paths by name."""
        return {package.name: self.fetch(package) for package in packages}

    def _download(self, package: Package, blob: BlobWriter) -> None:
        self._sink(Event("components", "fetch", package.name, detail=package.version, time=time.time(),
                         monotonic=time.monotonic(), data={"size": package.size}))
        url = self._source().url(package.path)
        try:
            if urlsplit(url).scheme in ("file", "copy"):
                _copy(Path(unquote(urlsplit(url).path)), blob)
            else:
                self._client.download(quote(url, safe=":/%"), blob.write, offset=blob.offset, size=package.size)
        except (NotFoundError, FileNotFoundError) as gone:
            raise GoneError(package) from gone
        try:
            blob.verify()
        except DigestError as wrong:
            raise DigestError(f"{package.name} {package.version} from the mirror is not what the lock names: "
                              f"{wrong.message}", hint="a caching proxy may be stale; try again, and mistrust the "
                                                       "mirror if it stays") from wrong


def _copy(path: Path, blob: BlobWriter) -> None:
    with path.open("rb") as stream:
        stream.seek(blob.offset)
        while chunk := stream.read(_CHUNK):
            blob.write(chunk)
