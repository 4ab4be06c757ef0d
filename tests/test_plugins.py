"""Parts are found by their names: in the kind's folder, or by an entry point."""

from __future__ import annotations

import types
from importlib import metadata

import pytest

from provisioner import plugins
from provisioner.errors import NotFoundError
from provisioner.formats import kernel_initrd


class Point:
    """An entry point of a third party."""

    group = "provisioner.formats"
    value = "their.module"

    def __init__(self, name: str, part: object) -> None:
        self.name = name
        self.part = part

    def load(self) -> object:
        return self.part


def third_party(monkeypatch: pytest.MonkeyPatch, *points: Point) -> None:
    monkeypatch.setattr(metadata, "entry_points", lambda group: points if group == "provisioner.formats" else ())


def test_a_file_is_the_registration() -> None:
    assert plugins.find("formats", "kernel+initrd") is kernel_initrd
    assert {"kernel+initrd", "tar"} <= set(plugins.names("formats"))


@pytest.mark.parametrize("name", ["kernel-initrd", "kernel_initrd", "_initrd", "_common", "__init__", "", "../tar"])
def test_only_the_exact_name_counts(name: str) -> None:
    with pytest.raises(NotFoundError):
        plugins.find("formats", name)


def test_a_wrong_name_lists_near_ones_or_all() -> None:
    with pytest.raises(NotFoundError, match="no format kernel-initrd") as near:
        plugins.find("formats", "kernel-initrd")
    assert near.value.hint == "did you mean kernel+initrd?"
    with pytest.raises(NotFoundError) as far:
        plugins.find("formats", "zzzz")
    assert far.value.hint.startswith("there are ")
    assert "kernel+initrd, tar" in far.value.hint


def test_entry_points_add_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    theirs = types.ModuleType("their.module")
    third_party(monkeypatch, Point("vhd", theirs))
    assert plugins.find("formats", "vhd") is theirs
    assert "vhd" in plugins.names("formats")


def test_a_built_in_part_is_not_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    third_party(monkeypatch, Point("kernel+initrd", types.ModuleType("their.module")))
    assert plugins.find("formats", "kernel+initrd") is kernel_initrd
    assert plugins.names("formats").count("kernel+initrd") == 1


def test_an_entry_point_to_something_else_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    third_party(monkeypatch, Point("vhd", len))
    with pytest.raises(NotFoundError, match=r"vhd = their\.module leads to no module"):
        plugins.find("formats", "vhd")
