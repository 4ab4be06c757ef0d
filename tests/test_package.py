"""The wheel stands alone: it carries every data folder, and the program finds them there and not in a checkout."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
KINDS = ("components", "console", "examples", "pxe", "systemd")
LOOK = """
import json, sys, provisioner
from provisioner import components, data
from provisioner.console import stages
from provisioner.netboot import scripts
print(json.dumps({
    "file": provisioner.__file__,
    "found": {kind: {name: str(path) for name, path in data.listing(kind).items()} for kind in sys.argv[1:]},
    "components": components.listing(),
    "patterns": len(stages.load().patterns),
    "script": scripts.render("ipxe/boot.ipxe", server="http://10.0.0.1").decode(),
}))
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel from what git would give to somebody else."""
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    listed = subprocess.run(["git", "-C", str(ROOT), "ls-files", "-z"], check=True, capture_output=True, text=True)
    for name in filter(None, listed.stdout.split("\0")):
        path = ROOT / name
        if path.is_file():
            copy = source / name
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(path.read_bytes())
            copy.chmod(path.stat().st_mode)
    subprocess.run([sys.executable, "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check", "--no-deps",
                    "--no-build-isolation", "--wheel-dir", str(target), str(source)], check=True, cwd=target)
    found, = target.glob("provisioner-*.whl")
    return found


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install it, without its dependencies, into a folder of its own."""
    target = tmp_path_factory.mktemp("installed")
    subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps",
                    "--target", str(target), str(wheel)], check=True)
    return target


def run(installed: Path, folder: Path, *arguments: str) -> str:
    """Run Python with the installed package, then this environment's dependencies; no checkout, no user's files."""
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "XDG_CONFIG_HOME": str(folder / "config"),
                   "PYTHONPATH": os.pathsep.join([str(installed), sysconfig.get_path("purelib")])}
    # -P: the working directory is not searched. PYTHONPATH stands before what an editable install adds.
    done = subprocess.run([sys.executable, "-P", *arguments], env=environment, cwd=folder, capture_output=True,
                          text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.tool
def test_the_installed_program_finds_all_its_data(installed: Path, tmp_path: Path) -> None:
    seen = json.loads(run(installed, tmp_path, "-c", LOOK, *KINDS))
    assert Path(seen["file"]) == installed / "provisioner" / "__init__.py"
    for kind in KINDS:
        ours = {path.name for path in (ROOT / kind).iterdir()}
        assert set(seen["found"][kind]) == ours, kind
        assert all(Path(path).is_relative_to(installed) for path in seen["found"][kind].values()), kind
    assert set(seen["components"]) == {path.parent.name for path in (ROOT / "components").glob("*/component.yml")}
    assert seen["patterns"] > 50
    assert "http://10.0.0.1/machine.ipxe" in seen["script"]


@pytest.mark.tool
def test_the_wheel_carries_every_data_file_as_it_is(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        for kind in KINDS:
            for path in (ROOT / kind).rglob("*"):
                if path.is_file() and not path.name.endswith((".pyc", "~")):
                    name = f"provisioner/_data/{path.relative_to(ROOT).as_posix()}"
                    assert name in names, name
                    assert archive.read(name) == path.read_bytes(), name


@pytest.mark.tool
def test_the_installed_command_runs(installed: Path, tmp_path: Path) -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    program = str(installed / "bin" / "provisioner")
    assert run(installed, tmp_path, program, "--version").strip() == f"provisioner, version {version}"
    assert "docker" in run(installed, tmp_path, program, "component", "ls")


def test_every_data_folder_is_packed() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]
    packed = {source: target.removeprefix("provisioner/_data/")
              for source, target in settings["wheel"]["force-include"].items()}
    assert packed == {kind: kind for kind in KINDS}
    assert {f"/{kind}" for kind in KINDS} <= set(settings["sdist"]["include"])
