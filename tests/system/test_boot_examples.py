"""The smaller examples: log in with a key or a password, scrape the figures."""

from __future__ import annotations

import subprocess
import time
import urllib.request
from pathlib import Path

import pytest

from provisioner import data
from provisioner.errors import ProvisionerError
from provisioner.providers.qemu import Machine, MachineOptions
from provisioner.providers.qemu.image import direct_boot
from tests.system.booting import LIMIT, booted, build

pytestmark = pytest.mark.system
LISTENS = "until netstat -ltn | grep -q :%d; do sleep 1; done"


def test_sshd_lets_in_who_has_the_key(tmp_path: Path) -> None:
    (tmp_path / ".ssh").mkdir()
    key = tmp_path / ".ssh/id_ed25519"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    prefix = build(data.find("examples", "sshd.yml"), tmp_path, home=tmp_path)
    with booted(prefix, publish=(22,)) as machine:
        machine.run(LISTENS % 22)
        ssh = ["ssh", "-i", str(key), "-p", str(machine.port(22)), "-o", "StrictHostKeyChecking=no",
               "-o", "BatchMode=yes", "-o", f"UserKnownHostsFile={tmp_path}/known", "-o", "IdentitiesOnly=yes",
               "root@127.0.0.1"]
        said = subprocess.run([*ssh, "cat /proc/1/comm; ls /containers; runc list"], check=True, capture_output=True,
                              text=True, timeout=LIMIT).stdout
        assert said.splitlines()[:3] == ["init", "onboot", "services"]
        assert "sshd" in said
        other = tmp_path / "other"
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(other)], check=True)
        refused = subprocess.run([word.replace(str(key), str(other)) for word in ssh] + ["true"], check=False,
                                 capture_output=True, text=True, timeout=LIMIT)
        assert refused.returncode == 255
        assert "Permission denied (publickey)" in refused.stderr


LOGIN = """
services:
  - {name: getty, image: provisioner/getty}
files:
  - path: etc/getty.shadow
    contents: 'root:HASH:20000:0:::::'
    mode: "0600"
"""
# mkpasswd -m sha512 -S saltsalt secret
HASH = "$6$saltsalt$TVLlQcbpFVof5W3Yz4DTP6gRstiNuHwwTt6GLc1E5n0U0aDehy0S5knV8wiOQSpT0Y77vwPZN.Pq.H91p5hVO1"


def type_until(machine: Machine, text: bytes, marker: bytes) -> None:
    """Type again what a login program threw away: it empties its input when it begins to ask."""
    for _ in range(20):
        time.sleep(2)  # it prints its prompt before it empties its input, and says nothing when it has
        machine.send_console(text)
        try:
            machine.wait_console(marker, timeout=20)
        except ProvisionerError:
            continue
        return
    pytest.fail(f"{marker!r} did not come: {bytes(machine.transcript[-500:])!r}")


def test_without_insecure_the_console_asks_for_the_password(tmp_path: Path) -> None:
    minimal = data.find("examples", "minimal.yml").read_text()
    (tmp_path / "login.yml").write_text(minimal[:minimal.index("onboot:")] + LOGIN.replace("HASH", HASH))
    image = direct_boot(build(tmp_path / "login.yml", tmp_path))
    options = MachineOptions(kernel=image.kernel, initrd=image.initrd, cmdline=image.cmdline, arch="amd64")
    with Machine(options) as machine:
        for password, answer in (("wrong", b"Login incorrect"), ("secret", b":/# ")):
            machine.wait_console(b" login: ", timeout=LIMIT)
            type_until(machine, b"root\r", b"Password: ")
            type_until(machine, f"{password}\r".encode(), answer)
        machine.send_console(b"cat /proc/1/comm\r")
        machine.wait_console(b"\r\ninit\r\n", timeout=LIMIT)


def test_node_exporter_is_scraped(tmp_path: Path) -> None:
    with booted(build(data.find("examples", "node-exporter.yml"), tmp_path), publish=(9100,)) as machine:
        machine.run(LISTENS % 9100)
        with urllib.request.urlopen(f"http://127.0.0.1:{machine.port(9100)}/metrics", timeout=LIMIT) as answer:
            metrics = answer.read().decode()
        assert 'node_uname_info{domainname="(none)",machine="x86_64",nodename="provisioner-' in metrics
        assert 'node_network_up{device="eth0"} 1' in metrics
        assert "node_memory_MemTotal_bytes" in metrics
        # What it does for the engineer at the console: the power button is heard.
        machine.machine.powerdown()
        machine.machine.wait_console(b"provisioner: shutdown done", timeout=LIMIT)
        assert machine.machine.wait(LIMIT) == 0
        assert machine.machine.reason == "guest-shutdown"
