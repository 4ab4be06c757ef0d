"""What runtime.json and the layout of LinuxKit ask of init, on a machine without containerd: one boot of one YAML.

Its containers are the getty component's busybox with other commands.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.system.booting import LIMIT, Booted, booted, build

pytestmark = pytest.mark.system
YAML = """
kernel:
  image: provisioner/kernel
  cmdline: "console=ttyS0 console=tty0"
init: [provisioner/init, provisioner/runc]
volumes:
  - {name: kept}
  - {name: fixed, image: provisioner/sysctl, readonly: true}
onboot:
  - &shell
    name: hello
    image: provisioner/getty
    command: [/bin/sh, -c, "echo to stdout; echo to stderr >&2; echo written >/volume/file"]
    binds: ["kept:/volume"]
    pid: new
    readonly: false
    capabilities: [CAP_SYS_ADMIN]
    devices: []
  - <<: *shell
    name: fails
    command: [/bin/sh, -c, "echo on purpose; exit 7"]
    binds: []
services:
  - name: getty
    image: provisioner/getty
    env: ["INSECURE=true"]
  - <<: *shell
    name: web
    command: [/bin/sh, -c, "trap 'echo asked to end; exit 0' TERM; echo up; while true; do sleep 1; done"]
    binds: ["kept:/volume"]
    net: new
    hostname: inside
    uts: new
    runtime:
      mkdir: [/var/made, relative/made]
      cgroups: [made]
      interfaces:
        - {name: inner, peer: outer}
        - {name: wg0, add: wireguard, createInRoot: true}
      bindNS: {net: /run/netns/web, uts: /run/uts-web}
  - <<: *shell
    name: broken
    command: [/there/is/no/such/program]
    binds: []
onshutdown:
  - <<: *shell
    name: bye
    command: [/bin/sh, -c, "echo good bye"]
    binds: []
files:
  - {path: etc/hostname, contents: "named\\n"}
"""


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Booted]:
    folder = tmp_path_factory.mktemp("runtime")
    yaml = folder / "runtime.yml"
    yaml.write_text(YAML)
    with booted(build(yaml, folder), memory=384) as there:
        yield there


def test_a_failure_is_told_and_the_boot_goes_on(machine: Booted) -> None:
    lines = machine.protocol()
    assert lines[:5] == ["init 1 started", "onboot 000-hello started", "onboot 000-hello done",
                         "onboot 001-fails started", "onboot 001-fails failed (exit 7)"]
    assert {"service getty started", "service web started", "service broken failed (exit 1)"} <= set(lines)
    assert lines[-1] == "services failed: broken"


def test_output_of_containers_is_on_the_console_and_in_their_logs(machine: Booted) -> None:
    for words in ("to stdout", "to stderr", "on purpose", "/there/is/no/such/program"):
        assert words in machine.console
    log = machine.run("cat /run/log/onboot/onboot.000-hello.log")
    assert sorted(log.splitlines()) == ["to stderr", "to stdout"]
    assert machine.run("cat /var/log/onboot/onboot.001-fails.out.log") == "on purpose\n"
    assert machine.run("cat /var/log/web.log") == "up\n"


def test_nothing_stays_of_what_ended_or_never_started(machine: Booted) -> None:
    mounts = machine.run("mount")
    assert " on /containers/onboot" not in mounts
    assert " on /containers/services/broken" not in mounts
    assert {line.split()[0] for line in machine.run("runc list").splitlines()[1:]} == {"getty", "web"}


def test_a_volume_is_shared(machine: Booted) -> None:
    assert machine.run("cat /containers/volumes/kept/merged/file") == "written\n"
    assert machine.run("runc exec web cat /volume/file") == "written\n"


def test_a_read_only_volume_is_read_only(machine: Booted) -> None:
    merged = "/containers/volumes/fixed/merged"
    assert machine.run(f"ls -d {merged}/etc") == f"{merged}/etc\n"
    machine.run(f"touch {merged}/etc/x 2>/dev/null", code=1)


def test_folders_and_groups_are_made(machine: Booted) -> None:
    machine.run("test -d /var/made && test -d /containers/services/web/rootfs/relative/made")
    machine.run("test -e /sys/fs/cgroup/made/cgroup.procs")


def test_interfaces_go_into_the_container(machine: Booted) -> None:
    inside = machine.run("runc exec web cat /proc/net/dev")
    assert {"lo", "inner", "wg0"} <= {line.split(":")[0].strip() for line in inside.splitlines()}
    assert "outer" in machine.run("ls /sys/class/net").split()
    assert "inner" in machine.run("nsenter -n/run/netns/web ip link")
    assert machine.run("nsenter -u/run/uts-web hostname") == "inside\n"
    assert machine.run("hostname") == "named\n"


def test_a_service_ends_when_it_is_asked_and_starts_again(machine: Booted) -> None:
    machine.run("service restart web")
    assert machine.run("cat /var/log/web.log") == "up\nasked to end\nup\n"
    assert "inner" in machine.run("nsenter -n/run/netns/web ip link")
    assert "outer" in machine.run("ls /sys/class/net").split()
    machine.run("service start web", code=1)
    machine.run("service stop web")
    states = [line.split()[:2] for line in machine.run("service list").splitlines()]
    assert states == [["broken", "stopped"], ["getty", "running"], ["web", "stopped"]]
    assert "web" not in machine.run("mount; runc list")


def test_a_service_that_is_not_there_is_refused(machine: Booted) -> None:
    assert "there is no nosuch" in machine.run("service start nosuch 2>&1", code=1)
    assert "nosuch is not running" in machine.run("service stop nosuch 2>&1", code=1)
    assert machine.run("service frobnicate 2>&1", code=1).startswith("Usage: service ")


def test_onshutdown_containers_run_at_the_end(machine: Booted) -> None:
    """Keep this one last: it ends the machine."""
    machine.machine.send_console(b"reboot\r")
    machine.machine.wait_console(b"provisioner: shutdown done", timeout=LIMIT)
    assert machine.machine.wait(LIMIT) == 0
    assert machine.machine.reason == "guest-reset"
    assert machine.protocol()[-4:] == ["shutdown started", "onshutdown 000-bye started", "onshutdown 000-bye done",
                                       "shutdown done"]
    assert b"good bye" in machine.machine.transcript
