"""``provisioner build`` as a user meets it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from tests.fakes import small

PROVISIONER = (sys.executable, "-m", "provisioner")


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with m.yml, and a cache with its images."""
    monkeypatch.setenv("PROVISIONER_CACHE", str(tmp_path / "cache"))
    small.store(tmp_path / "cache")
    (tmp_path / "m.yml").write_text(small.YAML)
    return tmp_path


def run(place: Path, *arguments: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*PROVISIONER, *arguments], cwd=place, input=stdin, capture_output=True, text=True,
                          check=False)


def test_a_table_for_people(place: Path) -> None:
    done = run(place, "build", "--arch", "amd64", "m.yml")
    assert done.returncode == 0, done.stderr
    assert [line.split()[0] for line in done.stdout.splitlines()] == ["FILE", "m-kernel", "m-initrd.img", "m-cmdline"]
    assert "segment" in done.stderr


def test_json_is_all_there_is_on_standard_output(place: Path) -> None:
    done = run(place, "--json", "build", "--arch", "amd64,arm64", "-f", "kernel+initrd,tar", "--dir", ".", "m.yml")
    rows = json.loads(done.stdout)["artifacts"]
    assert len(rows) == 8
    assert {row["platform"] for row in rows} == {"linux/amd64", "linux/arm64"}
    assert all((place / row["path"]).stat().st_size == row["size"] for row in rows)


def test_a_tar_on_standard_output(place: Path) -> None:
    done = subprocess.run([*PROVISIONER, "-q", "build", "--arch", "arm64", "--o", "-", "m.yml"], cwd=place,
                          capture_output=True, check=True)
    (place / "x.tar").write_bytes(done.stdout)
    with tarfile.open(place / "x.tar") as archive:
        names = archive.getnames()
    assert names[:3] == ["boot", "boot/cmdline", "boot/kernel"]
    assert "containers/services/web/config.json" in names
    assert list(place.glob("m*")) == [place / "m.yml"]


def test_standard_input_and_merging(place: Path) -> None:
    done = run(place, "build", "--arch", "amd64", "m.yml", "-", stdin="kernel:\n  cmdline: quiet\n")
    assert done.returncode == 0, done.stderr
    assert (place / "moby-cmdline").read_text() == "quiet"


def test_every_fault_at_its_place(place: Path) -> None:
    (place / "bad.yml").write_text("kernal:\n  image: x\nservices:\n  - name: a\n    image: b\n    net: 5\n")
    done = run(place, "build", "bad.yml")
    assert done.returncode == 3
    assert "bad.yml:1:1: " in done.stderr
    assert "kernel" in done.stderr
    assert "bad.yml:6:" in done.stderr
    errors = json.loads(run(place, "--json", "build", "bad.yml").stdout)
    assert [problem["line"] for problem in errors["problems"]] == [1, 6]


@pytest.mark.parametrize(("arguments", "code", "words"), [
    (("none.yml",), 4, "none.yml"),
    (("--arch", "z80", "m.yml"), 2, "unknown architecture z80"),
    (("--format", "tarr", "m.yml"), 4, "did you mean tar?"),
    (("--o", "x", "--name", "y", "m.yml"), 2, "--o"),
    (("--name", "a/b", "m.yml"), 2, "a/b"),
    (("--o", "x", "--format", "kernel+initrd", "m.yml"), 2, "more than one file"),
    ((".",), 4, "Is a directory"),
])
def test_what_cannot_be_is_said(place: Path, arguments: tuple[str, ...], code: int, words: str) -> None:
    done = run(place, "build", *arguments)
    assert (done.returncode, done.stdout) == (code, ""), done.stderr
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_trust_is_not_ignored_in_silence(place: Path) -> None:
    (place / "m.yml").write_text(small.YAML + "trust:\n  org: [acme]\n")
    done = run(place, "build", "--arch", "amd64", "m.yml")
    assert done.returncode == 0
    assert "warning: m.yml:19:3: signatures are not checked yet" in done.stderr


def test_an_interrupt_leaves_nothing(place: Path) -> None:
    small.store(place / "cache", tool=os.urandom(20 << 20))
    with subprocess.Popen([*PROVISIONER, "build", "--arch", "amd64", "m.yml"], cwd=place,
                          stderr=subprocess.PIPE) as child:
        assert child.stderr is not None
        assert child.stderr.readline().startswith(b"segment")
        child.send_signal(signal.SIGINT)
        said = child.stderr.read()
    assert child.returncode == 130, said
    assert said.endswith(b"interrupted\n")
    assert b"Traceback" not in said
    assert sorted(path.name for path in place.iterdir()) == ["cache", "m.yml"]
    assert not list((place / "cache").glob("segments/.new-*"))
