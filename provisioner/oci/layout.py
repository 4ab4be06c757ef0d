"""An OCI image layout in a directory (image-spec 1.1, image-layout.md) as a source of images."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from provisioner.errors import DigestError, InputError, NotFoundError
from provisioner.model.oci import Descriptor
from provisioner.oci import manifest as documents
from provisioner.oci.blobs import BlobWriter
from provisioner.oci.reference import Reference

_CHUNK = 1 << 18


class Layout:
    """The layout in ``path``; raises NotFoundError when there is none and InputError when it is no layout."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            content = (path / "index.json").read_bytes()
        except (FileNotFoundError, NotADirectoryError) as error:
            raise NotFoundError(f"{path} is no OCI image layout: it has no index.json") from error
        except OSError as error:
            raise InputError(f"cannot read {path / 'index.json'}: {error.strerror}") from error
        self.index = parse_layout_index(content, str(path / "index.json"))

    def find(self, wanted: str = "") -> Descriptor:
        """Return the image called ``wanted``, or the only one; raise NotFoundError listing the names there are."""
        return choose(self.index, wanted, str(self.path))

    def fetch(self, descriptor: Descriptor, out: BlobWriter) -> None:
        """Copy a blob into a store's writer."""
        blob = self.path / "blobs" / "sha256" / descriptor.hex
        try:
            with blob.open("rb") as file:
                file.seek(out.offset)
                while chunk := file.read(_CHUNK):
                    out.write(chunk)
        except FileNotFoundError as error:
            raise DigestError(f"{self.path} lacks the blob {descriptor.digest}",
                              hint="the layout is not complete; make it again") from error
        except OSError as error:
            raise InputError(f"cannot read {blob}: {error.strerror}") from error


def parse_layout_index(content: bytes, where: str) -> tuple[Descriptor, ...]:
    """Read a layout's ``index.json``: images and indexes with their annotations."""
    media_type = documents.media_type_of(content, where)
    if media_type not in documents.INDEXES:
        raise documents.ManifestError(f"{where} is no image index")
    return documents.parse_index(content, Descriptor(media_type, where, len(content)))


def names(descriptor: Descriptor) -> tuple[str, ...]:
    """Return what an entry of a layout's index is called: containerd's full name, then the short one."""
    annotations = dict(descriptor.annotations)
    return tuple(filter(None, (annotations.get(documents.IMAGE_NAME, ""), annotations.get(documents.REF_NAME, ""))))


def full_name(descriptor: Descriptor) -> str:
    """Return an entry's full reference, or ``""``: a bare word such as ``latest`` is a tag of nothing."""
    for name in names(descriptor):
        if "/" in name or ":" in name:
            return str(Reference.parse(name))
    return ""


def named_images(entries: Iterable[Descriptor], name: str, where: str) -> dict[str, Descriptor]:
    """Return an archive's images by full reference; ``name`` is what its only image is to be called.

    Raises InputError when nothing has a name, or one name is given to several images.
    """
    images = tuple(entries)
    if name:
        if len({image.digest for image in images}) != 1:
            raise InputError(f"{where} holds {len(images)} images, which cannot all be called {name}",
                             hint="leave out --name; they bring their own")
        return {Reference.parse(name).key: images[0]}
    named = {Reference.parse(found).key: image for image in images if (found := full_name(image))}
    if not named:
        raise InputError(f"{where} gives its images no full names", hint="say what to call it with --name IMAGE")
    return named


def choose(entries: tuple[Descriptor, ...], wanted: str, where: str) -> Descriptor:
    """Return the entry called ``wanted`` or the only one; raise NotFoundError listing what there is."""
    if not wanted:
        if len({entry.digest for entry in entries}) == 1:
            return entries[0]
        problem = "holds no image" if not entries else "holds several images"
    else:
        alike = _forms(wanted)
        for entry in entries:
            if alike & {form for name in names(entry) for form in _forms(name)}:
                return entry
        problem = f"holds no image {wanted}"
    known = ", ".join(dict.fromkeys(name for entry in entries for name in names(entry)[:1]))
    raise NotFoundError(f"{where} {problem}", hint=f"name one of: {known}" if known else "its images have no names")


def _forms(name: str) -> set[str]:
    try:
        return {name, Reference.parse(name).key}
    except InputError:
        return {name}
