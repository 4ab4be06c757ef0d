"""The lab network: what is in it, that it is gone afterwards, and how it is reached from outside."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from ipaddress import IPv4Interface
from pathlib import Path

import pytest

from provisioner.errors import UsageError
from provisioner.netboot import lab
from tests.netboot.inside import ROOT, run_inside


def test_the_plan() -> None:
    plan = lab.Lab()
    assert (plan.bridge, plan.address) == ("br0", IPv4Interface("10.99.0.1/24"))
    assert (plan.tap(), plan.tap(3)) == ("tap0", "tap3")


@pytest.mark.parametrize("argv", [[], ["--taps", "x", "true"], ["--forward", "1:2", "true"], ["--what"]])
def test_a_wrong_command_line(argv: list[str]) -> None:
    with pytest.raises(UsageError):
        lab.main(argv)


@pytest.mark.tool
def test_it_has_a_bridge_and_taps_and_nothing_of_the_hosts() -> None:
    before = socket.if_nameindex()
    run_inside("the_lab_itself", taps=2)
    assert socket.if_nameindex() == before


@pytest.mark.tool
def test_the_commands_exit_code_is_the_labs() -> None:
    argv = [sys.executable, "-m", "provisioner.netboot.lab", "sh", "-c", "exit 7"]
    assert subprocess.run(argv, cwd=ROOT, check=False).returncode == 7


@pytest.mark.tool
def test_a_forward_carries_both_ways_and_half_closes() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    code = "from tests.netboot import scenarios; scenarios.answer_once('8000')"
    argv = [sys.executable, "-m", "provisioner.netboot.lab", "--forward", f"{port}:10.99.0.1:8000",
            sys.executable, "-c", code]
    with subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"ready\n"
        with socket.create_connection(("127.0.0.1", port)) as connection:
            connection.sendall(b"hello " * 50_000)
            connection.shutdown(socket.SHUT_WR)
            got = b""
            while chunk := connection.recv(65_536):
                got += chunk
        assert got == b"HELLO " * 50_000
        assert child.wait(20) == 0


@pytest.mark.tool
def test_a_port_in_use_is_told_before_anything_is_made() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        argv = [sys.executable, "-m", "provisioner.netboot.lab", "--forward", f"{port}:10.99.0.1:80", "true"]
        done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 7
    assert f"TCP port {port} is in use by" in done.stderr


@pytest.fixture
def package() -> Iterator[Path]:
    """A copy of the package that every user can read, wherever the checkout lies."""
    with tempfile.TemporaryDirectory(prefix="provisioner-test-") as folder:
        Path(folder).chmod(0o755)
        shutil.copytree(ROOT / "provisioner", Path(folder) / "provisioner")
        subprocess.run(["chmod", "-R", "a+rX", folder], check=True)
        yield Path(folder)


def ordinary_user(package: Path, code: str) -> subprocess.CompletedProcess[str]:
    """Run Python code as user 1000 with a /dev/net/tun that everybody may open, as udev makes it."""
    script = ("mount -t tmpfs none /dev/net && mknod -m 666 /dev/net/tun c 10 200 &&"
              'exec setpriv --reuid=1000 --regid=1000 --clear-groups --inh-caps=-all "$@"')
    command = ["unshare", "--mount", "sh", "-ec", script, "sh"] if os.geteuid() == 0 else []
    python = "/usr/bin/python3" if Path("/usr/bin/python3").exists() else sys.executable
    return subprocess.run([*command, python, "-c", code], cwd=package, env={"PATH": os.environ["PATH"]},
                          capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.tool
def test_an_ordinary_user_gets_one_too(package: Path) -> None:
    code = "import os, sys\nfrom provisioner.netboot import lab\n" \
           "with lab.entered(lab.Lab()):\n    print(os.geteuid(), open('/proc/net/dev').read().count('tap0'))"
    done = ordinary_user(package, code)
    assert (done.returncode, done.stdout) == (0, "0 1\n"), done.stderr


@pytest.mark.tool
def test_threads_are_named_as_the_reason(package: Path) -> None:
    code = "import threading, time\nfrom provisioner.netboot import lab\n" \
           "threading.Thread(target=time.sleep, args=(20,), daemon=True).start()\n" \
           "with lab.entered(lab.Lab()): pass"
    done = ordinary_user(package, code)
    assert "PrivilegeError" in done.stderr
    assert "before the program starts threads" in done.stderr
