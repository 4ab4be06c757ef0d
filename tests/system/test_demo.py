"""The whole way: one YAML, built, PXE-booted from the firmware's first packet, its Docker Engine API used.

One boot, many assertions; the parties are the QEMU PXE ROM, iPXE, the Docker SDK and skopeo's idea of an image.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker
import pytest

pytestmark = pytest.mark.system
PROVISIONER = [sys.executable, "-m", "provisioner"]
START_MINUTES = 20


@dataclass(frozen=True)
class Demo:
    """A demo that came up and was left running."""

    process: subprocess.Popen[bytes]
    result: dict[str, Any]
    events: list[dict[str, Any]]
    log: Path

    @property
    def api(self) -> str:
        return f"tcp://127.0.0.1:{next(iter(self.result['ports']))}"

    def stages(self, stage: str) -> list[dict[str, Any]]:
        return [row for row in self.result["stages"] if row["stage"] == stage]


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    log = tmp_path_factory.mktemp("demo") / "console.log"
    command = [*PROVISIONER, "--json", "demo", "--keep", "--publish", "0:2375", "--log", str(log),
               "--timeout", str(START_MINUTES * 60)]
    with (log.with_suffix(".err").open("wb") as errors,
          subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors) as child):
        assert child.stdout is not None
        events: list[dict[str, Any]] = []
        try:
            for line in child.stdout:
                said = json.loads(line)
                if "stages" in said:
                    yield Demo(child, said, events, log)
                    break
                events.append(said)
            else:
                pytest.fail(f"the demo ended: {events[-1:]}\n{log.with_suffix('.err').read_text()[-3000:]}")
        finally:
            child.send_signal(signal.SIGINT)
            child.wait(60)


def test_every_stage_was_seen_in_order(demo: Demo) -> None:
    order = ["firmware", "dhcp", "tftp", "http", "kernel", "init", "onboot", "service", "healthy"]
    begun = [min(row["at"] for row in demo.stages(stage)) for stage in order]
    assert begun == sorted(begun), dict(zip(order, begun, strict=True))
    # The card's own ROM is an iPXE, too; ours comes by TFTP and speaks HTTP.
    tftp, http = begun[order.index("tftp")], begun[order.index("http")]
    assert [row for row in demo.stages("ipxe") if tftp < row["at"] < http]
    assert not [row for row in demo.result["stages"] if row["failed"]]


def test_each_container_has_its_row(demo: Demo) -> None:
    assert [row["name"] for row in demo.stages("onboot")] == [
        "000-sysctl", "001-sysfs", "002-binfmt", "003-format", "004-mount", "005-dhcpcd"]
    assert all(row["took"] is not None for row in demo.stages("onboot"))
    assert {row["name"] for row in demo.stages("service")} >= {"getty", "rngd", "ntpd", "docker"}


def test_the_loader_came_by_tftp_and_the_image_by_http(demo: Demo) -> None:
    assert {row["name"] for row in demo.stages("tftp")} & {"undionly.kpxe", "ipxe.pxe"}
    fetched = {row["name"] for row in demo.stages("http")}
    assert any("initrd" in name for name in fetched), fetched
    assert any("kernel" in name for name in fetched), fetched


def test_the_raw_console_is_kept(demo: Demo) -> None:
    log = demo.log.read_bytes()
    assert b"iPXE" in log
    assert b"Linux version 6" in log
    assert b"provisioner: services up" in log


def test_docker_answers(demo: Demo) -> None:
    client = docker.DockerClient(base_url=demo.api, timeout=120)
    try:
        info = client.info()
        assert (info["OSType"], info["Architecture"]) == ("linux", "x86_64")
        assert info["Driver"] == "overlay2"
        assert info["KernelVersion"].startswith("6.")
    finally:
        client.close()


def test_a_loaded_image_runs_in_the_machine(demo: Demo, tmp_path: Path) -> None:
    archive = tmp_path / "image.tar"
    subprocess.run([*PROVISIONER, "cache", "export", "provisioner/getty", "--format", "docker", "--platform",
                    "linux/amd64", "--outfile", str(archive)], check=True, stdout=subprocess.DEVNULL)
    client = docker.DockerClient(base_url=demo.api, timeout=300)
    try:
        with archive.open("rb") as file:
            image = client.images.load(file)[0]
        said = client.containers.run(image.id, entrypoint=["/bin/busybox", "sh"], remove=True,
                                     command=["-c", "echo from $(uname -m)"], network_mode="bridge")
        assert said == b"from x86_64\n"
    finally:
        client.close()


def test_an_interrupt_leaves_nothing(demo: Demo) -> None:
    children = descendants(demo.process.pid)
    assert children, "QEMU is a child of the demo"
    demo.process.send_signal(signal.SIGINT)
    assert demo.process.wait(60) == 130
    assert not [pid for pid in children if Path(f"/proc/{pid}").exists()]


def descendants(pid: int) -> list[int]:
    found = []
    for task in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(task.read_text().rpartition(")")[2].split()[1])
        except (FileNotFoundError, ProcessLookupError):
            continue
        if parent == pid:
            child = int(task.parent.name)
            found += [child, *descendants(child)]
    return [one for one in found if one != os.getpid()]
