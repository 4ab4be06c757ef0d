"""Finds a part of a kind by its name: a file in the kind's folder is the registration.

``find("formats", "kernel+initrd")`` imports ``provisioner/formats/kernel_initrd.py``: in a file's name ``_`` stands
for ``-`` and ``+``. Third parties add parts with entry points in the group ``provisioner.<kind>``, whose names are
the parts' names; a built-in part cannot be replaced. Modules whose names begin with ``_`` are no parts.
"""

from __future__ import annotations

import difflib
import importlib
import pkgutil
from importlib import metadata
from types import ModuleType

from provisioner.errors import NotFoundError


def find(kind: str, name: str) -> ModuleType:
    """Return the module of the part ``name``; raise NotFoundError naming the nearest ones."""
    file = name.replace("-", "_").replace("+", "_")
    if file in _files(kind):
        module = importlib.import_module(f"provisioner.{kind}.{file}")
        if name == module.NAME:
            return module
    for point in _points(kind):
        if point.name == name:
            return _checked(point.load(), point)
    known = names(kind)
    near = difflib.get_close_matches(name, known, n=3)
    what = kind.removesuffix("s")
    raise NotFoundError(f"no {what} {name}", hint=f"did you mean {' or '.join(near)}?" if near else
                        f"there are {', '.join(known)}")


def names(kind: str) -> list[str]:
    """Return the names of all parts of a kind, sorted."""
    built_in = {str(importlib.import_module(f"provisioner.{kind}.{file}").NAME) for file in _files(kind)}
    return sorted(built_in | {point.name for point in _points(kind)})


def _files(kind: str) -> set[str]:
    package = importlib.import_module(f"provisioner.{kind}")
    return {module.name for module in pkgutil.iter_modules(package.__path__) if not module.name.startswith("_")}


def _points(kind: str) -> list[metadata.EntryPoint]:
    return sorted(metadata.entry_points(group=f"provisioner.{kind}"), key=lambda point: point.name)


def _checked(part: object, point: metadata.EntryPoint) -> ModuleType:
    if not isinstance(part, ModuleType):
        raise NotFoundError(f"the entry point {point.group}: {point.name} = {point.value} leads to no module")
    return part
