"""The rules of the house that no tool holds: layers, mirrored tests, no cycles, no foreign words."""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "provisioner"

# A module imports only from lower layers, and rooms of one layer do not import one another.
LAYERS = (
    {"errors"},
    {"model"},
    {"data", "process"},
    {"plugins", "http", "yamlfile", "archive", "disk"},
    {"spec", "oci", "formats", "providers", "protocols", "boards"},
    {"components"},
    {"resolve", "runtime"},
    {"tree"},
    {"build"},
    {"netboot", "flash", "console"},
    {"fleet"},
    {"api", "demo"},
    {"cli"},
    {"__main__"},
)
NO_TEST = {"__init__.py", "__main__.py", "errors.py"}


def modules() -> Iterator[tuple[str, Path]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        if "_data" not in path.parts:
            yield ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"), path


def room(module: str) -> str:
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else ""


def imports(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            # Of a folder's own modules the folder itself is not asked for anything.
            found.update(name if is_module(name := f"{node.module}.{alias.name}") else node.module
                         for alias in node.names)
    return {name for name in found if name.startswith("provisioner.")}


def is_module(name: str) -> bool:
    path = ROOT.joinpath(*name.split("."))
    return path.is_dir() or path.with_suffix(".py").is_file()


def layer(name: str) -> int:
    for number, rooms in enumerate(LAYERS):
        if name in rooms:
            return number
    raise AssertionError(f"provisioner/{name} has no layer: add it to LAYERS")


@pytest.mark.parametrize(("module", "path"), list(modules()), ids=lambda value: value if type(value) is str else "")
def test_imports_point_down(module: str, path: Path) -> None:
    here = room(module)
    if not here:
        return
    for name in imports(path):
        there = room(name)
        if there in {here, "", "__version__"}:
            continue
        assert layer(there) < layer(here), f"{module} imports {name}, which is not below it"


def test_no_import_cycles() -> None:
    known = dict(modules())
    graph = {name: {target for target in imports(path) if target in known and target != name}
             for name, path in known.items()}
    done: set[str] = set()

    def visit(name: str, trail: tuple[str, ...]) -> None:
        assert name not in trail, "import cycle: " + " -> ".join((*trail[trail.index(name):], name))
        if name not in done:
            for target in sorted(graph[name]):
                visit(target, (*trail, name))
            done.add(name)

    for name in sorted(graph):
        visit(name, ())


def test_every_module_has_its_test() -> None:
    missing = []
    for _, path in modules():
        relative = path.relative_to(PACKAGE)
        # The data model and the verbs are proven by the tests of the rooms that use them.
        if path.name in NO_TEST or relative.parts[0] == "model":
            continue
        if not (ROOT / "tests" / relative.parent / f"test_{path.name}").exists():
            missing.append(str(relative))
    assert not missing, f"no mirrored test file for: {', '.join(missing)}"


def tracked() -> list[Path]:
    out = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout.decode()
    return [ROOT / name for name in out.split("\0") if name and (ROOT / name).is_file()]


def test_nothing_unfinished_and_nothing_of_this_machine() -> None:
    unfinished = re.compile(r"NotImplementedError|\bTODO\b|\bFIXME\b|\bXXX\b|pytest\.skip|mark\.skip|xfail")
    foreign = re.compile(r"/work/|deb\.debian\.org|pypi\.org|registry\.npmjs")
    bad = []
    for path in tracked():
        if path == Path(__file__) or path.suffix in {".log", ".bin", ".gz", ".img"}:
            continue
        try:
            text = path.read_text()
        except UnicodeDecodeError:
            continue
        for number, line in enumerate(text.splitlines(), 1):
            if (path.suffix == ".py" and unfinished.search(line)) or foreign.search(line):
                bad.append(f"{path.relative_to(ROOT)}:{number}: {line.strip()}")
    assert not bad, "\n".join(bad)
