"""An image as an OCI layout inside a volume: every blob of the platforms asked for, and the index as it is."""

from __future__ import annotations

import json
from collections.abc import Iterator

from provisioner.archive.stream import CHUNK, Readable, read_exact
from provisioner.errors import InputError, NotFoundError
from provisioner.model.oci import INDEX, MANIFEST, Descriptor
from provisioner.model.platform import Platform
from provisioner.model.spec import Volume
from provisioner.model.tree import Entry, Kind, Part
from provisioner.oci.manifest import DEPTH, INDEXES, LIMIT, MANIFESTS, parse_parts
from provisioner.tree.sources import Sources, ancestors, cache_key, full_name

# As LinuxKit writes them: the text of oci-layout, and an index indented by three spaces.
OCI_LAYOUT = b'{\n\t\t"imageLayoutVersion": "1.0.0"\n\t}'
REF_NAME = "org.opencontainers.image.ref.name"


def layout_part(sources: Sources, volume: Volume, location: str, prefix: str) -> Part:
    """Return the part that holds the volume's image as a layout below ``prefix``."""
    root, name = sources.roots.get(volume.image), full_name(volume.image)
    if root is None:
        raise InputError(problems=[volume.problem(f"the image {volume.image} was not resolved", "image")])
    platforms = platforms_of(volume)

    def entries() -> Iterator[Entry]:
        yield from ancestors(prefix)
        yield _file(f"{prefix}/oci-layout", OCI_LAYOUT)
        for path in ("blobs", "blobs/sha256"):
            yield Entry(f"{prefix}/{path}", Kind.DIR, 0o755)
        for blob in _blobs(sources, volume, root, platforms):
            yield from _blob(sources, blob, f"{prefix}/blobs/sha256/{blob.hex}")
        yield _file(f"{prefix}/index.json", _index(root, name))

    key = cache_key("layout", root.digest, root.media_type, name, prefix, sorted(map(str, platforms)))
    return Part(location, entries, name, key, root.digest)


def platforms_of(volume: Volume) -> tuple[Platform, ...]:
    """Return the platforms that a volume asks for; none means all. Raises InputError for what is no platform."""
    found = []
    for index, text in enumerate(volume.platforms):
        parts = text.split("/")
        if not 2 <= len(parts) <= 3 or not all(parts):
            message = f"{text!r} is no platform"
            raise InputError(problems=[volume.problem(message, "platforms", index, hint="write linux/amd64")])
        found.append(Platform.parse(text))
    return tuple(found)


def _blobs(sources: Sources, volume: Volume, root: Descriptor, platforms: tuple[Platform, ...]) -> list[Descriptor]:
    """Return every blob to hold, in LinuxKit's order: config, layers, manifest of each platform; the index last."""
    blobs: dict[str, Descriptor] = {}
    there: list[Platform] = []

    def visit(descriptor: Descriptor, depth: int) -> None:
        if descriptor.media_type in INDEXES and depth:
            for child in parse_parts(_read(sources, descriptor), descriptor):
                visit(child, depth - 1)
        elif descriptor.media_type in MANIFESTS:
            there.extend([descriptor.platform] if descriptor.platform and not _is_note(descriptor) else [])
            if platforms and not any(descriptor.platform and descriptor.platform.matches(one) for one in platforms):
                return
            try:
                parts = parse_parts(_read(sources, descriptor), descriptor)
            except NotFoundError:
                if not _is_note(descriptor):
                    raise
                return  # what is said about an image need not have been fetched with it
            blobs.update((blob.digest, blob) for blob in parts)
        blobs[descriptor.digest] = descriptor

    visit(root, DEPTH)
    for index, wanted in enumerate(platforms):
        if not any(platform.matches(wanted) for platform in there):
            message = f"{volume.image} has no image for {wanted}"
            hint = f"it has {', '.join(map(str, there)) or 'no platform'}"
            raise InputError(problems=[volume.problem(message, "platforms", index, hint=hint)])
    return list(blobs.values())


def _is_note(descriptor: Descriptor) -> bool:
    """Whether this is an attestation about an image: its platform is ``unknown/unknown``."""
    return bool(descriptor.platform) and descriptor.platform == Platform("unknown", "unknown")


def _read(sources: Sources, descriptor: Descriptor) -> bytes:
    if descriptor.size > LIMIT:
        raise InputError(f"the manifest {descriptor.digest} is larger than {LIMIT >> 20} MiB")
    with sources.open_blob(descriptor) as blob:
        data = read_exact(blob, descriptor.size, descriptor.digest)
        blob.read(1)  # the end, at which the digest is checked
    return data


def _blob(sources: Sources, descriptor: Descriptor, path: str) -> Iterator[Entry]:
    with sources.open_blob(descriptor) as blob:
        yield Entry(path, Kind.FILE, 0o644, size=descriptor.size, content=_chunks(blob))


def _chunks(blob: Readable) -> Iterator[bytes]:
    while chunk := blob.read(CHUNK):
        yield chunk


def _file(path: str, data: bytes) -> Entry:
    return Entry(path, Kind.FILE, 0o644, size=len(data), content=(data,))


def _index(root: Descriptor, name: str) -> bytes:
    kind = INDEX if root.media_type in INDEXES else MANIFEST if root.media_type == MANIFEST else root.media_type
    entry = {"mediaType": kind, "size": root.size, "digest": root.digest, "annotations": {REF_NAME: name}}
    index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": [entry]}
    return json.dumps(index, indent=3, ensure_ascii=False).encode()
