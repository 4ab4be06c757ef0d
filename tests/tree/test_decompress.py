"""The kernel inside a kernel."""

from __future__ import annotations

import gzip
import lzma
import struct

import pytest
import zstandard

from provisioner.errors import InputError
from provisioner.model.tree import Entry, Kind
from provisioner.tree import assemble
from provisioner.tree.decompress import decompressed
from tests.tree.made import AMD64, Shelf, content, entries, member, tar

IMAGE = b"a kernel " * 5000


def packed(data: bytes) -> bytes:
    entry = Entry("boot/kernel", Kind.FILE, 0o755, size=len(data), content=(data[:100], data[100:]))
    made = decompressed(entry, "kernel of k")
    body = b"".join(made.content)
    assert (made.size, made.mode) == (len(body), 0o755)
    return body


def bzimage(payload: bytes, *, version: int = 0x20F, setup: int = 3) -> bytes:
    head = bytearray(((setup or 4) + 1) * 512)
    head[0x1F1] = setup
    head[0x1FE:0x200] = b"\x55\xaa"
    head[0x202:0x206] = b"HdrS"
    struct.pack_into("<H", head, 0x206, version)
    struct.pack_into("<II", head, 0x248, 64, len(payload))
    return bytes(head) + bytes(64) + payload + b"trailing code"


@pytest.mark.parametrize("pack", [gzip.compress, lzma.compress, zstandard.ZstdCompressor().compress])
def test_compressed_images(pack: object) -> None:
    assert callable(pack)
    assert packed(pack(IMAGE)) == IMAGE


@pytest.mark.parametrize("setup", [0, 3, 31])
def test_bzimages(setup: int) -> None:
    assert packed(bzimage(gzip.compress(IMAGE) + b"size", setup=setup)) == IMAGE


def test_efi_zboot() -> None:
    payload = gzip.compress(IMAGE)
    head = b"MZ\0\0zimg" + struct.pack("<II", 64, len(payload)) + b"\0" * 8 + b"gzip"
    assert packed(head.ljust(64, b"\0") + payload + b"tail") == IMAGE


@pytest.mark.parametrize("data", [IMAGE, b"", bzimage(b"lz4..."), bzimage(gzip.compress(IMAGE), version=0x207)])
def test_what_holds_no_kernel_is_named(data: bytes) -> None:
    with pytest.raises(InputError, match="kernel of k holds no kernel"):
        packed(data)


def test_on_demand_in_a_tree() -> None:
    shelf = Shelf()
    shelf.add("k", tar(member("kernel", gzip.compress(IMAGE))))
    spec = shelf.sources("kernel: {image: k, tar: none}").spec
    trees = [assemble(spec, shelf.images, shelf.open, name="x", platform=AMD64, decompress_kernel=wanted)
             for wanted in (True, False)]
    assert [content(entries(*tree.parts), "boot/kernel")[:2] for tree in trees] == [b"a ", b"\x1f\x8b"]
    assert trees[0].parts[1].key != trees[1].parts[1].key
