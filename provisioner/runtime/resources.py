"""Devices, id mappings and control group limits as the OCI runtime specification spells them (config-linux.md)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from provisioner.model.spec import BlockIO, Device, HugepageLimit, IdMapping, Network, Resources, ThrottleDevice
from provisioner.model.values import parse_octal

_UNITS = ((1 << 30, "GB"), (1 << 20, "MB"), (1 << 10, "KB"))


def devices(given: Sequence[Device]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return the device nodes and the rules that allow them; ``path: all`` is a rule alone.

    Raises ValueError for a mode that is none.
    """
    nodes: list[dict[str, Any]] = []
    rules: list[dict[str, Any]] = []
    for device in given:
        kind = {"type": device.type} if device.type else {}
        if device.path == "all":
            rules.append({"allow": True, **kind, "access": "rwm"})
            continue
        number = {"major": device.major, "minor": device.minor}
        nodes.append({"path": device.path, "type": device.type, **number, "fileMode": parse_octal(device.mode or "")})
        rules.append({"allow": True, **kind, **number, "access": "rwm"})
    return nodes, rules


def mappings(given: Sequence[IdMapping]) -> list[dict[str, int]]:
    """Return id mappings."""
    return [{"containerID": one.container_id, "hostID": one.host_id, "size": one.size} for one in given]


def resources(given: Resources | None, rules: list[dict[str, Any]]) -> dict[str, Any]:
    """Return ``linux.resources``: what was given, with ``rules`` after the given device rules."""
    given = given or Resources()
    made: dict[str, Any] = {
        "devices": [_said(rule.model_dump(by_alias=True)) | {"allow": rule.allow} for rule in given.devices] + rules}
    made["devices"] = [{"allow": rule.pop("allow"), **rule} for rule in made["devices"]]
    for key, part in (("memory", given.memory), ("cpu", given.cpu)):
        if part is not None:
            made[key] = _said(part.model_dump(by_alias=True))
    if given.pids is not None:
        made["pids"] = {"limit": given.pids.limit or 0}
    if given.blockio is not None:
        made["blockIO"] = _block_io(given.blockio)
    made["hugepageLimits"] = [{"pageSize": page_size(limit), "limit": limit.limit} for limit in given.hugepage_limits]
    if given.network is not None:
        made["network"] = _network(given.network)
    return {key: value for key, value in made.items() if value != []}


def page_size(limit: HugepageLimit) -> str:
    """Return a page size in bytes as the specification spells it: ``2MB``."""
    for unit, name in _UNITS:
        if limit.page_size and limit.page_size % unit == 0:
            return f"{limit.page_size // unit}{name}"
    return f"{limit.page_size}B"


def _said(fields: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in fields.items() if value is not None and value != ""}


def _block_io(given: BlockIO) -> dict[str, Any]:
    made = _said(given.model_dump(by_alias=True, include={"weight", "leaf_weight"}))
    if given.weight_device:
        made["weightDevice"] = [_said(device.model_dump(by_alias=True)) for device in given.weight_device]
    for key in ("throttle_read_bps_device", "throttle_write_bps_device", "throttle_read_iops_device",
                "throttle_write_iops_device"):
        found: tuple[ThrottleDevice, ...] = getattr(given, key)
        if found:
            made[str(BlockIO.model_fields[key].alias)] = [device.model_dump() for device in found]
    return made


def _network(given: Network) -> dict[str, Any]:
    made: dict[str, Any] = {} if given.class_id is None else {"classID": given.class_id}
    if given.priorities:
        made["priorities"] = [{"name": one.name, "priority": one.priority or 0} for one in given.priorities]
    return made
