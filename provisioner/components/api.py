"""What other rooms and the command line ask of components."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

import provisioner.components.lock as lock
import provisioner.components.recipe as recipe
from provisioner import data
from provisioner.archive import tar
from provisioner.components.build import Builder
from provisioner.components.lock import Change, Locked
from provisioner.errors import NotFoundError
from provisioner.model.event import Sink, discard
from provisioner.model.oci import Descriptor
from provisioner.model.platform import Platform
from provisioner.model.tree import Kind
from provisioner.oci.store import Store

BOOTLOADERS = "ipxe"


def build(name: str, platform: Platform, store: Store, *, locked: bool = False, sink: Sink = discard) -> Descriptor:
    """Return the manifest of component ``name`` for ``platform``, built if the store has not got it.

    ``locked`` makes packages other than the locked ones an error, where else their successors are taken with a
    warning event. Raises NotFoundError, StaleLockError, NetworkError, DigestError, DeviceError, InputError.
    """
    return Builder(store, locked=locked, sink=sink).build(name, platform)


def exists(name: str) -> bool:
    """Whether there is a component of that name."""
    return name in recipe.names()


def listing() -> dict[str, str]:
    """Return every component's name and what it is."""
    return {name: recipe.load(name).recipe.summary for name in recipe.names()}


def update(chosen: Sequence[str] = (), *, move: bool = False, store: Store, sink: Sink = discard) -> list[Change]:
    """Lock the components ``chosen`` (all when empty) and return what changed in the lock file.

    Without ``move`` only what is missing, or was locked for an earlier recipe, is resolved; with it all moves on to
    the newest packages.
    """
    old = lock.load()
    new = {name: locked for name, locked in old.items() if name in recipe.names()}
    builder = Builder(store, sink=sink)
    for name in chosen or recipe.names():
        component = recipe.load(name)
        arches = [Platform.parse(_oci(arch)) for arch in component.recipe.arches]
        known = old.get(name)
        fits = known is not None and known.recipe == component.selection()
        if move or not fits or set(known.packages if known else ()) != set(component.recipe.arches):
            packages = {arch.debian: builder.resolve(component, arch, fresh=move) for arch in arches}
            new[name] = Locked(component.recipe.suite, component.selection(), packages)
    changed = list(lock.changes(old, new))
    lock.save(new)
    return changed


def bootloaders(store: Store, names: Iterable[str] = (), *, locked: bool = False,
                sink: Sink = discard) -> dict[str, Path]:
    """Return the first-stage boot loaders as files in the cache, by name: ``undionly.kpxe``, ``ipxe-arm64.efi``, ….

    ``names`` chooses some and must be there. They come from the component ``ipxe``, for every architecture at once.
    """
    made = build(BOOTLOADERS, Platform("amd64"), store, locked=locked, sink=sink)
    image = store.image(made, Platform("amd64"), BOOTLOADERS)
    folder = data.cache_dir() / "bootloaders" / made.hex
    if not folder.is_dir():
        _extract(store, image.layers[0], folder)
    found = {path.name: path for path in sorted(folder.iterdir())}
    if missing := sorted(set(names) - set(found)):
        raise NotFoundError(f"no boot loader {', '.join(missing)}", hint=f"there are {', '.join(found)}")
    return found


def _extract(store: Store, layer: Descriptor, folder: Path) -> None:
    """Write the files below ``usr/lib/ipxe/`` into ``folder``, which appears whole or not at all."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        whole = Path(scratch) / "whole"
        whole.mkdir(mode=0o755)
        with store.open(layer) as stream:
            for entry in tar.read(stream, layer.digest):
                if entry.path.startswith("usr/lib/ipxe/") and entry.kind is Kind.FILE:
                    with (whole / entry.path.rpartition("/")[2]).open("wb") as target:
                        target.writelines(entry.content)
        if not folder.exists():
            whole.rename(folder)


def _oci(debian: str) -> str:
    return {"armhf": "arm", "i386": "386"}.get(debian, debian)
