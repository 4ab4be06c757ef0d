"""``provisioner cache``, as a person uses it."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tests.cli.shell import Shell
from tests.fakes.faults import serving
from tests.fakes.images import Images, docker_save, layer
from tests.fakes.registry import fake


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path)


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    made = Images()
    made.name(made.index([made.manifest(arch, [layer(arch, 50_000)]) for arch in ("amd64", "arm64")]),
              "docker.io/acme/both:1")
    made.name(made.manifest("arm64", [layer("solo")]), "reg.example.com/solo:2")
    return made.archive(tmp_path / "in.tar")


def test_an_image_s_life(shell: Shell, archive: Path, tmp_path: Path) -> None:
    said = shell("cache", "import", str(archive))
    assert "docker.io/acme/both:1" in said
    assert "linux/amd64 linux/arm64" in said
    listed = json.loads(shell("--json", "cache", "ls"))
    assert [row["name"] for row in listed] == ["docker.io/acme/both:1", "reg.example.com/solo:2"]
    assert listed[0]["platforms"] == ["linux/amd64", "linux/arm64"]
    assert listed[0]["size"] > 90_000
    assert "reg.example.com/solo:2" in shell("cache", "ls")
    out = tmp_path / "out.tar"
    said = json.loads(shell("--json", "cache", "export", "acme/both:1", "--platform", "arm64", "-o", str(out)))
    assert said == {"file": str(out), "images": ["acme/both:1"], "size": out.stat().st_size}
    shell("cache", "rm", "acme/both:1")
    assert "0 blobs" in shell("cache", "prune")
    assert "would free" in shell("cache", "prune", "--grace", "0", "--dry-run")
    freed = json.loads(shell("--json", "cache", "prune", "--grace", "0"))
    assert freed["freed"] > 90_000
    assert len(freed["blobs"]) == 7
    shell("cache", "import", str(out))
    assert len(json.loads(shell("--json", "cache", "ls"))) == 2
    shell("cache", "prune", "--all", "--grace", "0")
    assert json.loads(shell("--json", "cache", "ls")) == []


def test_through_pipes(shell: Shell, archive: Path) -> None:
    shell("cache", "import", "-", stdin=archive.read_bytes())
    shell("cache", "export", "acme/both:1", "reg.example.com/solo:2")
    data = shell.stdout
    shell("cache", "prune", "--all", "--grace", "0")
    rows = json.loads(shell("--json", "cache", "import", "-", stdin=data))
    assert [row["name"] for row in rows] == ["docker.io/acme/both:1", "reg.example.com/solo:2"]


def test_docker_save_in_and_docker_load_out(shell: Shell, tmp_path: Path) -> None:
    data = docker_save([(["acme/x:1"], "amd64", [layer("a")]), ([], "amd64", [layer("b")])])
    assert "docker.io/acme/x:1" in shell("cache", "import", "-", stdin=data)
    shell("cache", "export", "--format", "docker", "acme/x:1", "-o", str(tmp_path / "x.tar"))
    shell("cache", "import", str(tmp_path / "x.tar"))


def test_a_name_for_the_nameless(shell: Shell) -> None:
    data = docker_save([([], "amd64", [layer("a")])])
    shell("cache", "import", "-", stdin=data, code=3)
    assert "--name" in shell.stderr
    assert "docker.io/my/own:latest" in shell("cache", "import", "--name", "my/own", "-", stdin=data)


def test_what_goes_wrong_is_said_in_a_line(shell: Shell, tmp_path: Path) -> None:
    shell("cache", "import", str(tmp_path / "absent.tar"), code=4)
    assert "absent.tar" in shell.stderr
    shell("cache", "import", "-", stdin=b"nonsense", code=3)
    shell("cache", "export", "absent", "-o", str(tmp_path / "x"), code=4)
    shell("cache", "rm", "absent", code=4)
    assert "cache ls" in shell.stderr
    shell("cache", "prune", "--grace", "-1", code=2)
    assert json.loads(shell("--json", "cache", "export", "Bad Name", code=3))["error"] == "input"


def test_a_store_that_is_not_ours(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "cache" / "oci").mkdir(parents=True)
    (tmp_path / "cache" / "oci").chmod(0o777)
    shell("cache", "ls", code=9)
    assert "PROVISIONER_CACHE" in shell.stderr


def test_pulling_ahead(shell: Shell) -> None:
    made = Images()
    made.name(made.index([made.manifest(arch, [layer(arch)]) for arch in ("amd64", "arm64")]), "x:1")
    with serving(fake(made)) as server:
        name = f"{server.host}/x:1"
        assert made.tops[0]["digest"] in shell("cache", "pull", "--platform", "arm64", name)
        assert "oci fetched" in shell.stderr
        shell("cache", "pull", "--mirror", f"{server.host}={server.url}", "--platform", "amd64", name)
        shell("cache", "pull", "--platform", "s390x", name, code=4)
        assert "it has linux/amd64, linux/arm64" in shell.stderr
        shell("cache", "pull", "--mirror", "nonsense", name, code=2)
    rows = json.loads(shell("--json", "cache", "ls"))
    assert [(row["name"], row["platforms"]) for row in rows] == [(name, ["linux/amd64", "linux/arm64"])]


@pytest.mark.tool
def test_skopeo_reads_the_cache(shell: Shell, archive: Path, tmp_path: Path) -> None:
    shell("cache", "import", str(archive))
    out = subprocess.run(["skopeo", "--override-arch", "arm64", "inspect",
                          f"oci:{tmp_path}/cache/oci:docker.io/acme/both:1"], capture_output=True, check=True).stdout
    assert json.loads(out)["Architecture"] == "arm64"
