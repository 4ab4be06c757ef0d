"""From a component's name to its image in the store: locked packages, selection, contents, image.

The image is tagged twice: ``docker.io/provisioner/<name>:latest`` names an index over the platforms that were built
last, and ``:<arch>-<key>`` each image by the sha256 over all that made it, so that an old lock finds its images again
without a mirror.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Protocol

import provisioner.components.apt as apt
import provisioner.components.contents as contents
import provisioner.components.image as image
import provisioner.components.lock as lock
import provisioner.components.recipe as recipe
from provisioner import data
from provisioner.components.apt import AptRoot, Mirror, Package
from provisioner.components.debs import Debs, GoneError
from provisioner.components.kernel import kernel_entries
from provisioner.components.lock import Locked
from provisioner.components.pool import Pool
from provisioner.components.recipe import Component, Recipe
from provisioner.components.select import Selection, Selector, matching
from provisioner.errors import NotFoundError, ProvisionerError
from provisioner.model.event import Event, Sink, discard
from provisioner.model.oci import Descriptor
from provisioner.model.platform import Platform
from provisioner.model.tree import Entry
from provisioner.oci.store import Store

BUILDER = 1
"""Rises whenever this code makes another image from the same recipe and packages."""

REPOSITORY = "docker.io/provisioner"


class StaleLockError(ProvisionerError):
    """The lock does not fit the recipe or the mirror, and may not be changed."""

    kind = "stale-lock"


class Index(Protocol):
    """What knows the packages of a suite: `AptRoot`."""

    def resolve(self, packages: Sequence[str], *, fresh: bool = False) -> list[Package]:
        """Return packages and all they depend on."""


def apt_index(suite: str, arch: str, source: Mirror, sink: Sink) -> Index:
    """Return apt's own view of a suite."""
    return AptRoot(suite, arch, source=source, sink=sink)


class Builder:
    """Builds components into one store. ``locked`` forbids packages that the lock does not name.

    ``source`` finds the mirror and ``index`` its packages; both are asked only when the lock and the cache do not do.
    """

    def __init__(self, store: Store, *, locked: bool = False, sink: Sink = discard,
                 source: Callable[[], Mirror] = apt.mirror,
                 index: Callable[[str, str, Mirror, Sink], Index] = apt_index) -> None:
        self.store, self.locked, self.sink, self._source, self._index = store, locked, sink, source, index
        self._debs = Debs(source, sink=sink)
        self._scratch = data.cache_dir() / "tmp"

    def build(self, name: str, platform: Platform) -> Descriptor:
        """Return the image of ``name`` for ``platform``, from the store when it was built before.

        Raises NotFoundError for an unknown component, platform or package, StaleLockError with ``locked``, and what
        the network and the disk have to say.
        """
        component = recipe.load(name)
        if not component.supports(platform):
            raise NotFoundError(f"the component {name} is not made for {platform}",
                                hint=f"it is made for {', '.join(component.recipe.arches)}")
        packages = self._locked_packages(component, platform)
        try:
            return self._image(component, platform, packages)
        except GoneError as gone:
            return self._image(component, platform, self._successors(component, platform, packages, gone))

    def resolve(self, component: Component, platform: Platform, *, fresh: bool = False) -> tuple[Package, ...]:
        """Return the packages that contribute to the image, newest versions, whatever the lock says."""
        wanted = component.recipe.for_arch(platform)
        if not wanted.packages:
            return ()
        root = self._index(wanted.suite, platform.debian, self._source(), self.sink)
        candidates = {package.name: package for package in root.resolve(wanted.packages, fresh=fresh)}
        paths = self._debs.fetch_all(candidates.values())
        with Pool(self._scratch) as pool:
            for package in candidates.values():
                pool.add(package, paths[package.name])
            chosen = _contributors(wanted, platform, pool)
        return tuple(sorted(candidates[package] for package in chosen))

    def _locked_packages(self, component: Component, platform: Platform) -> tuple[Package, ...]:
        if not component.recipe.for_arch(platform).packages:
            return ()
        found = lock.load().get(component.name)
        if found and found.recipe == component.selection() and platform.debian in found.packages:
            return found.packages[platform.debian]
        why = "was locked for another recipe" if found else "is not in the lock"
        self._refuse(f"{component.name} {why}", f"provisioner component lock {component.name}")
        return self.resolve(component, platform)

    def _successors(self, component: Component, platform: Platform, packages: Iterable[Package],
                    gone: GoneError) -> tuple[Package, ...]:
        newer = self.resolve(component, platform, fresh=True)
        old, new = Locked("", "", {platform.debian: tuple(packages)}), Locked("", "", {platform.debian: newer})
        moved = "; ".join(map(str, lock.changes({component.name: old}, {component.name: new})))
        if not moved:
            raise gone
        self._refuse(f"{gone.message}; its successor is there: {moved}",
                     f"provisioner component lock --update {component.name}")
        return newer

    def _refuse(self, why: str, remedy: str) -> None:
        """Raise when the lock is binding, else warn."""
        if self.locked:
            raise StaleLockError(why, hint=remedy)
        self.sink(Event("components", "warning", detail=f"{why} (to keep it: {remedy})", time=time.time(),
                        monotonic=time.monotonic()))

    def _image(self, component: Component, platform: Platform, packages: Iterable[Package]) -> Descriptor:
        packages = sorted(packages)
        reference = f"{REPOSITORY}/{component.name}"
        key = cache_key(component, platform, packages)
        tag = f"{reference}:{platform.architecture}-{key[:24]}"
        made = self.store.lookup(tag)
        if made is None or not self.store.complete(made, platform):
            made = self._make(component, platform, packages)
            self.store.tag(tag, made)
        image.publish(f"{reference}:latest", replace(made, platform=platform), self.store)
        return made

    def _make(self, component: Component, platform: Platform, packages: list[Package]) -> Descriptor:
        start = time.monotonic()
        self.sink(Event("components", "build", component.name, detail=str(platform), time=time.time(),
                        monotonic=start))
        paths = self._debs.fetch_all(packages)
        wanted = component.recipe.for_arch(platform)
        with Pool(self._scratch) as pool:
            for package in packages:
                pool.add(package, paths[package.name])
            selection = Selector(pool, platform.debian).select(wanted)
            entries: list[Entry] = contents.assemble(component, wanted, pool, selection, pool.control)
            if wanted.kernel:
                entries = sorted([*entries, *kernel_entries(wanted.kernel, pool)], key=lambda entry: entry.path)
            labels = image.labels(component.name, wanted, {package.name: package.version for package in packages})
            made = image.write(wanted, platform, entries, labels, self.store)
        self.sink(Event("components", "built", component.name, detail=f"{platform} {made.digest}", time=time.time(),
                        monotonic=time.monotonic(), data={"seconds": time.monotonic() - start}))
        return made


def cache_key(component: Component, platform: Platform, packages: Iterable[Package]) -> str:
    """Return the sha256 over everything that an image is made from."""
    parts = [BUILDER, str(platform), component.key(), sorted(package.sha256 for package in packages)]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _contributors(wanted: Recipe, platform: Platform, pool: Pool) -> set[str]:
    selection: Selection = Selector(pool, platform.debian).select(wanted)
    chosen = set(selection.packages)
    if wanted.kernel:
        chosen |= {pool.files[path].package for path in matching(wanted.kernel.image, pool.files)}
    for package in list(chosen):
        if licence := contents.licence_of(pool, package):
            chosen.add(licence.package)
    return chosen
