"""Files: kinds, modes, owners, parents, sources, metadata."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from provisioner.errors import InputError
from provisioner.model.tree import Entry
from provisioner.spec import parse
from provisioner.tree.files import files
from tests.tree.made import Shelf, content, entries, lines


def laid(text: str, *, known: frozenset[str] = frozenset()) -> list[Entry]:
    return entries(*files(Shelf().sources(text), known))


def test_kinds_and_default_modes() -> None:
    assert lines(laid("""
files:
  - {path: a, contents: x}
  - {path: b, directory: true}
  - {path: c, symlink: /a}
  - {path: d, contents: "", mode: "0644"}
  - {path: e, directory: true, mode: "1777"}
  - {path: f, contents: x, mode: "100755"}
""")) == ["a file 600", "b dir 700", "c symlink 777 -> /a", "d file 644", "e dir 1777", "f file 755"]


@pytest.mark.parametrize(("mode", "parents"), [
    ("0600", "700"), ("0644", "755"), ("0444", "555"), ("0040", "50"), ("0002", "3"), ("0000", "0"),
    ("4755", "4755")])
def test_parents_can_be_searched_by_whoever_can_do_anything(mode: str, parents: str) -> None:
    assert lines(laid(f"files: [{{path: /p/q/x, contents: x, mode: \"{mode}\"}}]"))[:2] == [
        f"p dir {parents}", f"p/q dir {parents}"]


def test_parents_come_once_with_the_files_owner() -> None:
    text = ("services: [{name: s, image: x}]\n"
            "files: [{path: p/a, contents: x, uid: s, gid: 7}, {path: p/b, contents: x}]")
    assert lines(laid(text)) == ["p dir 700 100:7", "p/a file 600 100:7", "p/b file 600"]


def test_directories_that_are_there_keep_their_mode() -> None:
    text = "init: [x]\nfiles: [{path: etc/app/x, contents: x}, {path: boot/y, contents: y}]"
    assert lines(laid(text, known=frozenset({"boot"}))) == [
        "etc/app dir 700", "etc/app/x file 600", "boot/y file 600"]
    assert lines(laid("files: [{path: etc/x, contents: x}]")) == ["etc dir 700", "etc/x file 600"]


@pytest.mark.parametrize("path", ["/a//b/./c", "a/b/c", "a/b/x/../c", "//a/b/c"])
def test_paths_are_cleaned(path: str) -> None:
    assert [entry.path for entry in laid(f"files: [{{path: {path}, contents: x}}]")] == ["a", "a/b", "a/b/c"]


def test_the_root_itself_is_not_written() -> None:
    assert laid("files: [{path: /, directory: true}]") == []


def test_sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    (tmp_path / "home/key").write_bytes(b"key")
    (tmp_path / "file").write_bytes(b"\x00\xff" * 300_000)
    text = ("files: [{path: a, source: file}, {path: b, source: ~/key, mode: \"0400\"}, "
            "{path: c, source: no, optional: true}]")
    found = laid(text)
    assert lines(found) == ["a file 600", "b file 400"]
    assert (content(found, "a"), content(found, "b")) == (b"\x00\xff" * 300_000, b"key")
    assert content(laid("files: [{path: n, source: /dev/null}]"), "n") == b""


def test_every_source_that_cannot_be_read_is_named_at_once(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        laid("files:\n- {path: a, source: none}\n"
             f"- {{path: b, source: {tmp_path}}}\n- {{path: c, source: /dev/zero}}")
    assert [problem.line for problem in caught.value.problems] == [2, 3, 4]
    assert "cannot read none: No such file" in str(caught.value)
    assert f"{tmp_path} is no regular file" in str(caught.value)


@pytest.mark.parametrize("change", [b"", b"longer than before"])
def test_a_source_that_changes_meanwhile_is_told(tmp_path: Path, change: bytes) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"before")
    parts = list(files(Shelf().sources(f"files: [{{path: a, source: {path}}}]"), frozenset()))
    path.write_bytes(change)
    with pytest.raises(InputError, match="changed while it was read"):
        entries(*parts)


def test_metadata_is_the_merged_spec_with_full_names() -> None:
    text = ("kernel: {image: k, cmdline: c}\ninit: [acme/init:1]\nservices: [{name: s, image: app, binds: []}]\n"
            "volumes: [{name: v, image: seed}]\n"
            "files: [{path: m.yml, metadata: yaml}, {path: m.json, metadata: json}]")
    found = laid(text)
    spec = parse(content(found, "m.yml").decode(), file="m.yml")
    assert parse(content(found, "m.json").decode(), file="m.json") == spec
    assert (spec.kernel.image, spec.init) == ("docker.io/library/k", ("docker.io/acme/init:1",))
    assert (spec.services[0].image, spec.services[0].binds) == ("docker.io/library/app", ())
    assert spec.volumes[0].image == "seed"
    assert json.loads(content(found, "m.json"))["kernel"]["cmdline"] == "c"


def test_parts_carry_their_place() -> None:
    parts = list(files(Shelf().sources("files: [{path: a, contents: x}, {path: b, contents: y}]"), frozenset()))
    assert [(part.location, part.source, part.key) for part in parts] == [
        ("files[0]", "linuxkit.files", None), ("files[1]", "linuxkit.files", None)]
    assert entries(parts[0]) == entries(parts[0])
