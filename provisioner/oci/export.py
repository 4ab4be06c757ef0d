"""Write images of the store as archives: an OCI layout in a tar, or what ``docker load`` takes.

The same images give the same bytes. Every blob is verified as it is read; a corrupt one leaves no archive behind.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from provisioner.archive.output import Outputs
from provisioner.archive.tarwrite import TarWriter
from provisioner.errors import NotFoundError, ProvisionerError, UsageError
from provisioner.model.oci import INDEX, Descriptor
from provisioner.model.platform import Platform
from provisioner.model.tree import Entry, Kind
from provisioner.oci import manifest as documents
from provisioner.oci.reference import Reference
from provisioner.oci.store import Store

_CHUNK = 1 << 18


def oci(store: Store, names: Sequence[str], platform: Platform | None) -> Iterator[Entry]:
    """Yield an OCI layout with the images called ``names``; with ``platform`` that one's manifests alone.

    Of an index it holds the platforms that the store has. Raises NotFoundError when there are none.
    """
    index: list[Descriptor] = []
    blobs: dict[str, Descriptor] = {}
    for name in names:
        key, found = _find(store, name)
        top = store.select(found, platform, name) if platform else found
        wanted = [platform] if platform else store.platforms(top)
        if not any(store.complete(top, each, name, strict=platform is not None) for each in wanted):
            raise NotFoundError(f"the store has not all of {name}", hint="build with it, or import it, first")
        index.append(replace(top, annotations=documents.names(key)))
        blobs.update((part.digest, part) for part in store.parts(top))
    yield _small("oci-layout", {"imageLayoutVersion": "1.0.0"})
    yield _small("index.json", {"schemaVersion": 2, "mediaType": INDEX,
                                "manifests": [documents.descriptor_to_json(entry) for entry in index]})
    for folder in ("blobs", "blobs/sha256"):
        yield Entry(folder, Kind.DIR, 0o755)
    for digest in sorted(blobs):
        yield _blob(store, f"blobs/sha256/{blobs[digest].hex}", blobs[digest])


def docker(store: Store, names: Sequence[str], platform: Platform | None) -> Iterator[Entry]:
    """Yield what ``docker save`` would write (moby, image/spec v1.2) for one platform of each image.

    Without ``platform`` it is the only one there is, or this machine's.
    """
    rows: list[dict[str, object]] = []
    blobs: dict[str, Descriptor] = {}
    for name in names:
        key, found = _find(store, name)
        image = store.image(found, platform or _default(store, found), name, strict=True)
        config = documents.parse_manifest(store.read(image.manifest), image.manifest).config
        layers = [(f"{layer.hex}.tar", layer) for layer in image.layers]
        blobs.update({f"{config.hex}.json": config, **dict(layers)})
        reference = Reference.parse(key)
        rows.append({"Config": f"{config.hex}.json", "RepoTags": [reference.familiar] if reference.tag else [],
                     "Layers": [path for path, _ in layers]})
    yield _small("manifest.json", rows)
    for path in sorted(blobs):
        yield _blob(store, path, blobs[path])


def save(entries: Iterable[Entry], outfile: str) -> int:
    """Write a tar of ``entries`` to a file, whole or not at all, or to standard output (``-``); return its size."""
    if outfile == "-":
        if sys.stdout.isatty():
            raise UsageError("an archive is nothing for a terminal", hint="give --outfile FILE or redirect")
        return _write(entries, sys.stdout.buffer.write)
    with Outputs() as outputs:
        file = outputs.create(Path(outfile))
        _write(entries, file.write)
        outputs.commit()
        return file.size


def _write(entries: Iterable[Entry], sink: Callable[[bytes], object]) -> int:
    total = 0

    def count(data: bytes) -> None:
        nonlocal total
        total += len(data)
        sink(data)

    writer = TarWriter(count)
    for entry in entries:
        writer.add(entry)
    writer.close()
    return total


def _find(store: Store, name: str) -> tuple[str, Descriptor]:
    reference = Reference.parse(name)
    found = store.lookup(reference)
    if found is None:
        raise NotFoundError(f"the store has no {name}", hint="provisioner cache ls lists what it has")
    return reference.key, found


def _default(store: Store, descriptor: Descriptor) -> Platform:
    here = [platform for platform in store.platforms(descriptor) if _whole(store, descriptor, platform)]
    return here[0] if len(here) == 1 else Platform.host()


def _whole(store: Store, descriptor: Descriptor, platform: Platform) -> bool:
    try:
        return store.complete(descriptor, platform)
    except ProvisionerError:
        return False


def _small(path: str, content: object) -> Entry:
    data = documents.compact_json(content)
    return Entry(path, Kind.FILE, 0o644, size=len(data), content=(data,))


def _blob(store: Store, path: str, descriptor: Descriptor) -> Entry:
    return Entry(path, Kind.FILE, 0o644, size=descriptor.size, content=_content(store, descriptor))


def _content(store: Store, descriptor: Descriptor) -> Iterator[bytes]:
    with store.open(descriptor) as file:
        while chunk := file.read(_CHUNK):
            yield chunk
