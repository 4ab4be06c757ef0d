"""From a recipe and a mirror to an image: caching, locks, successors, and the same digest everywhere."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from provisioner.components import lock, recipe
from provisioner.components.apt import Mirror, Package
from provisioner.components.build import Builder, StaleLockError, cache_key
from provisioner.components.debs import GoneError
from provisioner.components.lock import Locked
from provisioner.errors import DigestError, NotFoundError
from provisioner.model.event import Event, Sink
from provisioner.model.oci import Descriptor
from provisioner.model.platform import Platform
from provisioner.oci.store import Store
from tests.components.test_select import LIBC
from tests.fakes.debian import Archive, elf

AMD64 = Platform("amd64")
TOOL = elf(needed=["libc.so.6"], interpreter="/lib64/ld-linux-x86-64.so.2")


class Workshop:
    """A mirror, a component and a cache below one folder."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root, self.patch = root, monkeypatch
        self.archive = Archive(root / "mirror")
        self.archive.add("tool", {"usr/bin/tool": TOOL})
        self.archive.add("libc6", LIBC)
        self.archive.add("unused", {"usr/share/big": bytes(1000)})
        self.folder = root / "data/components/tool"
        (self.folder / "files/etc").mkdir(parents=True)
        (self.folder / "component.yml").write_text("summary: a tool\npackages: [tool]\nkeep: [usr/bin/tool]\n")
        (self.folder / "files/etc/tool.conf").write_text("x = 1\n")
        self.events: list[Event] = []
        self.asked = 0
        monkeypatch.setenv("PROVISIONER_CACHE", str(root / "cache"))
        monkeypatch.setenv("PROVISIONER_DATA", str(root / "data"))
        self.store = Store(root / "store")

    def index(self, suite: str, arch: str, source: Mirror, sink: Sink) -> Workshop:
        assert (suite, arch, source) == ("trixie", "amd64", Mirror(self.archive.url))
        return self

    def resolve(self, packages: Sequence[str], *, fresh: bool = False) -> list[Package]:
        self.asked += 1
        return self.archive.resolve(packages, fresh=fresh)

    def builder(self, **options: Any) -> Builder:
        return Builder(self.store, sink=self.events.append, source=lambda: Mirror(self.archive.url), index=self.index,
                       **options)

    def build(self, **options: Any) -> Descriptor:
        return self.builder(**options).build("tool", AMD64)

    def lock(self) -> tuple[Package, ...]:
        component = recipe.load("tool")
        packages = self.builder().resolve(component, AMD64)
        lock.save({"tool": Locked("trixie", component.selection(), {"amd64": packages})})
        return packages

    @property
    def warnings(self) -> list[str]:
        return [event.detail for event in self.events if event.stage == "warning"]


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workshop:
    return Workshop(tmp_path, monkeypatch)


def test_only_what_contributes_is_locked(shop: Workshop) -> None:
    assert [package.name for package in shop.lock()] == ["libc6", "tool"]


def test_a_locked_build_asks_no_index(shop: Workshop) -> None:
    shop.lock()
    shop.asked = 0
    made = shop.build(locked=True)
    assert shop.asked == 0
    assert not shop.warnings
    found = shop.store.image(made, AMD64)
    assert found.labels["provisioner.packages"] == "libc6=1.0 tool=1.0"


def test_a_second_build_is_at_once(shop: Workshop) -> None:
    shop.lock()
    made = shop.build()
    shop.events.clear()
    shop.archive.remove("tool")
    shutil.rmtree(shop.root / "cache/debs")
    assert shop.build(locked=True).digest == made.digest
    assert not shop.events, "an image that is in the store needs no mirror"
    assert shop.store.lookup("docker.io/provisioner/tool:latest")


def test_a_changed_file_makes_another_image(shop: Workshop) -> None:
    shop.lock()
    first = shop.build()
    (shop.folder / "files/etc/tool.conf").write_text("x = 2\n")
    second = shop.build(locked=True)
    assert second.digest != first.digest
    (shop.folder / "files/etc/tool.conf").write_text("x = 1\n")
    assert shop.build(locked=True).digest == first.digest


def test_the_same_digest_in_another_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = Workshop(tmp_path / "one", monkeypatch)
    first.lock()
    one = first.build()
    old = os.umask(0o077)
    try:
        second = Workshop(tmp_path / "two/deeper", monkeypatch)
        shutil.copy(tmp_path / "one/data/components/components.lock", second.folder.parent)
        (second.folder / "files/etc/tool.conf").chmod(0o777)
        assert second.build(locked=True).digest == one.digest
    finally:
        os.umask(old)


def test_an_unlocked_component_is_built_with_a_warning(shop: Workshop) -> None:
    shop.build()
    assert shop.warnings == ["tool is not in the lock (to keep it: provisioner component lock tool)"]
    with pytest.raises(StaleLockError, match="not in the lock") as caught:
        shop.build(locked=True)
    assert caught.value.hint == "provisioner component lock tool"


def test_a_lock_for_another_recipe_is_stale(shop: Workshop) -> None:
    shop.lock()
    path = shop.folder / "component.yml"
    path.write_text(path.read_text().replace("[usr/bin/tool]", "[usr/bin/tool, usr/share/big]"))
    with pytest.raises(StaleLockError, match="another recipe"):
        shop.build(locked=True)
    assert "unused=1.0" in shop.store.image(shop.build(), AMD64).labels["provisioner.packages"]


def test_a_version_that_is_gone_gives_way_to_its_successor(shop: Workshop) -> None:
    shop.lock()
    shop.archive.add("tool", {"usr/bin/tool": TOOL + b"newer"}, version="1.1")
    shutil.rmtree(shop.root / "cache/debs")
    with pytest.raises(StaleLockError, match=r"no longer has tool 1\.0; its successor is there: .*tool 1\.0 -> 1\.1"):
        shop.build(locked=True)
    made = shop.build()
    assert "tool=1.1" in shop.store.image(made, AMD64).labels["provisioner.packages"]
    assert "tool 1.0 -> 1.1" in shop.warnings[-1]
    assert "lock --update tool" in shop.warnings[-1]


def test_a_version_that_is_gone_without_successor(shop: Workshop) -> None:
    shop.lock()
    (shop.archive.root / "pool/tool_1.0_amd64.deb").unlink()
    shutil.rmtree(shop.root / "cache/debs")
    with pytest.raises(GoneError, match=r"no longer has tool 1\.0"):
        shop.build()


def test_forged_packages_are_refused(shop: Workshop) -> None:
    packages = shop.lock()
    shutil.rmtree(shop.root / "cache/debs")
    path = shop.archive.root / packages[-1].path.removeprefix("debian/")
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    with pytest.raises(DigestError):
        shop.build()
    assert shop.store.lookup("docker.io/provisioner/tool:latest") is None


def test_a_platform_that_it_is_not_made_for(shop: Workshop) -> None:
    with pytest.raises(NotFoundError, match="not made for linux/s390x") as caught:
        shop.builder().build("tool", Platform("s390x"))
    assert caught.value.hint == "it is made for amd64, arm64"


def test_a_component_without_packages_needs_no_mirror(shop: Workshop) -> None:
    (shop.folder / "component.yml").write_text("summary: files alone\n")
    made = shop.build(locked=True)
    assert shop.asked == 0
    assert shop.store.image(made, AMD64).layers


def test_the_key_knows_platform_and_packages(shop: Workshop) -> None:
    component, packages = recipe.load("tool"), shop.lock()
    keys = {cache_key(component, AMD64, packages), cache_key(component, Platform("arm64"), packages),
            cache_key(component, AMD64, packages[:1])}
    assert len(keys) == 3
    assert cache_key(component, AMD64, reversed(packages)) in keys


def test_leaves_nothing_in_its_scratch_space(shop: Workshop) -> None:
    shop.lock()
    shop.build()
    assert not list((shop.root / "cache/tmp").iterdir())
    assert json.loads((shop.root / "store/index.json").read_text())["manifests"]
