"""Components from the real mirror: the same digests everywhere, and programs that start."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from provisioner.components import recipe
from provisioner.model.platform import Platform
from provisioner.oci.store import Store

pytestmark = pytest.mark.system


def build(cache: Path, cwd: Path, *argv: str, umask: int = 0o022, **env: str) -> dict[str, str]:
    """Run `component build` in a process of its own and return platform → digest."""
    done = subprocess.run([sys.executable, "-m", "provisioner", "--json", "component", "build", *argv], cwd=cwd,
                          env=os.environ | {"PROVISIONER_CACHE": str(cache)} | env, umask=umask, capture_output=True,
                          text=True, check=False)
    assert done.returncode == 0, done.stderr
    return {row["platform"]: row["digest"] for row in json.loads(done.stdout.splitlines()[-1])}


def test_the_same_digest_in_every_place_and_manner(tmp_path: Path) -> None:
    argv = ("runc", "--arch", "amd64", "--arch", "arm64")
    (tmp_path / "elsewhere").mkdir()
    first = build(tmp_path / "one", tmp_path, *argv, TZ="UTC", LC_ALL="C.UTF-8")
    second = build(tmp_path / "two", tmp_path / "elsewhere", *argv, umask=0o077, TZ="Asia/Tokyo", LC_ALL="C")
    assert first == second
    assert set(first) == {"linux/amd64", "linux/arm64"}


def test_programs_start_in_their_images(tmp_path: Path) -> None:
    """The closure is whole: the dynamic linker finds every library, in a root that has nothing else."""
    cache = tmp_path / "cache"
    programs = {"runc": "/usr/bin/runc --version", "sshd": "/usr/sbin/sshd -V", "format": "/usr/sbin/mke2fs -V",
                "docker": "/usr/sbin/dockerd --version", "dhcpcd": "/sbin/dhcpcd --version",
                "node-exporter": "/usr/bin/node_exporter --version", "rngd": "/usr/sbin/rngd --version"}
    for name, command in programs.items():
        build(cache, tmp_path, name)
        root = tmp_path / name
        store = Store(cache / "oci")
        index = store.lookup(f"docker.io/provisioner/{name}:latest")
        assert index
        layer = store.image(index, Platform.host()).layers[0]
        root.mkdir()
        subprocess.run(["tar", "-C", str(root), "-xf", str(store.path(layer.digest))], check=True)
        (root / "dev").mkdir(exist_ok=True)
        (root / "dev/null").touch()
        done = subprocess.run(["unshare", "--user", "--map-root-user", "--root", root, *command.split()],
                              capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == 0, f"{name}: {done.stdout}{done.stderr}"


def test_every_component_builds_for_every_architecture(tmp_path: Path) -> None:
    for name in recipe.names():
        arches = recipe.load(name).recipe.arches
        built = build(Path(os.environ.get("PROVISIONER_CACHE", Path.home() / ".cache/provisioner")), tmp_path, name,
                      *(word for arch in arches for word in ("--arch", arch)))
        assert len(built) == len(arches), name
