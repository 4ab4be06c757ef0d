"""The verb `component`, run as a user runs it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fakes.debian import Archive


class Desk:
    """A folder with one component and the command line."""

    def __init__(self, root: Path) -> None:
        self.archive = Archive(root / "mirror")
        self.folder = root / "data/components/tool"
        (self.folder / "files").mkdir(parents=True)
        (self.folder / "component.yml").write_text("summary: a tool\nconfig: {net: new}\n")
        (self.folder / "files/hello").write_text("hello\n")
        self.env = os.environ | {"PROVISIONER_DATA": str(root / "data"), "PROVISIONER_CACHE": str(root / "cache"),
                                 "PROVISIONER_DEBIAN_MIRROR": self.archive.url}

    def run(self, *argv: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([sys.executable, "-m", "provisioner", *argv], env=self.env, capture_output=True,
                              text=True, check=False)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def test_builds_for_several_architectures(desk: Desk) -> None:
    done = desk.run("--json", "component", "build", "tool", "--arch", "amd64", "--arch", "aarch64", "--locked")
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)
    assert all(row["size"] > 0 for row in rows)
    assert [(row["component"], row["platform"]) for row in rows] == [
        ("provisioner/tool", "linux/amd64"), ("provisioner/tool", "linux/arm64")]
    again = desk.run("component", "build", "tool", "--arch", "amd64")
    assert rows[0]["digest"] in again.stdout


def test_lists_and_shows(desk: Desk) -> None:
    assert "a tool" in desk.run("component", "ls").stdout
    shown = json.loads(desk.run("--json", "component", "show", "tool").stdout)
    assert shown["recipe"] == {"summary": "a tool", "config": {"net": "new"}}
    assert shown["files"] == ["hello"]
    assert "summary: a tool" in desk.run("component", "show", "tool").stdout


@pytest.mark.parametrize(("argv", "code", "words"), [
    (["build"], 2, "no component named"),
    (["build", "tol"], 4, "did you mean tool"),
    (["build", "tool", "--arch", "s390x"], 4, "not made for linux/s390x"),
    (["show", "nosuch"], 4, "no component is named nosuch"),
    (["lock", "nosuch"], 4, "no component is named nosuch"),
])
def test_says_what_is_wrong(desk: Desk, argv: list[str], code: int, words: str) -> None:
    done = desk.run("component", *argv)
    assert (done.returncode, done.stdout) == (code, "")
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_a_bad_recipe_is_reported_by_place(desk: Desk) -> None:
    (desk.folder / "component.yml").write_text("summary: x\nkep: [a]\n")
    done = desk.run("component", "build", "tool")
    assert done.returncode == 3
    assert "component.yml:2:1" in done.stderr


def test_a_locked_build_without_lock_says_how(desk: Desk) -> None:
    (desk.folder / "component.yml").write_text("summary: x\npackages: [tool]\nkeep: [usr/bin/tool]\n")
    done = desk.run("component", "build", "tool", "--locked", "--arch", "amd64")
    assert done.returncode == 1
    assert "provisioner component lock tool" in done.stderr
