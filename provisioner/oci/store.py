"""The store of images: an OCI image layout that any tool can read (``skopeo inspect oci:DIR:NAME``).

``index.json`` maps full reference names to manifests or indexes; it is replaced whole, under the store's lock.
A reference may lead to an index of which only some platforms' content is there.
"""

from __future__ import annotations

import json
import os
import stat
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from provisioner import data
from provisioner.errors import DeviceError, DigestError, NotFoundError, RefusedError
from provisioner.model.oci import INDEX, Descriptor, Image
from provisioner.model.platform import Platform
from provisioner.oci import manifest as documents
from provisioner.oci.blobs import STALE, Blobs, disk_errors, write_whole
from provisioner.oci.reference import Reference

_VERSION = "1.0.0"
_PREFERRED_VARIANT = {"arm": "v7", "arm64": "v8"}


class PlatformError(NotFoundError):
    """An image is there, but not for the platform asked for."""

    kind = "platform"


@dataclass(frozen=True, slots=True)
class Pruned:
    """What ``prune`` removed: digests with their sizes, and the bytes of abandoned temporary and corrupt files."""

    blobs: tuple[tuple[str, int], ...]
    leftovers: int

    @property
    def freed(self) -> int:
        """Bytes freed in all."""
        return self.leftovers + sum(size for _, size in self.blobs)


class Store(Blobs):
    """The store below ``root`` (default: ``oci`` in the cache directory), made when it is not there.

    Raises RefusedError when others could have tampered with it or a newer layout version made it, and DeviceError
    when it cannot be written.
    """

    def __init__(self, root: Path | None = None) -> None:
        super().__init__((root or data.cache_dir() / "oci").absolute())
        self._index = self.root / "index.json"
        with disk_errors(self.root, 0):
            for folder in (self._folder, self._ingest):
                folder.mkdir(parents=True, exist_ok=True)
        _check_owner(self.root)
        marker = self.root / "oci-layout"
        if marker.exists():
            _check_version(marker)
        else:
            write_whole(marker, documents.compact_json({"imageLayoutVersion": _VERSION}), self._ingest)

    def tag(self, reference: str | Reference, descriptor: Descriptor) -> None:
        """Let ``reference`` name what ``descriptor`` describes; an older meaning is replaced."""
        self.tag_all({str(reference): descriptor})

    def tag_all(self, named: Mapping[str, Descriptor]) -> None:
        """Tag several at once: all of them or, should the power fail, none."""
        keyed = {_key(reference): descriptor for reference, descriptor in named.items()}
        with self.locked(exclusive=True):
            self._retag(keyed)

    def tag_if(self, reference: str | Reference, descriptor: Descriptor, *, was: Descriptor | None) -> bool:
        """Tag only while ``reference`` still means ``was`` (None: nothing); return whether that was so.

        For those who make the new meaning from the old one: when it is False, look up and try again.
        """
        key = _key(reference)
        with self.locked(exclusive=True):
            now = [entry for entry in self._entries() if _name(entry) == key]
            if (now[0]["digest"] if now else None) != (was.digest if was else None):
                return False
            self._retag({key: descriptor})
            return True

    def untag(self, reference: str | Reference) -> bool:
        """Forget a reference (its content stays until pruned); return whether it was there."""
        key = _key(reference)
        with self.locked(exclusive=True):
            entries = self._entries()
            kept = [entry for entry in entries if _name(entry) != key]
            if len(kept) != len(entries):
                self._write_entries(kept)
            return len(kept) != len(entries)

    def lookup(self, reference: str | Reference) -> Descriptor | None:
        """Return what a reference names, or None; a reference with a digest names any blob that has it."""
        parsed = reference if isinstance(reference, Reference) else Reference.parse(reference)
        found = self.references().get(parsed.key)
        if found is None and parsed.digest:
            return self._by_digest(parsed.digest)
        return found

    def references(self) -> dict[str, Descriptor]:
        """Return every name with what it stands for, by name."""
        found = {}
        for entry in self._entries():
            if name := _name(entry):
                descriptor = documents.descriptor_from_json(entry, f"{name} in {self._index}")
                found[name] = replace(descriptor, annotations=_marks(descriptor))
        return dict(sorted(found.items()))

    def select(self, descriptor: Descriptor, platform: Platform, reference: str = "") -> Descriptor:
        """Return the manifest for ``platform`` that ``descriptor`` (a manifest or index) leads to.

        Raises PlatformError saying which platforms there are, NotFoundError when a nested index is not in the store.
        """
        if descriptor.media_type not in documents.INDEXES:
            return descriptor
        leaves = list(self.manifests(descriptor))
        fitting = [leaf for leaf in leaves if leaf.platform is None or leaf.platform.matches(platform)]
        if not fitting:
            raise wrong_platform(reference or descriptor.digest, platform, [leaf.platform for leaf in leaves])
        return min(fitting, key=lambda leaf: _fitness(leaf.platform, platform))

    def image(self, descriptor: Descriptor, platform: Platform, reference: str = "", *,
              strict: bool = False) -> Image:
        """Resolve a manifest or index to the image for ``platform``; only manifests and config are read.

        A manifest that stands alone, without an index that says what it is for, is taken as it is, as LinuxKit
        does; the image's ``platform`` is the true one, and with ``strict`` another than was asked for is an error.
        Every blob of the image gets a new grace period. Raises PlatformError, NotFoundError when manifest or config
        are not in the store, ManifestError and DigestError.
        """
        chosen = self.select(descriptor, platform, reference)
        parsed = documents.parse_manifest(self.read(chosen), chosen)
        config = documents.parse_config(self.read(parsed.config), parsed.config.digest)
        actual = documents.config_platform(config) or chosen.platform or platform
        if not actual.matches(platform) and (strict or chosen is not descriptor):
            raise wrong_platform(reference or chosen.digest, platform, [actual])
        for part in (descriptor, chosen, parsed.config, *parsed.layers):
            self.has(part.digest)
        return Image(reference or chosen.digest, actual, chosen, parsed.layers, config)

    def complete(self, descriptor: Descriptor, platform: Platform, reference: str = "", *,
                 strict: bool = False) -> bool:
        """Whether all of the image for ``platform`` is there; raises PlatformError as ``image`` does."""
        try:
            image = self.image(descriptor, platform, reference, strict=strict)
        except PlatformError:
            raise
        except NotFoundError:
            return False
        return all(self.has(layer.digest) for layer in image.layers)

    def manifests(self, descriptor: Descriptor, depth: int = documents.DEPTH) -> Iterator[Descriptor]:
        """Yield the image manifests below a manifest or index, in order; raise ManifestError when nested too deep."""
        if descriptor.media_type not in documents.INDEXES:
            yield descriptor
            return
        if depth == 0:
            raise documents.ManifestError(f"indexes are nested more than {documents.DEPTH} deep at "
                                          f"{descriptor.digest}")
        for child in documents.parse_index(self.read(descriptor), descriptor):
            yield from self.manifests(child, depth - 1)

    def platforms(self, descriptor: Descriptor) -> tuple[Platform, ...]:
        """Return the platforms that a manifest or index is for, whether or not their content is here."""
        found = []
        for leaf in self.manifests(descriptor):
            platform = leaf.platform
            if platform is None and self.has(leaf.digest):
                config = documents.parse_manifest(self.read(leaf), leaf).config
                platform = documents.config_platform(documents.parse_config(self.read(config), config.digest))
            found.append(platform or Platform(""))
        return tuple(dict.fromkeys(found))

    def prune(self, *, grace: float = STALE, dry_run: bool = False, forget: bool = False) -> Pruned:
        """Remove blobs that no reference leads to and nobody has written or asked for within ``grace`` seconds.

        ``forget`` drops every reference first. Safe beside builds: they renew the grace period of what they use.
        Raises DigestError, and removes nothing, when a manifest on the way cannot be read.
        """
        with self.locked(exclusive=True):
            used = set() if forget else set(self._reachable())
            if forget and not dry_run:
                self._write_entries([])
            removed = []
            for path in sorted(self._folder.iterdir()):
                status = path.stat()
                if path.name not in used and time.time() - status.st_mtime >= grace:
                    removed.append((f"sha256:{path.name}", status.st_size))
                    if not dry_run:
                        path.unlink()
        leftovers = 0 if dry_run else self.sweep(grace) + self._empty_quarantine(grace)
        return Pruned(tuple(removed), leftovers)

    def _reachable(self) -> Iterator[str]:
        for descriptor in self.references().values():
            yield from (part.hex for part in self.parts(descriptor))

    def parts(self, descriptor: Descriptor, depth: int = documents.DEPTH + 1) -> Iterator[Descriptor]:
        """Yield a manifest or index and all that it leads to and the store holds of it, itself first."""
        if not self.path(descriptor.digest).exists():
            return
        yield descriptor
        if descriptor.media_type in documents.INDEXES + documents.MANIFESTS and depth:
            for part in documents.parse_parts(self.read(descriptor), descriptor):
                yield from self.parts(part, depth - 1)

    def _empty_quarantine(self, age: float) -> int:
        freed = 0
        for path in self._quarantine.glob("*"):
            status = path.stat()
            if time.time() - status.st_mtime >= age:
                path.unlink()
                freed += status.st_size
        return freed

    def _by_digest(self, digest: str) -> Descriptor | None:
        path = self.path(digest)
        if not path.exists() or path.stat().st_size > documents.LIMIT:
            return None
        content = self.read(Descriptor("", digest, path.stat().st_size))
        return Descriptor(documents.media_type_of(content, digest), digest, len(content))

    def _entries(self) -> list[dict[str, Any]]:
        try:
            raw = json.loads(self._index.read_bytes())
            entries = raw["manifests"]
        except FileNotFoundError:
            return []
        except OSError as error:
            raise DeviceError(f"cannot read {self._index}: {error.strerror}") from error
        except (ValueError, KeyError, TypeError) as error:
            raise DigestError(f"{self._index} is damaged: {error}",
                              hint="remove it; the images are fetched or imported anew") from error
        return [entry for entry in entries if isinstance(entry, dict)]

    def _retag(self, keyed: Mapping[str, Descriptor]) -> None:
        kept = [entry for entry in self._entries() if _name(entry) not in keyed]
        self._write_entries(kept + [
            documents.descriptor_to_json(replace(descriptor, annotations=documents.names(key) + _marks(descriptor)))
            for key, descriptor in keyed.items()])

    def _write_entries(self, entries: list[dict[str, Any]]) -> None:
        raw = {"schemaVersion": 2, "mediaType": INDEX, "manifests": sorted(entries, key=_name)}
        write_whole(self._index, documents.compact_json(raw), self._ingest)


def wrong_platform(name: str, wanted: Platform, there: list[Platform | None]) -> PlatformError:
    """Return the error for an image that is not there for ``wanted``."""
    known = ", ".join(dict.fromkeys(str(platform) for platform in there if platform)) or "no platform at all"
    return PlatformError(f"{name} has no image for {wanted}; it has {known}")


def _fitness(offered: Platform | None, wanted: Platform) -> int:
    """Rank an image that fits: the exact variant, no variant, the usual variant, any."""
    variant = offered.variant if offered else ""
    order = [wanted.variant, "", _PREFERRED_VARIANT.get(wanted.architecture, "")]
    return order.index(variant) if variant in order else len(order)


def _key(reference: str | Reference) -> str:
    return (reference if isinstance(reference, Reference) else Reference.parse(reference)).key


def _name(entry: dict[str, Any]) -> str:
    annotations = entry.get("annotations") or {}
    return str(annotations.get(documents.IMAGE_NAME) or annotations.get(documents.REF_NAME) or "")


def _check_owner(root: Path) -> None:
    status = root.stat()
    mine = status.st_uid == os.geteuid() or os.geteuid() == 0
    if not mine or status.st_mode & stat.S_IWOTH:
        why = "belongs to another user" if not mine else "can be written by everybody"
        raise RefusedError(f"the store {root} {why}", hint="its content could be anyone's; choose another directory "
                           "with PROVISIONER_CACHE, or change its owner and mode")


def _check_version(marker: Path) -> None:
    try:
        version = json.loads(marker.read_bytes())["imageLayoutVersion"]
    except (ValueError, KeyError, TypeError) as error:
        raise DigestError(f"{marker} is damaged", hint="remove the store's directory; it is a cache") from error
    if version != _VERSION:
        raise RefusedError(f"{marker.parent} has the layout version {version}; this program knows {_VERSION}",
                           hint="a newer program made it; choose another directory with PROVISIONER_CACHE")


def _marks(descriptor: Descriptor) -> tuple[tuple[str, str], ...]:
    return tuple(note for note in descriptor.annotations if note == documents.PULLED)
