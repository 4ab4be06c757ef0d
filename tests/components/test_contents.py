"""What lies in an image: layouts, the recipe's own files, users, licences."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from provisioner.components import contents
from provisioner.components.apt import Package
from provisioner.components.pool import Pool
from provisioner.components.recipe import Component, Recipe
from provisioner.components.select import Selector
from provisioner.errors import InputError
from provisioner.model.tree import Entry, Kind
from tests.components.test_select import LIBC, TOOL, TRIPLET
from tests.fakes.debian import Content, Link, deb

CERTS: dict[str, Content] = {"usr/share/certs/b.crt": b"B\n", "usr/share/certs/a.crt": b"A\n",
                             "usr/share/doc/certs": Link("tool")}


@pytest.fixture
def pool(tmp_path: Path) -> Iterator[Pool]:
    with Pool(tmp_path / "scratch") as made:
        for name, files in {"libc6": LIBC, "tool": TOOL, "certs": CERTS}.items():
            path = tmp_path / f"{name}.deb"
            content = {**files}
            path.write_bytes(deb(name, content))
            made.add(Package(name, "1", f"debian/{name}.deb", 1, "0" * 64), path)
        yield made


def assembled(pool: Pool, tree: dict[str, bytes | str] | None = None, **fields: Any) -> dict[str, Entry]:
    recipe = Recipe.model_validate({"summary": "x", "keep": ["usr/bin/tool"]} | fields)
    component = Component(name="demo", folder=Path("/nowhere"), recipe=recipe, files=tree or {})
    selection = Selector(pool, "amd64").select(recipe)
    entries = contents.assemble(component, recipe, pool, selection, selection.packages)
    assert [entry.path for entry in entries] == sorted(entry.path for entry in entries)
    assert {entry.mtime for entry in entries} == {contents.MTIME}
    return {entry.path: entry for entry in entries}


def read(entry: Entry) -> bytes:
    data = b"".join(entry.content)
    assert len(data) == entry.size
    assert b"".join(entry.content) == data, "content can be read again"
    return data


def test_containers_have_links_into_usr(pool: Pool) -> None:
    found = assembled(pool, {"bin/script": b"#!/bin/sh\n"})
    assert {name: found[name].target for name in ("bin", "lib", "lib64")} == {
        "bin": "usr/bin", "lib": "usr/lib", "lib64": "usr/lib64"}
    assert "sbin" not in found
    assert found["usr/bin/script"].mode == 0o755
    assert b"root:x:0:0:" in read(found["etc/passwd"])


def test_images_for_the_machines_root_have_no_top_level_links(pool: Pool) -> None:
    found = assembled(pool, layout="split", tree={"bin/script": b"#!/bin/sh\n", "lib/data": b"x"})
    top = {path: entry.kind for path, entry in found.items() if "/" not in path}
    assert set(top.values()) == {Kind.DIR}
    assert found["bin/script"].kind is found["lib/data"].kind is Kind.FILE
    assert found["lib64/ld-linux-x86-64.so.2"].target == f"/usr/lib/{TRIPLET}/ld-linux-x86-64.so.2"
    assert "etc/passwd" not in found


def test_adds_what_the_recipe_says(pool: Pool) -> None:
    found = assembled(
        pool, {"etc/tool.ini": b"a=1\n", "etc/alias": "tool.ini"}, move={"usr/bin/tool": "usr/sbin/daemon"},
        links=[{"target": "daemon", "at": "usr/sbin", "names": ["one", "two"]}],
        users=[{"name": "tool", "uid": 100, "gid": 101, "home": "/run/tool"}],
        files=[{"path": "run/tool", "directory": True, "mode": "0700", "uid": 100},
               {"path": "etc/motd", "contents": "hello\n", "mode": "0600", "gid": 5},
               {"path": "etc/link", "symlink": "/etc/motd"}])
    assert found["usr/sbin/daemon"].kind is Kind.FILE
    assert "usr/bin/tool" not in found
    assert (found["usr/sbin/two"].target, found["etc/alias"].target) == ("daemon", "tool.ini")
    assert (found["run/tool"].mode, found["run/tool"].uid) == (0o700, 100)
    assert (found["etc/motd"].mode, found["etc/motd"].gid, read(found["etc/motd"])) == (0o600, 5, b"hello\n")
    assert found["etc/tool.ini"].mode == 0o644
    assert b"\ntool:x:100:101::/run/tool:" in read(found["etc/passwd"])
    assert b"\ntool:x:101:\n" in read(found["etc/group"])


def test_joins_files_in_the_order_of_their_paths(pool: Pool) -> None:
    found = assembled(pool, keep=[], join=[{"path": "etc/all.crt", "parts": ["usr/share/certs/*.crt"]}])
    assert read(found["etc/all.crt"]) == b"A\nB\n"
    assert "usr/share/certs/a.crt" not in found


def test_carries_control_data_and_licences(pool: Pool) -> None:
    found = assembled(pool)
    assert b"Package: libc6" in read(found["var/lib/dpkg/status.d/libc6"])
    assert read(found["usr/share/doc/tool/copyright"]) == b"licence of tool\n"


def test_finds_a_licence_in_another_packages_folder(pool: Pool) -> None:
    licence = contents.licence_of(pool, "certs")
    assert licence
    assert licence.package == "tool"


def test_refuses_what_is_no_tree(pool: Pool) -> None:
    with pytest.raises(InputError, match=r"usr/bin/tool/x lies below usr/bin/tool, which is a file"):
        assembled(pool, {"usr/bin/tool/x": b""})
    with pytest.raises(InputError, match="demo: move names usr/bin/none"):
        assembled(pool, move={"usr/bin/none": "usr/bin/x"})
