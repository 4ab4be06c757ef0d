"""From a stack of layers to one stream of entries: nothing is unpacked, no privilege is needed.

Every layer is read twice: once for its names, from which `overlay.Index` works out what survives whiteouts, opaque
directories, replacements and links, and once for its content. Reading is far cheaper than compressing, and only this
way can a link reach into a lower layer, or a name below a lower layer's symbolic link be put where it belongs.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager

from provisioner.archive import tar
from provisioner.archive.compress import Decompressed
from provisioner.archive.stream import LIMITS, Limits, Readable
from provisioner.errors import RefusedError
from provisioner.model.oci import Descriptor
from provisioner.model.tree import Entry, Kind
from provisioner.oci.overlay import Index

OpenLayer = Callable[[Descriptor], AbstractContextManager[Readable]]


def flatten(open_layer: OpenLayer, layers: Sequence[Descriptor], *, limits: Limits = LIMITS) -> Iterator[Entry]:
    """Yield the files that an image's ``layers`` (lowest first, as in a manifest) amount to.

    Every path comes exactly once, every directory before what it holds (also those that no layer declares: 0755,
    root, time 0), every FILE directly before its hard links. The root itself is not yielded. Raises RefusedError
    for hostile or impossible content, InputError for broken archives, and what ``open_layer`` raises.
    """
    index = Index()
    for layer in layers:
        with _entries(open_layer, layer, limits) as entries:
            index.begin(layer.digest)
            for entry in entries:
                index.add(entry)
        if len(index) > limits.entries:
            raise RefusedError(f"{layer.digest}: with this layer the image has more than {limits.entries} entries")
    paths, directories = index.survivors()
    del index
    return _emit(open_layer, layers, limits, paths, directories)


def _emit(open_layer: OpenLayer, layers: Sequence[Descriptor], limits: Limits, paths: dict[int, list[str]],
          directories: dict[str, Entry | None]) -> Iterator[Entry]:
    ordinal = 0
    for layer in layers:
        with _entries(open_layer, layer, limits) as entries:
            for entry in entries:
                found = paths.pop(ordinal, ())
                ordinal += 1
                for number, path in enumerate(found):
                    if entry.kind is Kind.DIR:
                        yield from _parents(f"{path}/", directories)
                    else:
                        yield from _parents(path, directories)
                        yield _placed(entry, path, number, found)
    for path in list(directories):
        yield from _parents(f"{path}/", directories)


def _placed(entry: Entry, path: str, number: int, paths: Sequence[str]) -> Entry:
    """Return the entry at its final path; a file's second path becomes a hard link to its first."""
    if entry.kind is Kind.FILE and number:
        return dataclasses.replace(entry, path=path, kind=Kind.HARDLINK, target=paths[0], size=0, content=(),
                                   xattrs=(), links=len(paths))
    if entry.kind is Kind.FILE:
        return dataclasses.replace(entry, path=path, links=len(paths))
    return entry if entry.path == path else dataclasses.replace(entry, path=path)


def _parents(path: str, directories: dict[str, Entry | None]) -> Iterator[Entry]:
    """Yield the directories above ``path`` that have not been yielded before, and forget them."""
    parent = path.rpartition("/")[0]
    if parent not in directories:
        return
    missing = []
    while parent and parent in directories:
        missing.append(parent)
        parent = parent.rpartition("/")[0]
    for directory in reversed(missing):
        declared = directories.pop(directory)
        if declared is None:
            yield Entry(directory, Kind.DIR, 0o755)
        else:
            yield declared if declared.path == directory else dataclasses.replace(declared, path=directory)


@contextmanager
def _entries(open_layer: OpenLayer, layer: Descriptor, limits: Limits) -> Iterator[Iterator[Entry]]:
    with open_layer(layer) as blob:
        yield tar.read(Decompressed(blob, layer.digest, limits=limits), layer.digest, limits=limits)
