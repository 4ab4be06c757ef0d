"""``provisioner build``, as a person uses it: names, refusals, and nothing half-written whatever happens."""

from __future__ import annotations

import hashlib
import io
import json
import os
import resource
import signal
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from tests.cli.shell import Shell
from tests.fakes.faults import Answer, serving
from tests.fakes.images import Images
from tests.fakes.machine import YAML, stock
from tests.tree.made import member, tar


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shell:
    stock(tmp_path / "cache")
    (tmp_path / "m.yml").write_text(YAML)
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return Shell(tmp_path)


def files(shell: Shell) -> list[str]:
    return sorted(path.name for path in (shell.folder / "work").iterdir())


def leftovers(shell: Shell) -> list[str]:
    """Return what a build that ended has left half-done anywhere."""
    found = [path for path in (shell.folder / "cache").rglob("*") if path.name.startswith((".new-", "."))]
    return [str(path) for path in found] + [name for name in files(shell) if name.startswith(".")]


def child(shell: Shell, *words: str, limit: int | None = None) -> subprocess.Popen[str]:
    """Start the program as a process of its own; ``limit`` is the size at which files are full, in bytes."""
    def confine() -> None:
        if limit is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    environment = {**os.environ, "PROVISIONER_CACHE": str(shell.folder / "cache"), "HOME": str(shell.folder),
                   "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    return subprocess.Popen([sys.executable, "-m", "provisioner", *words], cwd=shell.folder / "work", text=True,
                            env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, preexec_fn=confine)


def test_three_files_named_after_the_yaml(shell: Shell) -> None:
    said = shell("build", "--arch", "amd64", "../m.yml")
    assert files(shell) == ["m-cmdline", "m-initrd.img", "m-kernel"]
    assert said.splitlines()[0].split() == ["FILE", "SIZE", "DIGEST"]
    assert "m-kernel" in said
    assert "segment onboot[0] compressed" in shell.stderr


def test_two_architectures_are_part_of_the_names(shell: Shell) -> None:
    for given in (["--arch", "amd64", "--arch", "arm64"], ["--arch", "x86_64,arm64,amd64"]):
        shell("build", "--name", "base", *given, "../m.yml")
        assert files(shell) == [f"base-{arch}-{end}" for arch in ("amd64", "arm64")
                                for end in ("cmdline", "initrd.img", "kernel")]
    shell("build", "--name", "one", "--arch", "arm64", "--arch", "arm64", "../m.yml")
    assert "one-kernel" in files(shell)


def test_where_files_go(shell: Shell) -> None:
    shell("build", "--dir", "deep/er", "--name", "v1.2", "--arch", "amd64", "../m.yml")
    assert sorted(path.name for path in Path("deep/er").iterdir()) == [
        "v1.2-cmdline", "v1.2-initrd.img", "v1.2-kernel"]
    shell("build", "-o", "one.image", "--arch", "amd64", "../m.yml")
    assert tarfile.is_tarfile("one.image")


def test_several_files_and_standard_input_are_merged(shell: Shell) -> None:
    more = b"files:\n- {path: etc/more, contents: more}\n"
    shell("build", "--arch", "amd64", "-f", "tar", "../m.yml", "-", stdin=more)
    with tarfile.open("moby.tar") as archive:
        assert {"etc/more", "etc/motd"} <= set(archive.getnames())
    shell("build", "--arch", "amd64", "../m.yml", "-", stdin=b"kernel:\n  cmdline: quiet\n")
    assert Path("moby-cmdline").read_text() == "quiet"


def test_a_url(shell: Shell) -> None:
    with serving(lambda _asked: Answer(body=YAML.encode())) as server:
        shell("build", "--arch", "amd64", "-f", "tar", f"{server.url}/machines/far.yml?x=1")
    assert files(shell) == ["far.tar"]


@pytest.mark.parametrize("option", ["-o", "--o"])
def test_standard_output_is_a_stream_of_tar(shell: Shell, capfdbinary: pytest.CaptureFixture[bytes],
                                            option: str) -> None:
    said = shell("build", "--arch", "amd64", "-f", "tar", option, "-", "../m.yml")
    with tarfile.open(fileobj=io.BytesIO(capfdbinary.readouterr().out), mode="r|") as archive:
        assert "boot/kernel" in archive.getnames()
    assert said == ""
    assert files(shell) == []


def test_json(shell: Shell) -> None:
    said = json.loads(shell("--json", "build", "--arch", "arm64", "-f", "kernel+initrd,tar", "../m.yml"))
    assert [(row["path"], row["role"], row["format"], row["platform"]) for row in said["artifacts"]] == [
        ("m-kernel", "kernel", "kernel+initrd", "linux/arm64"),
        ("m-initrd.img", "initrd", "kernel+initrd", "linux/arm64"),
        ("m-cmdline", "cmdline", "kernel+initrd", "linux/arm64"),
        ("m.tar", "tar", "tar", "linux/arm64")]
    for row in said["artifacts"]:
        data = Path(row["path"]).read_bytes()
        assert (row["size"], row["digest"]) == (len(data), "sha256:" + hashlib.sha256(data).hexdigest())
    assert shell.stderr == ""


def test_quiet(shell: Shell) -> None:
    shell("--quiet", "build", "--arch", "amd64", "../m.yml")
    assert shell.stderr == ""


def test_verbose_tells_the_digest_of_each_image(shell: Shell) -> None:
    shell("--verbose", "build", "--arch", "amd64", "../m.yml")
    assert "image acme/tool:1 sha256:" in shell.stderr


@pytest.mark.parametrize(("words", "code", "message", "hint"), [
    (["-f", "kernel-initrd"], 4, "no format kernel-initrd", "did you mean kernel+initrd?"),
    (["-f", "floppy"], 4, "no format floppy", "there are "),
    (["--arch", "arm65"], 2, "unknown architecture arm65", "arm64"),
    (["-o", "x", "--dir", "y"], 2, "--o names the whole output", ""),
    (["-o", "x", "--name", "y"], 2, "--o names the whole output", ""),
    (["-o", "x", "-f", "kernel+initrd"], 2, "one output file", "kernel+initrd is more than one file"),
    (["-o", "x", "--arch", "amd64,arm64"], 2, "one output file takes one format", "use --dir and --name"),
    (["--name", "a/b"], 2, "--name a/b is no file name", "choose the folder with --dir"),
    (["--name", ".."], 2, "--name .. is no file name", ""),
    (["--compress", "rar"], 2, "'rar' is not one of", ""),
    (["absent.yml"], 4, "cannot read absent.yml", ""),
    (["."], 4, "Is a directory", ""),
])
def test_wrong_choices(shell: Shell, words: list[str], code: int, message: str, hint: str) -> None:
    shell("build", *words, "../m.yml", code=code)
    assert message in shell.stderr
    assert hint in shell.stderr
    assert files(shell) == []


def test_no_file_at_all(shell: Shell) -> None:
    shell("build", code=2)
    assert "FILE" in shell.stderr


def test_every_fault_of_the_yaml_at_once(shell: Shell) -> None:
    Path("bad.yml").write_text("kernl: {}\ninit: 7\n")
    shell("build", "bad.yml", code=3)
    assert "bad.yml:1:1" in shell.stderr
    assert "bad.yml:2:7" in shell.stderr
    assert files(shell) == ["bad.yml"]
    said = json.loads(shell("--json", "build", "bad.yml", code=3))
    assert [(row["line"], row["column"]) for row in said["problems"]] == [(1, 1), (2, 7)]


def test_an_image_without_the_architecture_says_which_it_has(tmp_path: Path, shell: Shell) -> None:
    stock(tmp_path / "cache", {"tool": ["amd64"]})
    shell("build", "--arch", "amd64,arm64", "../m.yml", code=4)
    assert "m.yml:8:" in shell.stderr
    assert "acme/tool:1" in shell.stderr
    assert "linux/arm64" in shell.stderr
    assert "it has linux/amd64" in shell.stderr
    assert files(shell) == []


def test_what_has_no_effect_is_said(shell: Shell) -> None:
    Path("t.yml").write_text(YAML + "trust:\n  org: [acme]\n")
    shell("--quiet", "build", "--arch", "amd64", "t.yml")
    assert "warning: t.yml:19:3:" in shell.stderr
    assert "signatures are not checked" in shell.stderr


def test_lost_attributes_are_warned_of_even_when_nothing_is_read_again(tmp_path: Path, shell: Shell) -> None:
    made = Images()
    ping = member("ping", b"x", pax={"SCHILY.xattr.security.capability": "x"})
    made.name(made.manifest("amd64", [tar(ping)]), "docker.io/acme/ping:1")
    made.write(tmp_path / "cache" / "oci")
    Path("x.yml").write_text("onboot:\n- {name: x, image: acme/ping:1, command: [/ping]}\n")
    for _ in range(2):
        shell("--quiet", "build", "--arch", "amd64", "x.yml")
        assert "1 files have extended attributes" in shell.stderr


def test_a_full_disk_names_the_file_and_leaves_nothing(shell: Shell) -> None:
    shell("build", "--arch", "amd64", "--name", "before", "../m.yml")
    limit = (shell.folder / "work" / "before-initrd.img").stat().st_size - 1000
    with child(shell, "build", "--arch", "amd64", "../m.yml", limit=limit) as full:
        said = full.communicate(timeout=60)[1]
    assert full.returncode == 8
    assert "error: m-initrd.img: the disk is full after " in said
    assert "hint: make room" in said
    assert files(shell) == ["before-cmdline", "before-initrd.img", "before-kernel"]
    assert leftovers(shell) == []


def test_a_full_cache_names_the_cache_and_leaves_nothing(shell: Shell) -> None:
    with child(shell, "build", "--arch", "amd64", "../m.yml", limit=10_000) as full:
        said = full.communicate(timeout=60)[1]
    assert full.returncode == 8
    assert f"error: {shell.folder}/cache/segments/" in said
    assert "the disk is full after " in said
    assert files(shell) == []
    assert leftovers(shell) == []


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_stopped_in_the_middle_it_leaves_nothing(tmp_path: Path, shell: Shell, stop: signal.Signals) -> None:
    made = Images()
    noise = tar(member("big", os.urandom(30_000_000)))
    made.name(made.manifest("amd64", [noise], compress=False), "docker.io/acme/big:1")
    made.write(tmp_path / "cache" / "oci")
    Path("big.yml").write_text("init: [acme/big:1]\n")
    with child(shell, "build", "--arch", "amd64", "--compress", "xz", "big.yml") as busy:
        while not (begun := list((tmp_path / "cache").glob("segments/.new-*/segment"))):
            assert busy.poll() is None
        busy.send_signal(stop)
        said = busy.communicate(timeout=60)[1]
    assert begun
    assert busy.returncode == 130
    assert said.endswith("interrupted\n")
    assert "Traceback" not in said
    assert files(shell) == ["big.yml"]
    assert leftovers(shell) == []


def test_a_reader_that_goes_away_is_no_failure_of_ours(shell: Shell) -> None:
    with child(shell, "build", "--arch", "amd64", "-o", "-", "../m.yml") as stream:
        assert stream.stdout is not None
        stream.stdout.close()
        assert stream.stderr is not None
        said = stream.stderr.read()
    assert "Traceback" not in said
    assert stream.returncode != 0
    assert files(shell) == []
    assert leftovers(shell) == []
