"""What others ask of components: lists, locks that move on, boot loaders as files."""

from __future__ import annotations

from pathlib import Path

import pytest

from provisioner import components
from provisioner.components import api, lock
from provisioner.components.apt import Package
from provisioner.errors import NotFoundError
from provisioner.oci.store import Store
from tests.fakes.debian import Archive

IPXE = "summary: boot loaders\npackages: [ipxe]\nkeep: [usr/lib/ipxe]\narches: [amd64]\n"


@pytest.fixture
def archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Archive:
    """A mirror with ``ipxe``, and a lock for it written by hand, so that no index is asked."""
    folder = tmp_path / "data/components/ipxe"
    folder.mkdir(parents=True)
    (folder / "component.yml").write_text(IPXE)
    made = Archive(tmp_path / "mirror")
    for name, value in (("DATA", tmp_path / "data"), ("CACHE", tmp_path / "cache"), ("DEBIAN_MIRROR", made.url)):
        monkeypatch.setenv(f"PROVISIONER_{name}", str(value))
    return made


def stock(archive: Archive, version: str = "1") -> Package:
    return archive.add("ipxe", {"usr/lib/ipxe/undionly.kpxe": b"bios" + version.encode(),
                                "usr/lib/ipxe/snponly.efi": b"efi"}, version=version)


def locked(package: Package) -> None:
    from provisioner.components import recipe
    from provisioner.components.lock import Locked

    lock.save({"ipxe": Locked("trixie", recipe.load("ipxe").selection(), {"amd64": (package,)})})


def test_lists_components(archive: Archive) -> None:
    assert components.listing()["ipxe"] == "boot loaders"
    assert components.exists("ipxe")
    assert not components.exists("nosuch")


def test_boot_loaders_are_files_in_the_cache(archive: Archive, tmp_path: Path) -> None:
    locked(stock(archive))
    store = Store(tmp_path / "store")
    found = components.bootloaders(store, ["undionly.kpxe"], locked=True)
    assert {name: path.read_bytes() for name, path in found.items()} == {
        "undionly.kpxe": b"bios1", "snponly.efi": b"efi"}
    assert found["snponly.efi"].is_relative_to(tmp_path / "cache")
    archive.remove("ipxe")
    assert components.bootloaders(store) == found
    with pytest.raises(NotFoundError, match=r"no boot loader other\.efi") as caught:
        components.bootloaders(store, ["other.efi"])
    assert "undionly.kpxe" in caught.value.hint


def test_a_boot_loader_is_replaced_whole(archive: Archive, tmp_path: Path) -> None:
    locked(stock(archive))
    first = components.bootloaders(Store(tmp_path / "store"))
    locked(stock(archive, "2"))
    second = components.bootloaders(Store(tmp_path / "store"))
    assert first["undionly.kpxe"].read_bytes() == b"bios1", "what a running server holds stays"
    assert second["undionly.kpxe"].read_bytes() == b"bios2"
    assert sorted(path.name for path in (tmp_path / "cache/bootloaders").iterdir()) == sorted(
        found["snponly.efi"].parent.name for found in (first, second))


@pytest.mark.tool
def test_locks_move_on_when_told_to(archive: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(tmp_path / "store")
    stock(archive)
    monkeypatch.setenv("PROVISIONER_DEBIAN_KEYRING", str(archive.index(tmp_path / "gnupg")))
    assert [str(change) for change in api.update(["ipxe"], store=store)] == ["ipxe amd64: + ipxe 1"]
    assert api.update(["ipxe"], store=store) == []

    stock(archive, "2")
    archive.index(tmp_path / "gnupg")
    assert api.update(["ipxe"], store=store) == [], "nothing moves by itself"
    assert [str(change) for change in api.update(["ipxe"], move=True, store=store)] == ["ipxe amd64: ipxe 1 -> 2"]
    assert lock.load()["ipxe"].packages["amd64"][0].version == "2"
