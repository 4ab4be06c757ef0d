"""``kernel:`` into ``boot/kernel``, ``boot/cmdline``, ``boot/ucode.cpio`` and the members of the kernel's archive.

The image's layers are read as one stream: what is wanted is passed on as it comes, the archive's members straight out
of the archive (plain, or compressed by gzip, xz or zstd). Everything else of the image is left out.
"""

from __future__ import annotations

from collections.abc import Iterator

from provisioner.archive import tar
from provisioner.archive.compress import Decompressed
from provisioner.errors import InputError
from provisioner.model.event import Event
from provisioner.model.oci import Image
from provisioner.model.tree import Entry, Kind, Part
from provisioner.oci.layers import flatten
from provisioner.tree.decompress import decompressed
from provisioner.tree.sources import MTIME, Chunks, Sources, cache_key, directory, fixed_part, full_name, generated


def kernel(sources: Sources) -> Iterator[Part]:
    """Yield the kernel's parts; none when the YAML names no kernel."""
    wanted = sources.spec.kernel
    if not wanted.image:
        return
    image, name = sources.image(wanted.image), full_name(wanted.image)

    boot = (directory("boot"), generated("boot/cmdline", wanted.cmdline.encode()))
    key = cache_key("kernel", image.manifest.digest, wanted.kernel_path, wanted.tar_path, wanted.ucode or "",
                    sources.decompress_kernel)
    yield fixed_part("kernel", boot, name, image.manifest.digest)
    yield Part("kernel", lambda: _content(sources, image), name, key, image.manifest.digest)


def _content(sources: Sources, image: Image) -> Iterator[Entry]:
    wanted = sources.spec.kernel
    places = {wanted.ucode: "boot/ucode.cpio"} if wanted.ucode else {}
    places |= {wanted.tar_path: ""} if wanted.tar_path else {}
    places[wanted.kernel_path] = "boot/kernel"
    found: set[str] = set()
    for entry in flatten(sources.open_blob, image.layers):
        if entry.path not in places:
            continue
        if entry.kind is not Kind.FILE:
            raise _missing(sources, entry.path, image, entry)
        found.add(entry.path)
        if place := places[entry.path]:
            made = Entry(place, Kind.FILE, entry.mode, mtime=MTIME, size=entry.size, content=entry.content)
            unpack = sources.decompress_kernel and entry.path == wanted.kernel_path
            yield decompressed(made, f"{entry.path} of {image.reference}") if unpack else made
        else:
            archive = f"{entry.path} of {image.reference}"
            yield from tar.read(Decompressed(Chunks(entry.content), archive), archive)
    for path in (wanted.kernel_path, wanted.tar_path):
        if path and (path not in found or path == wanted.kernel_path == wanted.tar_path):
            raise _missing(sources, path, image)
    if wanted.ucode and wanted.ucode not in found:
        sources.sink(Event("build", "warning", "kernel", detail=f"{image.reference} has no file {wanted.ucode}"))


def _missing(sources: Sources, path: str, image: Image, entry: Entry | None = None) -> InputError:
    spec = sources.spec.kernel
    key = {spec.kernel_path: "binary", spec.tar_path: "tar"}.get(path, "ucode")
    if entry is None:
        what = "the kernel" if key == "binary" else "the archive of modules"
        message = f"{image.reference} has no file {path}, which would be {what}"
        hint = f"name it with kernel.{key}" + (", or say tar: none" if key == "tar" else "")
    else:
        message = f"{path} of {image.reference} is no file but a {entry.kind}"
        hint = f"name {entry.target} with kernel.{key}" if entry.target else "take another image"
    keys = (key,) if key in spec.model_fields_set else ("image",)
    return InputError(problems=[spec.problem(message, *keys, hint=hint)])
