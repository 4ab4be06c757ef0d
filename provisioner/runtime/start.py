"""``runtime.json``: what init does before it starts a container. Each sub-field is the YAML's or else the label's."""

from __future__ import annotations

from typing import Any

from provisioner.model.spec import Interface, Namespaces, Runtime
from provisioner.runtime.choice import DEFAULT, LABEL, YAML, Choice
from provisioner.runtime.mounts import plain

UPPER = "tmp"
_NAMESPACES = ("cgroup", "ipc", "mnt", "net", "pid", "user", "uts")


def runtime(choice: Choice) -> dict[str, Any]:
    """Return runtime.json without the mounts that make the root file system; see ``with_root``."""
    yaml, label = choice.entry.runtime or Runtime(), choice.label.runtime or Runtime()

    def pick(name: str, default: Any) -> Any:
        for source, document in ((YAML, yaml), (LABEL, label)):
            if (value := getattr(document, name)) is not None:
                choice.origins[f"runtime.{name}"] = source
                return value
        choice.origins[f"runtime.{name}"] = DEFAULT
        return default

    spaces = [one.bind_ns or Namespaces() for one in (yaml, label)]
    return {
        "cgroups": list(pick("cgroups", ())),
        "mounts": [plain(mount) for mount in pick("mounts", ())],
        "mkdir": list(pick("mkdir", ())),
        "interfaces": [_interface(one) for one in pick("interfaces", ())],
        "bindNS": {name: next((path for space in spaces if (path := getattr(space, name)) is not None), "")
                   for name in _NAMESPACES},
        "namespace": pick("namespace", ""),
    }


def with_root(made: dict[str, Any], place: str, source: str, *, readonly: bool) -> dict[str, Any]:
    """Return runtime.json with the mounts that make ``/place/rootfs`` from the files at ``/source``.

    A read-only container binds them, so that its root is a mount point; another lays a tmpfs over them.
    """
    upper = f"/{place}/{UPPER}"
    root = [{"destination": f"/{place}/rootfs", "source": f"/{source}", "options": ["bind"]}] if readonly else [
        {"destination": upper, "type": "tmpfs", "source": "tmpfs"},
        {"destination": upper, "options": ["remount", "private"]},
        {"destination": f"/{place}/rootfs", "type": "overlay", "source": "overlay", "options": [
            f"lowerdir=/{source}", f"upperdir={upper}/upper", f"workdir={upper}/work"]},
    ]
    return made | {"mounts": root + made["mounts"]}


def _interface(one: Interface) -> dict[str, Any]:
    fields = {"name": one.name, "add": one.add, "peer": one.peer}
    return {key: value for key, value in fields.items() if value} | {"createInRoot": one.create_in_root}
