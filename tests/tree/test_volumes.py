"""Volumes: blank, of an image, read-only, of an earlier file."""

from __future__ import annotations

import pytest

from provisioner.errors import InputError
from provisioner.tree.volumes import mount_points, volumes
from tests.tree.made import Shelf, entries, final, lines, member, paths, tar


def test_a_blank_volume() -> None:
    found = entries(*volumes(Shelf().sources("volumes: [{name: data}]")))
    base = "containers/volumes/data"
    assert lines(found) == ["containers dir 755", "containers/volumes dir 755", f"{base} dir 755",
                            f"{base}/lower dir 755", f"{base}/tmp dir 755", f"{base}/merged dir 755"]


def test_a_volume_of_an_image() -> None:
    shelf = Shelf()
    shelf.add("seed", tar(member("x", b"x")))
    text = "volumes: [{name: a, image: seed}, {name: b, image: seed, format: filesystem}]"
    parts = list(volumes(shelf.sources(text)))
    found = final(entries(*parts))
    assert found["containers/volumes/a/lower/x"] == final(entries(parts[0]))["containers/volumes/a/lower/x"]
    assert "containers/volumes/b/lower/x" in found
    assert found["containers/volumes/a/lower/etc/resolv.conf"].target == "/run/resolvconf/resolv.conf"
    assert [part.location for part in parts] == ["volumes[0]", "volumes[0]", "volumes[1]", "volumes[1]"]


def test_a_read_only_volume_is_marked_for_init() -> None:
    found = paths(*volumes(Shelf().sources("volumes: [{name: r, readonly: true}]")))
    assert found[-1] == "containers/volumes/r/readonly"


def test_volumes_of_every_file_are_known() -> None:
    sources = Shelf().sources("volumes: [{name: a}]", "volumes: [{name: b}]",
                              "services: [{name: s, image: x, binds: [\"a:/a\", \"b:/b\"]}]")
    assert mount_points(sources.spec) == {
        "a": "/containers/volumes/a/merged", "b": "/containers/volumes/b/merged"}


def test_a_layout_needs_its_root() -> None:
    with pytest.raises(InputError, match=r"0.yml:1:28: the image x was not resolved"):
        list(volumes(Shelf().sources("volumes: [{name: v, image: x, format: oci}]")))
