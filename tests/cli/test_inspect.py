"""``provisioner inspect``, as a person uses it."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from provisioner.cli.inspect import summary
from tests.cli.shell import Shell
from tests.fakes.cpio import newc
from tests.fakes.machine import VERSION, YAML, stock


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shell:
    """A shell in a folder with m.yml and all that is built from it for amd64."""
    stock(tmp_path / "cache")
    monkeypatch.chdir(tmp_path)
    Path("m.yml").write_text(YAML)
    shell = Shell(tmp_path)
    shell("--quiet", "build", "--arch", "amd64", "-f", "kernel+initrd,tar", "m.yml")
    return shell


def test_an_initrd(shell: Shell) -> None:
    lines = shell("inspect", "m-initrd.img").splitlines()
    assert lines[0].startswith("m-initrd.img: initrd, ")
    assert "8 segments (gzip)" in lines[0]
    assert lines[1:4] == ["platform: linux/amd64", f"kernel: {VERSION}", "command line: console=ttyS0"]
    assert [line.split()[1] for line in lines if line.startswith("init[0]")] == ["docker.io/acme/init:1"]
    server, = (line.split() for line in lines if line.startswith("services/server"))
    assert server[1] == "docker.io/acme/server:1"
    assert server[-4:] == ["/srv/server", "NET_ADMIN", "host", "/etc/resolv.conf:/etc/resolv.conf"]


def test_a_tar_says_the_same(shell: Shell) -> None:
    lines = shell("inspect", "m.tar").splitlines()
    assert lines[0].startswith("m.tar: tar, ")
    assert "segments" not in lines[0]
    assert lines[1:4] == ["platform: linux/amd64", f"kernel: {VERSION}", "command line: console=ttyS0"]
    server, = (line.split() for line in lines if line.startswith("services/server"))
    assert server[1] == "docker.io/acme/server:1"


def test_a_kernel(shell: Shell) -> None:
    said = shell("inspect", "m-kernel")
    assert said == f"m-kernel: kernel, 2.0 kB\nplatform: linux/amd64\nkernel: {VERSION}\n"


def test_json(shell: Shell) -> None:
    said = json.loads(shell("--json", "inspect", "m-initrd.img"))
    assert (said["kind"], said["platform"], said["kernel"], said["cmdline"]) == (
        "initrd", "linux/amd64", VERSION, "console=ttyS0")
    assert [(group["section"], group["name"], group["source"]) for group in said["groups"]] == [
        ("kernel", "", "docker.io/acme/kernel:1"), ("root", "", ""),
        ("onboot", "000-first", "docker.io/acme/tool:1"), ("services", "server", "docker.io/acme/server:1")]
    assert said["groups"][3]["config"] == {
        "command": ["/srv/server"], "capabilities": ["CAP_NET_ADMIN"], "net": "host", "readonly": False,
        "mounts": ["/etc/resolv.conf:/etc/resolv.conf"]}
    assert [row["location"] for row in said["origins"]] == [
        "kernel", "init[0]", "onboot[0]", "services[0]", "files[0]"]
    assert "files" not in said


def test_every_file(shell: Shell) -> None:
    lines = shell("inspect", "--files", "m-initrd.img").splitlines()
    assert lines[0].split() == ["drwxr-xr-x", "0", "0", "0", "boot"]
    assert ["lrw-r--r--", "0", "0", "0", "sbin/init", "->", "../bin/init"] in [line.split() for line in lines]
    assert any(line.split()[:4] == ["-rwxr-xr-x", "100", "0", "20000"] for line in lines)
    rows = json.loads(shell("--json", "inspect", "--files", "m-initrd.img"))["files"]
    assert len(rows) == len(lines)
    assert {"path": "etc/motd", "kind": "file", "mode": "0600", "uid": 0, "gid": 0, "size": 5, "target": ""} in rows


def test_a_configuration_word_for_word(shell: Shell) -> None:
    for name in ("m-initrd.img", "m.tar"):
        said = shell("inspect", "--config", "first", name)
        assert json.loads(said)["process"]["args"] == ["/bin/tool", "--first"]
    shell("inspect", "--config", "frist", "m-initrd.img", code=4)
    assert "no container frist" in shell.stderr
    assert "there are onboot/000-first, services/server" in shell.stderr


def test_garbage_is_told_in_a_line(shell: Shell) -> None:
    Path("x").write_bytes(b"what is this\n")
    shell("inspect", "x", code=3)
    assert shell.stderr == "error: x: neither an initrd, a tar nor a Linux kernel\n"
    shell("inspect", "absent", code=4)
    assert shell.stderr == "error: cannot read absent: No such file or directory\n"
    Path("cut").write_bytes(Path("m-initrd.img").read_bytes()[:-100])
    shell("inspect", "cut", code=3)
    assert shell.stderr.startswith("error: cut: corrupt gzip data")
    assert json.loads(shell("--json", "inspect", "x", code=3))["error"] == "input"


def test_names_in_an_image_cannot_steer_the_terminal(tmp_path: Path) -> None:
    shell = Shell(tmp_path)
    evil = {"a\x1b[2Jb": b"", "boot/cmdline": b"quiet\x1b]0;title\x07",
            "containers/services/x/config.json": b'{"process":{"args":["\\u001b[31m"]}}'}
    (tmp_path / "evil").write_bytes(gzip.compress(newc(evil)))
    for words in ([], ["--files"]):
        said = shell("inspect", *words, str(tmp_path / "evil"))
        assert "\x1b" not in said
        assert "\x07" not in said
        assert "\\x1b" in said


def test_many_capabilities_are_counted(tmp_path: Path) -> None:
    config = {"process": {"capabilities": {"bounding": [f"CAP_{number}" for number in range(9)]}},
              "linux": {"namespaces": [{"type": "network"}]}}
    (tmp_path / "x").write_bytes(newc({"containers/services/x/config.json": json.dumps(config).encode()}))
    said = Shell(tmp_path)("inspect", str(tmp_path / "x"))
    assert "9 of them" in said
    assert "new" in said.splitlines()[-1].split()


@pytest.mark.parametrize("config", [
    {}, {"process": []}, {"process": {"args": 7, "capabilities": []}}, {"mounts": {"a": 1}, "linux": 5, "root": "x"},
    {"mounts": [3, {"options": 4}, {"options": [[], {}]}], "linux": {"namespaces": [None, {"type": []}]}}])
def test_a_strange_configuration_does_no_harm(config: dict[str, object]) -> None:
    found = summary(config)
    assert (found["command"], found["mounts"], found["net"]) == ([], [], "host")
