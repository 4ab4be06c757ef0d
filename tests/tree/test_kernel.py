"""The kernel's image: what is taken, what is missing, and links in its archive."""

from __future__ import annotations

import gzip
import tarfile

import pytest

from provisioner.errors import InputError
from provisioner.model.tree import Entry
from provisioner.tree.kernel import kernel
from tests.tree.made import Shelf, content, entries, lines, member, tar

MODULES = tar(member("lib/"), member("lib/a.ko", b"a", 0o600, uid=7),
              member("lib/b.ko", kind=tarfile.LNKTYPE, link="lib/a.ko"), member("lib/build", link="/usr/src"))
FILES = (member("System.map", b"0"), member("kernel", b"KERNEL", 0o755, uid=9), member("kernel.tar", MODULES),
         member("alt", b"ALT", 0o600), member("ucode.cpio", b"UC"), member("more.tar", tar(member("more", b"m"))))


def laid(text: str, *layers: bytes) -> list[Entry]:
    shelf = Shelf()
    shelf.add("k", *(layers or (tar(*FILES),)))
    return entries(*kernel(shelf.sources(f"kernel: {{image: k{', ' if text else ''}{text}}}")))


def test_kernel_command_line_and_modules() -> None:
    found = laid("cmdline: console=ttyS0")
    assert lines(found) == ["boot dir 755", "boot/cmdline file 644", "boot/kernel file 755", "lib dir 644",
                            "lib/a.ko file 600 7:0", "lib/b.ko hardlink 644 -> lib/a.ko",
                            "lib/build symlink 644 -> /usr/src"]
    assert (content(found, "boot/kernel"), content(found, "boot/cmdline")) == (b"KERNEL", b"console=ttyS0")


@pytest.mark.parametrize(("text", "expected"), [
    ("tar: none", ["boot", "boot/cmdline", "boot/kernel"]),
    ("tar: \"\"", ["boot", "boot/cmdline", "boot/kernel"]),
    ("binary: alt, tar: more.tar", ["boot", "boot/cmdline", "more", "boot/kernel"]),
    ("tar: none, ucode: ucode.cpio", ["boot", "boot/cmdline", "boot/kernel", "boot/ucode.cpio"]),
])
def test_what_is_taken(text: str, expected: list[str]) -> None:
    assert sorted(entry.path for entry in laid(text)) == sorted(expected)


def test_modules_may_come_first_or_in_another_layer_and_compressed() -> None:
    found = laid("", tar(member("kernel.tar", gzip.compress(MODULES))), tar(member("kernel", b"K")))
    assert [entry.path for entry in found] == ["boot", "boot/cmdline", "lib", "lib/a.ko", "lib/b.ko", "lib/build",
                                               "boot/kernel"]


@pytest.mark.parametrize(("text", "said"), [
    ("binary: bzImage", r"^0.yml:1:28: k has no file bzImage, which would be the kernel \(name it"),
    ("binary: ./kernel", "has no file ./kernel"),
    ("tar: x.tar", "^0.yml:1:25: k has no file x.tar, which would be the archive of modules .*or say tar: none"),
    ("tar: kernel", "has no file kernel, which would be the archive"),
])
def test_what_is_missing_is_named(text: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        laid(text)


def test_a_kernel_that_is_a_link_names_its_target() -> None:
    with pytest.raises(InputError, match=r"kernel of k is no file but a symlink \(name vmlinuz with kernel.binary\)"):
        laid("tar: none", tar(member("kernel", link="vmlinuz"), member("vmlinuz", b"K")))


def test_missing_microcode_is_told_but_no_error() -> None:
    shelf = Shelf()
    shelf.add("k", tar(*FILES))
    entries(*kernel(shelf.sources("kernel: {image: k, ucode: none.cpio}")))
    assert [(event.stage, event.detail) for event in shelf.events] == [("warning", "k has no file none.cpio")]


def test_the_command_line_is_not_in_the_key() -> None:
    shelf = Shelf()
    shelf.add("k", tar(*FILES))

    def keys(text: str) -> list[str | None]:
        return [part.key for part in kernel(shelf.sources(f"kernel: {{image: k, {text}}}"))]

    assert keys("cmdline: a") == keys("cmdline: b")
    assert keys("cmdline: a") != keys("tar: none")
    assert keys("cmdline: a")[0] is None


def test_no_kernel_no_parts() -> None:
    assert list(kernel(Shelf().sources("kernel: {cmdline: x}"))) == []
