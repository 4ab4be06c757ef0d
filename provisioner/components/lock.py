"""``components.lock``: for each component and architecture the exact packages that contribute to its image.

JSON, one package a line, so that a change reads well in a diff. ``path`` starts with ``debian/`` or
``debian-security/`` and names no mirror. ``recipe`` is the digest of the recipe's part that chose the packages. The
file lies beside the components' folders: a user's own components have a lock of their own, in the user's folder.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from provisioner.components.apt import Package
from provisioner.components.recipe import names
from provisioner.errors import DeviceError, InputError

FILE = "components.lock"
_VERSION = 1


@dataclass(frozen=True, slots=True)
class Locked:
    """One component's packages by Debian architecture, and the recipe digest they were chosen for."""

    suite: str
    recipe: str
    packages: dict[str, tuple[Package, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Change:
    """What a new lock changes: ``old`` or ``new`` is empty when a package came or went."""

    component: str
    arch: str
    package: str
    old: str
    new: str

    def __str__(self) -> str:
        words = {(False, True): f"+ {self.package} {self.new}", (True, False): f"- {self.package} {self.old}"}
        text = words.get((bool(self.old), bool(self.new)), f"{self.package} {self.old} -> {self.new}")
        return f"{self.component} {self.arch}: {text}"


def load() -> dict[str, Locked]:
    """Read the locks of all components. Raises InputError naming a file that is not a lock."""
    files = {folder.parent / FILE for folder in names().values()}
    locks = {file: read(file) for file in files}
    owners = {name: folder.parent / FILE for name, folder in names().items()}
    return {name: locks[file][name] for name, file in owners.items() if name in locks[file]}


def save(components: dict[str, Locked]) -> list[Path]:
    """Write locks beside the components they are for, where they change; return the files written.

    What a file says of other components stays; what it says of components that are no more goes.
    """
    owners = {name: folder.parent / FILE for name, folder in names().items()}
    changed = []
    for file in sorted({owners[name] for name in components}):
        old = read(file)
        kept = {name: locked for name, locked in old.items() if (file.parent / name / "component.yml").is_file()}
        new = kept | {name: locked for name, locked in components.items() if owners[name] == file}
        if new != old:
            write(new, file)
            changed.append(file)
    return changed


def read(file: Path) -> dict[str, Locked]:
    """Read one lock file; empty when there is none."""
    if not file.is_file():
        return {}
    try:
        document = json.loads(file.read_text())
        if document["version"] != _VERSION:
            raise InputError(f"{file} has version {document['version']}; this program knows {_VERSION}",
                             hint="a newer provisioner wrote it")
        return {name: _component(value) for name, value in document["components"].items()}
    except (ValueError, KeyError, TypeError, AttributeError) as broken:
        raise InputError(f"{file} is not a lock file: {broken}",
                         hint="restore it, or make a new one with provisioner component lock") from broken


def write(components: dict[str, Locked], file: Path) -> None:
    """Write one lock file in one step."""
    text = render(components)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(".tmp", f".{FILE}-", file.parent)
        try:
            with os.fdopen(handle, "w") as stream:
                stream.write(text)
                stream.flush()
                os.fchmod(handle, 0o644)
                os.fsync(handle)
            Path(temporary).replace(file)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
    except OSError as failed:
        raise DeviceError(f"cannot write {file}: {failed.strerror or failed}",
                          hint="copy the component to ~/.config/provisioner/components to lock it there") from failed


def render(components: dict[str, Locked]) -> str:
    """Return the lock's text: sorted, one package a line."""
    blocks = [f"  {json.dumps(name)}: {_render_component(locked)}" for name, locked in sorted(components.items())]
    return f'{{\n "version": {_VERSION},\n "components": {{\n' + ",\n".join(blocks) + "\n }\n}\n"


def changes(old: dict[str, Locked], new: dict[str, Locked]) -> Iterator[Change]:
    """Yield what differs between two locks, component by component."""
    for name in sorted(old.keys() | new.keys()):
        before, after = old.get(name, Locked("", "")).packages, new.get(name, Locked("", "")).packages
        for arch in sorted(before.keys() | after.keys()):
            left = {package.name: package for package in before.get(arch, ())}
            right = {package.name: package for package in after.get(arch, ())}
            for package in sorted(left.keys() | right.keys()):
                one, two = left.get(package), right.get(package)
                if one != two:
                    yield Change(name, arch, package, one.version if one else "", two.version if two else "")


def _component(value: dict[str, Any]) -> Locked:
    packages = {arch: tuple(Package(**row) for row in rows) for arch, rows in value["packages"].items()}
    for rows in packages.values():
        for row in rows:
            if not (isinstance(row.size, int) and len(row.sha256) == 64 and ".." not in row.path.split("/")):
                raise ValueError(f"bad entry for {row.name}")
    return Locked(value["suite"], value["recipe"], packages)


def _render_component(locked: Locked) -> str:
    arches = []
    for arch, packages in sorted(locked.packages.items()):
        rows = ",\n".join(f"     {json.dumps(asdict(package))}" for package in sorted(packages))
        arches.append(f"    {json.dumps(arch)}: [\n{rows}\n    ]" if rows else f"    {json.dumps(arch)}: []")
    head = f'{{\n   "suite": {json.dumps(locked.suite)}, "recipe": {json.dumps(locked.recipe)},\n   "packages": {{'
    return head + "\n" + ",\n".join(arches) + "\n   }}"
