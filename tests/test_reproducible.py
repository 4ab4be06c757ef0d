"""The same input gives the same bytes: in any directory, for any user, at any umask, in any zone, at any time.

Each build is a process of its own with a store and an empty segment cache of its own. The second one runs as another
user in a user namespace, ten years later. tests/system/test_reproducible.py does so with the real components.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.fakes.machine import YAML, stock

pytestmark = pytest.mark.tool
ROOT = Path(__file__).resolve().parents[1]
TEN_YEARS = 315_000_000
LATER = f"import time\nreal = time.time\ntime.time = lambda: real() + {TEN_YEARS}\n"
FILES = YAML + """\
  - {path: etc/deep/er/link, symlink: ../x}
  - {path: srv/data, source: data, mode: "0644", uid: server, gid: 7}
  - {path: etc/build.yml, metadata: yaml}
  - {path: var/empty, directory: true, mode: "1777"}
volumes:
  - {name: scratch}
  - {name: tools, image: "acme/tool:1", readonly: true}
"""
ANOTHER_USER = ("unshare", "--user", "--map-user=1234", "--map-group=4321")


@dataclass
class Side:
    """One way to build: where, as whom, in which surroundings."""

    folder: Path
    umask: int
    mtime: int
    mode: int
    environment: dict[str, str]
    wrapper: tuple[str, ...] = ()
    startup: str = ""
    named: str = ""

    def build(self, yaml: str, store: Path, *words: str) -> dict[str, str]:
        """Build both architectures in every format and return each file's digest."""
        self.folder.mkdir(parents=True)
        shutil.copytree(store, self.folder / "cache" / "oci")
        (self.folder / "m.yml").write_text(yaml)
        (self.folder / "data").write_bytes(b"some data\n")
        (self.folder / "data").chmod(self.mode)
        os.utime(self.folder / "data", (self.mtime, self.mtime))
        (self.folder / "sitecustomize.py").write_text(self.startup)
        environment = {"PATH": os.environ["PATH"], "PROVISIONER_CACHE": str(self.folder / "cache"),
                       "PYTHONPATH": f"{self.folder}:{ROOT}", "HOME": str(self.folder), **self.environment}
        argv = [*self.wrapper, sys.executable, "-m", "provisioner", "build", "--arch", "amd64,arm64",
                "-f", "kernel+initrd,tar", "--dir", "out", *words, f"{self.named}m.yml"]
        done = subprocess.run(argv, cwd=self.folder, env=environment, umask=self.umask, capture_output=True,
                              text=True, check=False)
        assert done.returncode == 0, done.stderr
        return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in (self.folder / "out").iterdir()}


@pytest.fixture
def sides(tmp_path: Path) -> tuple[Side, Side]:
    here = Side(tmp_path / "here", 0o022, 1_000_000_000, 0o644,
                {"TZ": "UTC", "PYTHONHASHSEED": "0", "LANG": "C.UTF-8"})
    there = Side(tmp_path / "far" / "there" / "ö", 0o077, 1_700_000_000, 0o600,
                 {"TZ": "Asia/Kathmandu", "PYTHONHASHSEED": "4242", "LANG": "C", "USER": "somebody",
                  "SOURCE_DATE_EPOCH": "1"}, ANOTHER_USER, LATER, f"{tmp_path}/far/there/ö/")
    return here, there


@pytest.mark.parametrize("yaml", [YAML, FILES], ids=["images", "files"])
@pytest.mark.parametrize("compress", ["gzip", "zstd", "xz", "none"])
def test_two_builds_in_different_surroundings(tmp_path: Path, sides: tuple[Side, Side], yaml: str,
                                              compress: str) -> None:
    stock(tmp_path / "cache")
    here, there = (side.build(yaml, tmp_path / "cache" / "oci", "--compress", compress) for side in sides)
    assert sorted(here) == sorted(f"m-{arch}{end}" for arch in ("amd64", "arm64")
                                  for end in ("-kernel", "-initrd.img", "-cmdline", ".tar"))
    assert here == there
    assert here["m-amd64-initrd.img"] != here["m-arm64-initrd.img"]


def test_the_other_side_is_another_user_at_another_time(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(LATER)
    code = "import os, time; print(os.getuid(), os.getgid(), int(time.time()))"
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run([*ANOTHER_USER, sys.executable, "-c", code], env=environment, capture_output=True,
                          text=True, check=True)
    uid, gid, now = map(int, done.stdout.split())
    assert (uid, gid) == (1234, 4321)
    assert now > (tmp_path / "sitecustomize.py").stat().st_mtime + TEN_YEARS - 1
