"""Limits in the specification's spelling. The tests named `kept_` are for what LinuxKit's builder drops."""

from __future__ import annotations

from typing import Any

import pytest

from provisioner.model.spec import HugepageLimit
from provisioner.runtime.resources import page_size
from tests.runtime.made import bundled


def made(text: str) -> dict[str, Any]:
    resources: dict[str, Any] = bundled(f"resources: {{{text}}}").config["linux"]["resources"]
    return resources


@pytest.mark.parametrize(("text", "expected"), [
    ("", {}),
    ("memory: {limit: 1, reservation: 2, swap: -1, kernel: 4, swappiness: 0}",
     {"memory": {"limit": 1, "reservation": 2, "swap": -1, "kernel": 4, "swappiness": 0}}),
    ("memory: {}, pids: {}", {"memory": {}, "pids": {"limit": 0}}),
    ("cpu: {shares: 1, quota: -1, period: 3, cpus: 0-1, mems: \"0\"}",
     {"cpu": {"shares": 1, "quota": -1, "period": 3, "cpus": "0-1", "mems": "0"}}),
    ("blockio: {weight: 500}", {"blockIO": {"weight": 500}}),
    ("network: {priorities: [{name: eth0, priority: 3}]}",
     {"network": {"priorities": [{"name": "eth0", "priority": 3}]}}),
    ("devices: [{}, {allow: true, type: c, major: 0, access: r}]",
     {"devices": [{"allow": False}, {"allow": True, "type": "c", "major": 0, "access": "r"}]}),
])
def test_as_linuxkit(text: str, expected: dict[str, Any]) -> None:
    assert made(text) == expected


def test_kept_hugepage_limits() -> None:
    assert made("hugepageLimits: [{pageSize: 2097152, limit: 4}]") == {
        "hugepageLimits": [{"pageSize": "2MB", "limit": 4}]}


def test_kept_memory_keys() -> None:
    assert made("memory: {kernelTCP: 1, disableOOMKiller: false}") == {
        "memory": {"kernelTCP": 1, "disableOOMKiller": False}}


def test_kept_realtime_keys() -> None:
    assert made("cpu: {realtimeRuntime: 1, realtimePeriod: 2}") == {
        "cpu": {"realtimeRuntime": 1, "realtimePeriod": 2}}


def test_kept_block_io_keys() -> None:
    assert made("blockio: {leafWeight: 1, weightDevice: [{major: 8, minor: 0, leafWeight: 2}], "
                "throttleWriteIOPSDevice: [{major: 8, minor: 1, rate: 3}]}") == {"blockIO": {
                    "leafWeight": 1, "weightDevice": [{"major": 8, "minor": 0, "leafWeight": 2}],
                    "throttleWriteIOPSDevice": [{"major": 8, "minor": 1, "rate": 3}]}}


def test_kept_network_class() -> None:
    assert made("network: {classID: 1}") == {"network": {"classID": 1}}


@pytest.mark.parametrize(("size", "text"), [
    (1 << 30, "1GB"), (2 << 20, "2MB"), (64 << 10, "64KB"), (1000, "1000B"), (0, "0B")])
def test_page_sizes(size: int, text: str) -> None:
    assert page_size(HugepageLimit.model_validate({"pageSize": size})) == text
