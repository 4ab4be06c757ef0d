"""From seeds to the closure that the dynamic linker will ask for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from provisioner.components.apt import Package
from provisioner.components.pool import Pool
from provisioner.components.recipe import Recipe
from provisioner.components.select import Selector, matching
from provisioner.errors import NotFoundError
from tests.fakes.debian import Content, Link, deb, elf

TRIPLET = "x86_64-linux-gnu"
LD = "/lib64/ld-linux-x86-64.so.2"
LIBC: dict[str, Content] = {
    "usr/lib64/ld-linux-x86-64.so.2": Link(f"../lib/{TRIPLET}/ld-linux-x86-64.so.2"),
    f"usr/lib/{TRIPLET}/ld-linux-x86-64.so.2": elf(),
    f"usr/lib/{TRIPLET}/libc.so.6": elf(needed=["ld-linux-x86-64.so.2"]),
}
TOOL: dict[str, Content] = {
    "usr/bin/tool": elf(needed=["libown.so.1", "libc.so.6"], interpreter=LD, runpath="$ORIGIN/../lib/tool"),
    "usr/lib/tool/libown.so.1": Link("libown.so.1.2"),
    "usr/lib/tool/libown.so.1.2": elf(needed=["libc.so.6"]),
    "usr/lib/tool/plugin.so": elf(needed=["libextra.so.0"]),
    "usr/share/tool/a.txt": b"a", "usr/share/tool/deep/b.txt": b"b", "usr/share/tool/deep/c.md": b"c",
    "etc/tool.conf": Link("/usr/share/tool/a.txt"),
}
EXTRA: dict[str, Content] = {
    f"lib/{TRIPLET}/libextra.so.0": elf("arm64"), "usr/lib/libextra.so.0": elf(needed=["libc.so.6"]),
}


@pytest.fixture
def pool(tmp_path: Path) -> Iterator[Pool]:
    with Pool(tmp_path / "scratch") as made:
        sets: Mapping[str, dict[str, Content]] = {"libc6": LIBC, "tool": TOOL, "extra": EXTRA}
        for name, files in sets.items():
            path = tmp_path / f"{name}.deb"
            path.write_bytes(deb(name, files))
            made.add(Package(name, "1", f"debian/{name}.deb", 1, "0" * 64), path)
        yield made


def selected(pool: Pool, *keep: str, drop: tuple[str, ...] = ()) -> set[str]:
    recipe = Recipe(summary="x", keep=list(keep), drop=list(drop))
    return set(Selector(pool, "amd64").select(recipe).files)


def test_follows_needed_runpath_interpreter_and_links(pool: Pool) -> None:
    selection = Selector(pool, "amd64").select(Recipe(summary="x", keep=["usr/bin/tool"]))
    assert set(selection.files) == {
        "usr/bin/tool", "usr/lib/tool/libown.so.1", "usr/lib/tool/libown.so.1.2", f"usr/lib/{TRIPLET}/libc.so.6",
        "usr/lib64/ld-linux-x86-64.so.2", f"usr/lib/{TRIPLET}/ld-linux-x86-64.so.2"}
    assert selection.packages == {"tool", "libc6"}
    assert selection.interpreters == {"lib64/ld-linux-x86-64.so.2"}


def test_passes_over_libraries_of_another_machine(pool: Pool) -> None:
    assert "usr/lib/libextra.so.0" in selected(pool, "usr/lib/tool/plugin.so")
    assert f"usr/lib/{TRIPLET}/libextra.so.0" not in selected(pool, "usr/lib/tool/plugin.so")


def test_keeps_the_target_of_a_link(pool: Pool) -> None:
    assert selected(pool, "etc/tool.conf") == {"etc/tool.conf", "usr/share/tool/a.txt"}


def test_patterns_stay_within_a_name_unless_doubled(pool: Pool) -> None:
    assert selected(pool, "usr/share/tool/*.txt") == {"usr/share/tool/a.txt"}
    assert selected(pool, "usr/share/tool/**.txt") == {"usr/share/tool/a.txt", "usr/share/tool/deep/b.txt"}
    assert selected(pool, "usr/share/tool/deep") == {"usr/share/tool/deep/b.txt", "usr/share/tool/deep/c.md"}
    assert selected(pool, "usr/share/tool/?.txt") == {"usr/share/tool/a.txt"}
    assert matching("usr/[bl]in", ["usr/bin", "usr/lin", "usr/sin"]) == ["usr/bin", "usr/lin"]


def test_drops_from_the_seeds(pool: Pool) -> None:
    assert selected(pool, "usr/share/tool", drop=("**.md", "usr/share/tool/a.txt")) == {"usr/share/tool/deep/b.txt"}


def test_a_seed_that_is_not_there_is_named_with_the_nearest(pool: Pool) -> None:
    with pytest.raises(NotFoundError, match="no package has usr/bin/tol") as caught:
        selected(pool, "usr/bin/tol")
    assert "usr/bin/tool" in caught.value.hint


@pytest.mark.parametrize(("program", "words"), [
    (elf(needed=["libgone.so.3"]), "usr/bin/bad needs libgone.so.3"),
    (elf(interpreter="/lib/ld-musl.so.1"), "usr/bin/bad needs /lib/ld-musl.so.1"),
])
def test_a_library_that_is_not_there_is_named_with_who_needs_it(pool: Pool, tmp_path: Path, program: bytes,
                                                               words: str) -> None:
    path = tmp_path / "bad.deb"
    path.write_bytes(deb("bad", {"usr/bin/bad": program}))
    pool.add(Package("bad", "1", "debian/bad.deb", 1, "0" * 64), path)
    with pytest.raises(NotFoundError, match=words):
        selected(pool, "usr/bin/bad")


def test_what_another_component_provides_is_neither_taken_nor_missed(pool: Pool) -> None:
    beside = [f"usr/lib/{TRIPLET}/libc.so.6", f"usr/lib/{TRIPLET}/ld-linux-*", "usr/lib64/**"]
    selection = Selector(pool, "amd64").select(Recipe(summary="x", keep=["usr/bin/tool"], provided=beside))
    assert set(selection.files) == {"usr/bin/tool", "usr/lib/tool/libown.so.1", "usr/lib/tool/libown.so.1.2"}
    assert (selection.packages, selection.interpreters) == ({"tool"}, set())
