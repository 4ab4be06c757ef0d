"""The lock file: what it says, how it reads, where it lies, and what is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from provisioner.components import lock, recipe
from provisioner.components.apt import Package
from provisioner.components.lock import Change, Locked
from provisioner.errors import DeviceError, InputError

ONE = Package("libc6", "2.41-12", "debian/pool/libc6_2.41-12_amd64.deb", 10, "a" * 64)
TWO = Package("tool", "1:1.0", "debian-security/pool/tool_1.0_amd64.deb", 20, "b" * 64)
LOCK = {"tool": Locked("trixie", "f00d", {"amd64": (ONE, TWO), "arm64": (ONE,)}), "none": Locked("trixie", "0", {})}


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PROVISIONER_DATA", str(tmp_path / "one"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "two"))
    for place, name in (("one", "tool"), ("two/provisioner", "mine")):
        folder = tmp_path / place / "components" / name
        folder.mkdir(parents=True)
        (folder / "component.yml").write_text("summary: x\n")
    return tmp_path


def test_reads_back_what_it_wrote(tmp_path: Path) -> None:
    lock.write(LOCK, tmp_path / "components.lock")
    assert lock.read(tmp_path / "components.lock") == LOCK
    assert (tmp_path / "components.lock").stat().st_mode & 0o777 == 0o644
    assert [path.name for path in tmp_path.iterdir()] == ["components.lock"]


def test_is_json_with_one_package_a_line_and_no_mirror() -> None:
    text = lock.render(LOCK)
    document = json.loads(text)
    assert document["components"]["tool"]["packages"]["arm64"][0]["version"] == "2.41-12"
    assert [line for line in text.splitlines() if "tool_1.0" in line] == [
        '     {"name": "tool", "version": "1:1.0", "path": "debian-security/pool/tool_1.0_amd64.deb", "size": 20, '
        f'"sha256": "{"b" * 64}"}}']
    assert "://" not in text
    assert lock.render(dict(reversed(LOCK.items()))) == text


def test_says_what_changed() -> None:
    newer = replace(ONE, version="2.41-13", sha256="c" * 64)
    new = {"tool": Locked("trixie", "f00d", {"amd64": (newer,), "arm64": (ONE, TWO)})}
    changed = list(lock.changes(LOCK, new))
    assert changed == [Change("tool", "amd64", "libc6", "2.41-12", "2.41-13"),
                       Change("tool", "amd64", "tool", "1:1.0", ""), Change("tool", "arm64", "tool", "", "1:1.0")]
    assert [str(change) for change in changed] == [
        "tool amd64: libc6 2.41-12 -> 2.41-13", "tool amd64: - tool 1:1.0", "tool arm64: + tool 1:1.0"]


def test_each_component_is_locked_beside_its_folder(root: Path) -> None:
    mine = Locked("trixie", "beef", {"amd64": (ONE,)})
    written = lock.save({"tool": LOCK["tool"], "mine": mine})
    ours, theirs = root / "one/components/components.lock", root / "two/provisioner/components/components.lock"
    assert set(written) == {ours, theirs}
    assert lock.read(ours) == {"tool": LOCK["tool"]}
    assert lock.read(theirs) == {"mine": mine}
    assert lock.load()["mine"] == mine
    assert lock.load()["tool"] == LOCK["tool"]
    assert lock.save({"mine": replace(mine, recipe="cafe")}) == [theirs]
    assert lock.read(ours) == {"tool": LOCK["tool"]}, "a lock of one component leaves the others alone"
    assert lock.save({"tool": LOCK["tool"]}) == [], "what is the same is not written"


def test_a_component_of_ours_that_a_user_replaces_stays_locked(root: Path) -> None:
    theirs = root / "two/provisioner/components"
    (theirs / "tool").mkdir()
    (theirs / "tool/component.yml").write_text("summary: x\n")
    ours = root / "one/components"
    lock.write(LOCK | {"gone": LOCK["none"]}, theirs / "components.lock")
    assert lock.save({"tool": LOCK["tool"]}) == [ours / "components.lock"]
    lock.save({"mine": LOCK["none"], "tool": LOCK["tool"]})
    assert set(lock.read(theirs / "components.lock")) == {"mine", "tool"}, "what is no more goes"


@pytest.mark.parametrize("text", [
    "", "[]", "{}", '{"version": 1}', '{"version": 1, "components": {"a": {}}}',
    json.dumps({"version": 1, "components": {"a": {"suite": "", "recipe": "", "packages": {"amd64": [{}]}}}}),
    lock.render(LOCK).replace("debian/pool", "debian/../../etc"), lock.render(LOCK).replace("b" * 64, "b" * 63),
    lock.render(LOCK).replace('"size": 10', '"size": "10"'),
])
def test_names_a_file_that_is_no_lock(tmp_path: Path, text: str) -> None:
    path = tmp_path / "components.lock"
    path.write_text(text)
    with pytest.raises(InputError, match="is not a lock file"):
        lock.read(path)


def test_a_newer_format_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "components.lock"
    path.write_text('{"version": 2, "components": {}}')
    with pytest.raises(InputError, match="version 2"):
        lock.read(path)


def test_no_file_is_an_empty_lock(tmp_path: Path) -> None:
    assert lock.read(tmp_path / "components.lock") == {}


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DeviceError, match="cannot write"):
        lock.write(LOCK, tmp_path / "file" / "components.lock")


def test_the_lock_that_ships_fits_the_recipes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("PROVISIONER_DATA", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    locked = lock.load()
    stale = [name for name in recipe.names() if recipe.load(name).recipe.packages
             and (name not in locked or locked[name].recipe != recipe.load(name).selection()
                  or set(locked[name].packages) != set(recipe.load(name).recipe.arches))]
    assert not stale, f"run: provisioner component lock {' '.join(stale)}"
