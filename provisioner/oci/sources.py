"""Where images come from, by the form of their name.

    acme/tool:1                 a registry (or the store, when it has it)
    docker-archive:FILE[:REF]   what docker save wrote
    oci-archive:FILE[:REF]      an OCI layout in a tar
    oci:DIRECTORY[:REF]         an OCI layout
    docker-daemon:REF           a running daemon

``REF`` chooses among several images. What comes from files and daemons is not tagged in the store: their metadata
must not decide what a name means here; ``provisioner cache import`` does that when the user wants it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

from provisioner.errors import AuthError, DigestError, InputError, NetworkError, NotFoundError
from provisioner.http import Client
from provisioner.model.event import Event, Sink, discard
from provisioner.model.oci import Descriptor
from provisioner.model.platform import Platform
from provisioner.oci import daemon
from provisioner.oci.archive import ingest
from provisioner.oci.auth.credentials import Finder
from provisioner.oci.layout import Layout, choose
from provisioner.oci.manifest import PULLED, ManifestError
from provisioner.oci.pull import pull as pull_image
from provisioner.oci.reference import Reference
from provisioner.oci.registry import Registry
from provisioner.oci.settings import Settings
from provisioner.oci.store import PlatformError, Store


def fetch(reference: str, platform: Platform, store: Store, *, pull: bool = False, docker: bool = False,
          settings: Settings | None = None, sink: Sink = discard) -> Descriptor:
    """Make the image for ``platform`` complete in the store and return what ``reference`` stands for.

    ``pull`` asks the registry even when the store has the image; ``docker`` asks the Docker daemon first. Raises
    NotFoundError, PlatformError (which platforms there are), AuthError, NetworkError, DigestError, ManifestError.
    """
    kind, colon, rest = reference.partition(":")
    if colon and kind in _OPENERS:
        found = replace(_OPENERS[kind](rest, platform, store, sink), annotations=())
        _check(found, platform, store, reference)
        return found
    wanted = Reference.parse(reference)
    if docker and (there := _in_daemon(wanted, platform, store)) is not None:
        return there
    if not pull:
        kept = store.lookup(wanted)
        if kept is not None and _complete(kept, platform, store, wanted):
            _warn_of_another(kept, platform, store, wanted, sink)
            return kept
        if kept is not None:  # another platform of it was fetched before: stay with that very version
            wanted = replace(wanted, digest=kept.digest)
    return _from_registry(wanted, platform, store, settings or Settings.load(), sink)


def _complete(kept: Descriptor, platform: Platform, store: Store, wanted: Reference) -> bool:
    try:
        # A registry says what it has; only a manifest that the user brought in may serve another platform.
        return store.complete(kept, platform, wanted.familiar, strict=PULLED in kept.annotations)
    except PlatformError as error:
        raise PlatformError(error.message, hint="that is what the store has; --pull asks the registry") from error
    except DigestError:
        return False  # it is in quarantine now, and fetched anew


def _warn_of_another(kept: Descriptor, platform: Platform, store: Store, wanted: Reference, sink: Sink) -> None:
    """Say aloud that an image the user brought in, and that stands alone, is for another platform."""
    actual = store.image(kept, platform).platform
    if not actual.matches(platform):
        sink(Event("oci", "warning", str(wanted), time=time.time(), monotonic=time.monotonic(),
                   detail=f"this image for {actual} is used for {platform} all the same, as it came without an "
                   "index that lists platforms"))


def _check(found: Descriptor, platform: Platform, store: Store, reference: str) -> None:
    if not store.complete(found, platform, reference, strict=True):
        raise NotFoundError(f"{reference} is not complete for {platform}")


def _in_daemon(wanted: Reference, platform: Platform, store: Store) -> Descriptor | None:
    """Return the daemon's image, or None when it does not have it: then the usual way is gone."""
    try:
        found = replace(daemon.fetch(wanted, store), annotations=())
        return found if store.complete(found, platform, wanted.familiar, strict=True) else None
    except NotFoundError:
        return None


def _from_registry(wanted: Reference, platform: Platform, store: Store, settings: Settings,
                   sink: Sink) -> Descriptor:
    """Ask the mirrors in turn, then the registry itself, whose error counts."""
    *mirrors, own = settings.endpoints(wanted.registry)
    finder = Finder()
    with Client(sink=sink) as client:
        def ask(endpoint: str) -> Descriptor:
            return _from_endpoint(Registry(wanted, endpoint, client, settings, finder), wanted, platform, store, sink)

        for mirror in mirrors:
            try:
                return ask(mirror)
            except PlatformError:
                raise
            except (NetworkError, NotFoundError, AuthError, DigestError, ManifestError) as error:
                sink(Event("oci", "mirror-failed", str(wanted), detail=f"{mirror}: {error.message}",
                           time=time.time(), monotonic=time.monotonic()))
        try:
            return ask(own)
        except NetworkError as error:
            raise NetworkError(f"cannot pull {wanted.familiar}: {error.message}", hint=error.hint or
                               "offline? `provisioner cache import FILE` brings images in") from error


def _from_endpoint(registry: Registry, wanted: Reference, platform: Platform, store: Store,
                   sink: Sink) -> Descriptor:
    descriptor, content = registry.resolve()
    store.put(content, descriptor.media_type)
    pull_image(registry, descriptor, platform, store, name=wanted.familiar, sink=sink)
    store.tag(wanted, replace(descriptor, annotations=(PULLED,)))
    return descriptor


def _archive(rest: str, _platform: Platform, store: Store, _sink: Sink) -> Descriptor:
    path, wanted = _split(rest)
    with open_file(path) as file:
        return choose(ingest(file, store, str(path)), wanted, str(path))


def _directory(rest: str, platform: Platform, store: Store, sink: Sink) -> Descriptor:
    path, wanted = _split(rest)
    layout = Layout(path)
    found = layout.find(wanted)
    pull_image(layout, found, platform, store, name=wanted or str(path), sink=sink)
    return found


def _running(rest: str, _platform: Platform, store: Store, _sink: Sink) -> Descriptor:
    return daemon.fetch(Reference.parse(rest), store)


_OPENERS: dict[str, Callable[[str, Platform, Store, Sink], Descriptor]] = {
    "docker-archive": _archive, "oci-archive": _archive, "oci": _directory, "docker-daemon": _running}


@contextmanager
def open_file(path: Path) -> Iterator[BinaryIO]:
    """Open a regular file or pipe for reading; raise NotFoundError or InputError naming it."""
    try:
        with path.open("rb") as file:
            yield file
    except FileNotFoundError as error:
        raise NotFoundError(f"no file {path}") from error
    except (IsADirectoryError, PermissionError) as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error


def _split(rest: str) -> tuple[Path, str]:
    """Take ``PATH[:REF]`` apart; a path with colons wins when there is such a file."""
    if Path(rest).exists():
        return Path(rest), ""
    path, _, wanted = rest.partition(":")
    return Path(path), wanted
