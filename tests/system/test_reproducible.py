"""examples/docker.yml built twice, each time with an empty segment cache: the same digests, on both platforms."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from provisioner import data

pytestmark = pytest.mark.system
EXAMPLE = data.find("examples", "docker.yml")


def cold(folder: Path, umask: int, arch: str, environment: dict[str, str]) -> dict[str, str]:
    """Build with images and packages of the usual cache but without its segments; return the digest of each file."""
    (folder / "cache").mkdir(parents=True, mode=0o700)
    usual = data.cache_dir()
    usual.mkdir(parents=True, exist_ok=True)
    for name in ("oci", "debs", "apt"):
        (usual / name).mkdir(exist_ok=True)
        (folder / "cache" / name).symlink_to(usual / name)
    argv = [sys.executable, "-m", "provisioner", "--json", "build", "--arch", arch, "-f", "kernel+initrd,tar",
            str(EXAMPLE)]
    python = str(Path(__file__).resolve().parents[2])
    done = subprocess.run(argv, cwd=folder, umask=umask, stdout=subprocess.PIPE, check=True, env={
        **os.environ, "PYTHONPATH": python, "PROVISIONER_CACHE": str(folder / "cache"), **environment})
    return {row["path"]: row["digest"] for row in json.loads(done.stdout)["artifacts"]}


@pytest.mark.parametrize("arch", ["amd64", "arm64"])
def test_two_cold_builds(tmp_path: Path, arch: str) -> None:
    one = cold(tmp_path / "one", 0o022, arch, {"TZ": "UTC", "PYTHONHASHSEED": "1"})
    other = cold(tmp_path / "another" / "one", 0o077, arch, {"TZ": "America/St_Johns", "PYTHONHASHSEED": "99"})
    assert set(one) == {"docker-kernel", "docker-initrd.img", "docker-cmdline", "docker.tar"}
    assert one == other
