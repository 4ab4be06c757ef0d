"""examples/docker.yml by direct kernel boot: what init did, the disk, the services, the engine, an orderly end.

One boot for each architecture, many assertions. Docker's own SDK asks the engine; what it runs is an image that
it was given over its API.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest

from provisioner import data
from provisioner.providers.qemu import Disk
from tests.system.booting import LIMIT, Booted, booted, build

pytestmark = pytest.mark.system
OWN = {"amd64": "x86_64", "arm64": "aarch64"}
OTHER = {"amd64": "aarch64", "arm64": "x86_64"}
ONBOOT = ["000-sysctl", "001-sysfs", "002-binfmt", "003-format", "004-mount", "005-dhcpcd"]
SERVICES = {"getty", "rngd", "ntpd", "docker"}


@pytest.fixture(scope="module", params=["amd64", "arm64"])
def machine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Booted]:
    folder = tmp_path_factory.mktemp("docker")
    prefix = build(data.find("examples", "docker.yml"), folder, request.param)
    disk = Disk(folder / "disk.img", 2 << 30)
    with booted(prefix, request.param, memory=2048, disks=(disk,), publish=(2375,)) as there:
        yield there


@pytest.fixture(scope="module")
def engine(machine: Booted) -> Iterator[docker.DockerClient]:
    machine.run("until wget -qO /dev/null http://127.0.0.1:2375/_ping; do sleep 1; done")
    client = docker.DockerClient(base_url=f"tcp://127.0.0.1:{machine.port(2375)}", timeout=300)
    yield client
    client.close()


def test_the_console_tells_the_boot_in_order(machine: Booted) -> None:
    lines = machine.protocol()
    assert lines[-1] == "services up", machine.console[-1500:]
    assert lines[0] == "init 1 started"
    assert [line for line in lines if line.startswith("onboot")] == [
        f"onboot {name} {word}" for name in ONBOOT for word in ("started", "done")]
    assert {line for line in lines if line.startswith("service ")} == {f"service {name} started" for name in SERVICES}
    assert "address eth0 10.0.2.15" in lines
    assert lines.index("address eth0 10.0.2.15") < lines.index("services up")
    assert lines[-1] == "services up"


def test_the_shell_is_in_the_machine_itself(machine: Booted) -> None:
    assert machine.run("ls /containers").split() == ["onboot", "services"]
    assert set(machine.run("ls /containers/services").split()) == SERVICES
    assert machine.run("cat /proc/1/comm") == "init\n"


def test_the_root_is_read_only_and_its_own_mount(machine: Booted) -> None:
    assert re.search(r"^rootfs on / type rootfs \(ro,", machine.run("mount"), re.MULTILINE)
    machine.run("touch /here", code=1)


def test_runc_knows_the_services_and_enters_them(machine: Booted) -> None:
    listed = {line.split()[0]: line.split()[2] for line in machine.run("runc list").splitlines()[1:]}
    assert {name: listed[name] for name in SERVICES} == dict.fromkeys(SERVICES, "running")
    inside = machine.run("runc exec -t docker /bin/sh -c 'tty; cat /proc/1/comm; ls /containers'", code=1)
    assert inside.splitlines()[:2] == ["/dev/pts/0", "docker-init"]


def test_onboot_containers_left_their_marks(machine: Booted) -> None:
    assert machine.run("cat /proc/sys/vm/max_map_count") == "262144\n"
    assert "[madvise]" in machine.run("cat /sys/kernel/mm/transparent_hugepage/enabled")
    assert "enabled" in machine.run(f"cat /proc/sys/fs/binfmt_misc/qemu-{OTHER[machine.arch]}")
    assert machine.run("cat /run/log/onboot/onboot.003-format.log").endswith("/dev/vda1 has ext4\n")
    assert "nameserver 10.0.2.3" in machine.run("cat /etc/resolv.conf")


def test_the_disk_is_where_docker_keeps_its_things(machine: Booted) -> None:
    assert re.search(r"^/dev/vda1 on /var/lib/docker type ext4", machine.run("mount"), re.MULTILINE)


def test_services_log_and_can_be_restarted(machine: Booted) -> None:
    assert "ntp engine ready" in machine.run("cat /var/log/ntpd.log")
    before = machine.run("service list | grep ntpd")
    assert "service ntpd stopped" in machine.run("service restart ntpd")
    after = machine.run("service list | grep ntpd")
    assert before != after
    assert after.startswith("ntpd running ")


def test_the_engine_tells_of_itself(machine: Booted, engine: docker.DockerClient) -> None:
    info = engine.info()
    assert (info["OSType"], info["Architecture"], info["Driver"]) == ("linux", OWN[machine.arch], "overlay2")
    assert info["CgroupVersion"] == "2"
    assert info["MemoryLimit"]
    assert not [warning for warning in info["Warnings"] or [] if "iptables" in warning]


def test_the_engine_runs_a_container_from_an_image_it_is_given(machine: Booted, engine: docker.DockerClient,
                                                               tmp_path: Path) -> None:
    archive = tmp_path / "image.tar"
    subprocess.run([sys.executable, "-m", "provisioner", "cache", "export", "provisioner/getty", "--format", "docker",
                    "--platform", f"linux/{machine.arch}", "--outfile", str(archive)],
                   check=True, stdout=subprocess.DEVNULL)
    with archive.open("rb") as file:
        image = engine.images.load(file)[0]
    said = engine.containers.run(image.id, entrypoint=["/bin/sh", "-c"], command=["echo from $(uname -m)"], init=True,
                                 mem_limit="32m", network_mode="bridge", remove=True)
    assert said == f"from {OWN[machine.arch]}\n".encode()


def test_it_needs_less_than_two_thirds_of_its_memory(machine: Booted) -> None:
    available = re.search(r"MemAvailable:\s+(\d+) kB", machine.run("cat /proc/meminfo"))
    assert available
    assert int(available[1]) > 2048 * 1024 // 3


def test_poweroff_is_orderly(machine: Booted) -> None:
    """Keep this one last: it ends the machine."""
    machine.machine.send_console(b"poweroff\r")
    machine.machine.wait_console(b"provisioner: shutdown started", timeout=LIMIT)
    machine.machine.wait_console(b"provisioner: shutdown done", timeout=LIMIT)
    assert machine.machine.wait(LIMIT) == 0
    assert machine.machine.reason == "guest-shutdown"
