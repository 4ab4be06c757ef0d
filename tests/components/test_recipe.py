"""Recipes: what they may say, what is refused and where, bases, and the keys that identify them."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from provisioner.components import recipe
from provisioner.errors import InputError, NotFoundError
from provisioner.model.platform import Platform

WHOLE = """\
summary: a tool
packages: [tool, "extra-{arch}"]
keep: ["usr/lib/{triplet}/x.so"]
only:
  arm64: {packages: [firmware], keep: [boot/blob]}
config:
  capabilities: [CAP_NET_ADMIN]
entrypoint: [/usr/bin/tool]
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PROVISIONER_DATA", str(tmp_path))
    made = tmp_path / "components" / "tool"
    (made / "files/usr/bin").mkdir(parents=True)
    (made / "component.yml").write_text(WHOLE)
    (made / "files/usr/bin/run").write_text("#!/bin/sh\n")
    (made / "files/alias").symlink_to("usr/bin/run")
    return made


def test_reads_a_component_with_its_files(folder: Path) -> None:
    found = recipe.load("tool")
    assert (found.name, found.folder) == ("tool", folder)
    assert found.files == {"alias": "usr/bin/run", "usr/bin/run": b"#!/bin/sh\n"}
    assert found.supports(Platform("arm64"))
    assert not found.supports(Platform("riscv64"))


def test_is_filled_in_for_an_architecture(folder: Path) -> None:
    made = recipe.load("tool").recipe
    amd64, arm64 = made.for_arch(Platform("amd64")), made.for_arch(Platform("arm64"))
    assert (amd64.packages, amd64.keep) == (["tool", "extra-amd64"], ["usr/lib/x86_64-linux-gnu/x.so"])
    assert arm64.packages == ["tool", "extra-arm64", "firmware"]
    assert arm64.keep == ["usr/lib/aarch64-linux-gnu/x.so", "boot/blob"]
    assert amd64.config == {"capabilities": ["CAP_NET_ADMIN"]}


def test_a_base_is_taken_over(folder: Path) -> None:
    child = folder.parent / "more"
    (child / "files/usr/bin").mkdir(parents=True)
    (child / "files/usr/bin/run").write_text("#!/bin/ash\n")
    (child / "component.yml").write_text("base: tool\nsummary: more\npackages: [other]\nconfig: {net: host}\n")
    found = recipe.load("more")
    assert found.recipe.packages == ["tool", "extra-{arch}", "other"]
    assert found.recipe.config == {"capabilities": ["CAP_NET_ADMIN"], "net": "host"}
    assert (found.recipe.summary, found.recipe.entrypoint) == ("more", ["/usr/bin/tool"])
    assert found.files["usr/bin/run"] == b"#!/bin/ash\n"
    assert found.files["alias"] == "usr/bin/run"


def test_bases_have_bases_but_no_circle(folder: Path) -> None:
    for name, base in (("two", "tool"), ("three", "two"), ("four", "five"), ("five", "four")):
        (folder.parent / name).mkdir()
        (folder.parent / name / "component.yml").write_text(f"base: {base}\nsummary: {name}\npackages: [{name}]\n")
    assert recipe.load("three").recipe.packages == ["tool", "extra-{arch}", "two", "three"]
    with pytest.raises(InputError, match="circle: four -> five -> four"):
        recipe.load("four")


def test_names_the_nearest_component(folder: Path) -> None:
    with pytest.raises(NotFoundError, match="no component is named tol") as caught:
        recipe.load("tol")
    assert caught.value.hint == "did you mean tool?"
    with pytest.raises(NotFoundError) as caught:
        recipe.load("zzz")
    assert "tool" in caught.value.hint


def test_reports_every_fault_at_its_place(folder: Path) -> None:
    (folder / "component.yml").write_text(
        "summary: x\npakages: [a]\nkeep: [/usr/bin/a, ok, ../b]\nfiles:\n  - {path: a}\n"
        "  - {path: b, contents: x, mode: '9'}\n")
    with pytest.raises(InputError) as caught:
        recipe.load("tool")
    places = [(problem.line, problem.message) for problem in caught.value.problems]
    assert [line for line, _ in places] == [2, 3, 3, 5, 6]
    assert "pakages" in places[0][1]
    assert "packages" in str(caught.value)


@pytest.mark.parametrize("name", ["Tool", "to_ol", ".tool"])
def test_a_name_is_one_that_an_image_can_have(folder: Path, name: str) -> None:
    folder.rename(folder.parent / name)
    with pytest.raises(InputError, match="lower-case"):
        recipe.load_folder(folder.parent / name)


def test_the_key_knows_content_and_not_place(folder: Path, tmp_path: Path) -> None:
    first = recipe.load("tool")
    copy = tmp_path / "elsewhere" / "tool"
    shutil.copytree(folder, copy, symlinks=True)
    (copy / "files/usr/bin/run").chmod(0o600)
    assert recipe.load_folder(copy).key() == first.key()
    (copy / "files/usr/bin/run").write_text("#!/bin/sh -e\n")
    changed = recipe.load_folder(copy)
    assert changed.key() != first.key()
    assert changed.selection() == first.selection(), "a file of our own does not make a lock stale"
    (copy / "component.yml").write_text(WHOLE.replace("x.so", "y.so"))
    assert recipe.load_folder(copy).selection() != first.selection()


def test_the_components_that_ship_are_sound() -> None:
    for name in recipe.names():
        component = recipe.load(name)
        assert component.recipe.summary
        for arch in component.recipe.arches:
            assert component.recipe.for_arch(Platform(arch))
