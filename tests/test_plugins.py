"""A file in a kind's folder is the registration."""

from __future__ import annotations

from importlib import metadata

import pytest

from provisioner import plugins
from provisioner.errors import NotFoundError


def test_a_file_is_the_registration() -> None:
    assert plugins.find("formats", "kernel+initrd").__name__ == "provisioner.formats.kernel_initrd"
    assert plugins.find("formats", "tar").NAME == "tar"
    assert {"kernel+initrd", "tar"} <= set(plugins.names("formats"))


@pytest.mark.parametrize("name", ["kernel-initrd", "_common", "_initrd", ""])
def test_only_the_names_own_spelling_counts(name: str) -> None:
    with pytest.raises(NotFoundError):
        plugins.find("formats", name)


def test_the_nearest_names_are_named() -> None:
    with pytest.raises(NotFoundError, match=r"no format kernel\+initrb") as caught:
        plugins.find("formats", "kernel+initrb")
    assert caught.value.hint == "did you mean kernel+initrd?"
    with pytest.raises(NotFoundError) as caught:
        plugins.find("formats", "zzz")
    assert "kernel+initrd, tar" in caught.value.hint


def test_others_add_parts_by_entry_points(monkeypatch: pytest.MonkeyPatch) -> None:
    points = [metadata.EntryPoint("mine", "json", "provisioner.formats"),
              metadata.EntryPoint("none", "json:dumps", "provisioner.formats")]
    monkeypatch.setattr(plugins, "_points", lambda _kind: points)
    assert plugins.find("formats", "mine").__name__ == "json"
    assert "mine" in plugins.names("formats")
    with pytest.raises(NotFoundError, match="leads to no module"):
        plugins.find("formats", "none")
