"""The mounts of a container: defaults, then tmpfs, binds and mounts, each replacing what has its destination."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from provisioner.model.spec import Mount
from provisioner.model.values import mount_destination, mount_type, parse_bind, parse_tmpfs
from provisioner.runtime.choice import YAML, Choice
from provisioner.runtime.resources import mappings


def mounts(choice: Choice, readonly: bool, volumes: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return ``mounts`` of config.json, sorted by destination so that a parent comes before what is in it.

    A source of a bind that does not start with ``/`` is a volume's name. Raises ValueError for text that is no mount.
    """
    found = {mount["destination"]: mount for mount in _defaults(readonly)}
    for text in choice.pick("tmpfs", ()):
        where, flags = parse_tmpfs(text)
        found[where] = _mount(where, "tmpfs", "tmpfs", flags)
    for text in choice.pick_list("binds"):
        bind = parse_bind(text)
        options = ("rw", "rbind", "rshared") if bind.options is None else (*bind.options.split(","), "rbind")
        found[bind.destination] = _mount(bind.destination, "bind", volumes.get(bind.source, bind.source), options)
    for mount in choice.pick("mounts", ()):
        made = _full(mount, volumes if choice.origins["mounts"] == YAML else {})
        found[made["destination"]] = made
    return [found[destination] for destination in sorted(found, key=str.encode)]


def plain(mount: Mount) -> dict[str, Any]:
    """Return a mount as written, for runtime.json."""
    made = _mount(mount.destination, mount.type, mount.source, mount.options or ())
    if mount.uidmappings:
        made["uidMappings"] = mappings(mount.uidmappings)
    if mount.gidmappings:
        made["gidMappings"] = mappings(mount.gidmappings)
    return made


def _full(mount: Mount, volumes: Mapping[str, str]) -> dict[str, Any]:
    kind = mount_type(mount.type, mount.source, mount.destination)
    source = volumes.get(mount.source, mount.source) if kind == "bind" else mount.source
    destination = mount_destination(kind, mount.destination)
    return plain(mount.model_copy(update={"type": kind, "source": source or kind, "destination": destination}))


def _mount(destination: str, kind: str, source: str, options: tuple[str, ...]) -> dict[str, Any]:
    fields = {"type": kind, "source": source, "options": list(options)}
    return {"destination": destination} | {key: value for key, value in fields.items() if value}


def _defaults(readonly: bool) -> Iterator[dict[str, Any]]:
    read_only = ("ro",) if readonly else ()
    yield _mount("/proc", "proc", "proc", ("nosuid", "nodev", "noexec", "relatime"))
    yield _mount("/dev", "tmpfs", "tmpfs", ("nosuid", "strictatime", "mode=755", "size=65536k", *read_only))
    yield _mount("/dev/pts", "devpts", "devpts", ("nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"))
    yield _mount("/sys", "sysfs", "sysfs", ("nosuid", "noexec", "nodev", *read_only))
    yield _mount("/sys/fs/cgroup", "cgroup", "cgroup", ("nosuid", "noexec", "nodev", "relatime", "ro"))
