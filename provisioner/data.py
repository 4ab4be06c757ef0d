"""Finds the data that ships with the project and what the user puts over it.

Search order for ``boards``, ``components``, ``console``, ``pxe``, ``systemd``, ``examples``: the directory in
``PROVISIONER_DATA`` (if set), ``$XDG_CONFIG_HOME/provisioner``, ``/etc/provisioner``, the packaged ``_data``, and
the source checkout for editable installs. The first directory that has the path wins, so one file can be overridden.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from provisioner.errors import NotFoundError

_PACKAGE = Path(__file__).resolve().parent


def roots() -> Iterator[Path]:
    """Yield the directories that may hold data, most specific first."""
    if chosen := os.environ.get("PROVISIONER_DATA"):
        yield Path(chosen)
    yield config_dir()
    yield Path("/etc/provisioner")
    packaged = _PACKAGE / "_data"
    yield packaged if packaged.is_dir() else _PACKAGE.parent


def find(kind: str, name: str) -> Path:
    """Return the path of ``name`` below the folder ``kind``; raise NotFoundError listing where it was sought."""
    tried = [root / kind / name for root in roots()]
    for path in tried:
        if path.exists():
            return path
    raise NotFoundError(f"no {kind}/{name}", hint="looked at " + ", ".join(str(p) for p in tried))


def listing(kind: str) -> dict[str, Path]:
    """Return every entry of the folder ``kind`` over all roots: name to path, by name."""
    found: dict[str, Path] = {}
    for root in roots():
        folder = root / kind
        if folder.is_dir():
            for path in folder.iterdir():
                found.setdefault(path.name, path)
    return dict(sorted(found.items()))


def config_dir() -> Path:
    """Return ``$XDG_CONFIG_HOME/provisioner``."""
    return _xdg("XDG_CONFIG_HOME", ".config")


def cache_dir() -> Path:
    """Return the cache: ``PROVISIONER_CACHE`` or ``$XDG_CACHE_HOME/provisioner``; it may be deleted at any time."""
    if chosen := os.environ.get("PROVISIONER_CACHE"):
        return Path(chosen)
    return _xdg("XDG_CACHE_HOME", ".cache")


def state_dir() -> Path:
    """Return ``$XDG_STATE_HOME/provisioner``: disks, leases and logs that must survive."""
    return _xdg("XDG_STATE_HOME", ".local/state")


def _xdg(variable: str, default: str) -> Path:
    base = os.environ.get(variable)
    return (Path(base) if base else Path.home() / default) / "provisioner"
