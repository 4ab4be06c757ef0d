"""Disk image files for a machine, made and looked at by qemu-img."""

from __future__ import annotations

import json
from pathlib import Path

from provisioner import process
from provisioner.errors import DeviceError, InputError, NotFoundError, RefusedError
from provisioner.providers.qemu.options import Disk


def prepare(disk: Disk, number: int, state: Path) -> Disk:
    """Return ``disk`` with path and format settled; a file that is not there is created, one that is, is kept.

    Raises NotFoundError (no file and no size), RefusedError (another format than asked, or a backing file that
    nobody named), DeviceError (cannot be created).
    """
    path = disk.path or state / f"disk{number}.img"
    if path.exists():
        return Disk(path, disk.size, _format(path, disk.format))
    if not disk.size:
        raise NotFoundError(f"no disk image {path}", hint=f"add a size to create it: {path},size=4G")
    kind = disk.format or "qcow2"
    # Temp name and rename: a Ctrl-C leaves no half-made image that the next run would take for a disk.
    fresh = path.with_name(f".{path.name}.new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DeviceError(f"cannot create the disk {path}: {path.parent}: {error.strerror}") from error
    try:
        process.run(["qemu-img", "create", "-q", "-f", kind, fresh, str(disk.size)])
        fresh.replace(path)
    except process.ProgramError as error:
        raise DeviceError(f"cannot create the disk {path}: {error.stderr.strip()}") from error
    finally:
        fresh.unlink(missing_ok=True)
    return Disk(path, disk.size, kind)


def _format(path: Path, wanted: str) -> str:
    """Return the image's format. A machine may write a qcow2 header into a raw disk to read host files by a
    «backing file» at its next start, so a format that was not asked for is taken only when it names none."""
    if wanted == "raw":
        return wanted
    try:
        facts = json.loads(process.run(["qemu-img", "info", "-U", "--output=json", path]).stdout)
    except process.ProgramError as error:
        raise InputError(f"cannot read the disk image {path}: {error.stderr.strip()}") from error
    found = str(facts["format"])
    if wanted and found != wanted:
        raise RefusedError(f"the disk {path} is {found}, not {wanted}", hint=f"format={found}")
    if not wanted and (found not in ("raw", "qcow2") or "backing-filename" in facts):
        raise RefusedError(f"the disk {path} is {found} over {facts.get('backing-filename', 'nothing')}",
                           hint=f"say format={found if found == 'qcow2' else 'raw'} if that is meant")
    return found
