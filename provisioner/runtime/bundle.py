"""``config.json`` and ``runtime.json`` of one container, equal to LinuxKit's (``moby/config.go``, ConfigToOCI).

Where LinuxKit's builder drops what its grammar accepts (hugepageLimits, disableOOMKiller, kernelTCP, realtimeRuntime,
realtimePeriod, leafWeight, the throttles, classID, hostID and containerID, id mappings of mounts, volumes of
``mounts``), it is kept here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from provisioner.errors import InputError
from provisioner.model.oci import CONFIG_LABEL, Image
from provisioner.model.spec import ImageConfig, ImageEntry
from provisioner.model.values import CAPABILITIES, capability_set, parse_rlimit
from provisioner.runtime.choice import ADDED, Choice
from provisioner.runtime.mounts import mounts
from provisioner.runtime.resources import devices, mappings, resources
from provisioner.runtime.start import runtime
from provisioner.spec import parse_label

OCI_VERSION = "1.2.1"
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Bundle:
    """What a runtime and init need. ``origins`` says per field who decided: yaml, label, image or default."""

    config: dict[str, Any]
    runtime: dict[str, Any]
    readonly: bool
    origins: Mapping[str, str]


def bundle(entry: ImageEntry, image: Image, *, ids: Mapping[str, int],
           volumes: Mapping[str, str] | None = None) -> Bundle:
    """Return the bundle of ``entry`` run from ``image``.

    ``ids`` maps container names to user and group ids, ``volumes`` volume names to the paths where they are mounted.
    Raises InputError naming the image's label or the YAML's line for a value that does not fit.
    """
    choice = Choice(entry, label_of(image))
    readonly = choice.pick("readonly", False)
    config = {
        "ociVersion": OCI_VERSION,
        "process": _process(choice, image, ids),
        "root": {"path": "rootfs"} | ({"readonly": True} if readonly else {}),
        **_given(hostname=choice.pick("hostname", "")),
        "mounts": _at(choice, ("tmpfs", "binds", "mounts"), lambda: mounts(choice, readonly, volumes or {})),
        **_given(annotations=_sorted(choice.pick("annotations", {}))),
        "linux": _linux(choice),
    }
    return Bundle(config, runtime(choice), readonly, choice.origins)


def label_of(image: Image) -> ImageConfig:
    """Return what the image's label says; an image without one says nothing."""
    text = image.labels.get(CONFIG_LABEL, "")
    return parse_label(text, file=f"<label {CONFIG_LABEL} of {image.reference}>") if text else ImageConfig()


def id_number(value: str | int | None, ids: Mapping[str, int]) -> int:
    """Return a user or group id; names are those of containers, or root. Raises ValueError for another name."""
    if isinstance(value, int):
        return value
    if value in (None, "", "root"):
        return 0
    if value in ids:
        return ids[value]
    raise ValueError(f"no container is named {value!r}")


def _process(choice: Choice, image: Image, ids: Mapping[str, int]) -> dict[str, Any]:
    own = image.process
    command = tuple(own.get("Entrypoint") or ()) + tuple(own.get("Cmd") or ())
    return {
        "user": _user(choice, ids),
        **_given(args=list(choice.pick_or_image("command", command, ())),
                 env=list(choice.pick_or_image("env", tuple(own.get("Env") or ()), ()))),
        "cwd": choice.pick_or_image("cwd", own.get("WorkingDir") or "", "/"),
        "capabilities": _capabilities(choice),
        **_given(rlimits=_at(choice, ("rlimits",), lambda: [
            {"type": limit.kind, "hard": limit.hard, "soft": limit.soft}
            for limit in map(parse_rlimit, choice.pick("rlimits", ()))]),
            noNewPrivileges=choice.pick("no_new_privileges", False)),
        **_set(oomScoreAdj=choice.pick("oom_score_adj", None)),
    }


def _user(choice: Choice, ids: Mapping[str, int]) -> dict[str, Any]:
    def number(name: str, value: str | int | None) -> int:
        return _at(choice, (name,), lambda: id_number(value, ids))

    uid, gid = choice.pick("uid", None), choice.pick("gid", None)
    groups: Sequence[str | int] = choice.pick("additional_gids", ())
    return {"uid": number("uid", uid), "gid": number("gid", gid),
            **_given(additionalGids=[number("additional_gids", group) for group in groups])}


def _capabilities(choice: Choice) -> dict[str, Any]:
    effective = _at(choice, ("capabilities",), lambda: _effective(choice))
    ambient = _at(choice, ("ambient",), lambda: capability_set(choice.pick("ambient", ())))
    bounding = sorted({*effective, *ambient})
    return _given(bounding=bounding, effective=list(effective), inheritable=bounding, permitted=bounding,
                  ambient=list(ambient))


def _effective(choice: Choice) -> tuple[str, ...]:
    """Return the effective set. To add to a label's ``[all]`` is no fault, as it is for LinuxKit; it is all."""
    names = choice.pick_list("capabilities")
    if len(names) > 1 and choice.origins["capabilities"] == ADDED and names[0].lower() == "all":
        capability_set(names[1:])
        return CAPABILITIES
    return capability_set(names)


def _linux(choice: Choice) -> dict[str, Any]:
    nodes, rules = _at(choice, ("devices",), lambda: devices(choice.pick("devices", ())))
    return {
        **_given(uidMappings=mappings(choice.pick("uid_mappings", ())),
                 gidMappings=mappings(choice.pick("gid_mappings", ())),
                 sysctl=_sorted(choice.pick("sysctl", {}))),
        "resources": resources(choice.pick("resources", None), rules),
        **_given(cgroupsPath=choice.pick("cgroups_path", "")),
        "namespaces": _namespaces(choice),
        **_given(devices=nodes, rootfsPropagation=choice.pick("rootfs_propagation", ""),
                 maskedPaths=list(choice.pick("masked_paths", ())),
                 readonlyPaths=list(choice.pick("readonly_paths", ()))),
    }


def _namespaces(choice: Choice) -> list[dict[str, str]]:
    """Return the new or joined namespaces: the host's unless told otherwise, but for a new pid and mount one."""
    made: list[dict[str, str]] = []
    for name, kind, default, new in (("net", "network", "root", ("new", "none")), ("ipc", "ipc", "root", ("new",)),
                                     ("uts", "uts", "root", ("new",)), ("pid", "pid", "new", ("new",)),
                                     ("userns", "user", "root", ("new",))):
        wanted = choice.pick(name, default)
        if wanted not in ("host", "root"):
            made.append({"type": kind} if wanted in new else {"type": kind, "path": wanted})
    return [*made, {"type": "mount"}]


def _at(choice: Choice, names: tuple[str, ...], make: Callable[[], T]) -> T:
    """Run ``make`` and give a ValueError the place of the first of the fields ``names`` that was given."""
    try:
        return make()
    except ValueError as error:
        message, _, hint = str(error).partition("\n")
        given = next((name for name in names if choice.origins.get(name, "default") != "default"), names[0])
        key = choice.key(given)
        found = choice.owner(given).problem(f"{choice.entry.name}: {key}: {message}", key, hint=hint)
        raise InputError(problems=[found]) from error


def _given(**fields: Any) -> dict[str, Any]:
    """Return the fields that say something, as Go's ``omitempty`` keeps them."""
    return {key: value for key, value in fields.items() if value}


def _set(**fields: Any) -> dict[str, Any]:
    """Return the fields that are not None: zero counts."""
    return {key: value for key, value in fields.items() if value is not None}


def _sorted(table: Mapping[str, str]) -> dict[str, str]:
    return dict(sorted(table.items()))
