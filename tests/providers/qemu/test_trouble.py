"""QEMU's last words, recorded from QEMU 7.2, as errors of ours."""

from __future__ import annotations

from pathlib import Path

import pytest

from provisioner.errors import DeviceError, NetworkError, PrivilegeError, ProvisionerError
from provisioner.providers.qemu.options import MachineOptions, Network
from provisioner.providers.qemu.trouble import explain

TAP = MachineOptions(kernel=Path("k"), network=Network("tap", "tap0"))
BRIDGE = MachineOptions(kernel=Path("k"), network=Network("bridge", "br7"))


@pytest.mark.parametrize(("words", "options", "kind", "message", "hint"), [
    ("qemu-system-x86_64: -netdev user,id=net0,hostfwd=tcp:127.0.0.1:2375-:2375: Could not set up host forwarding "
     "rule 'tcp:127.0.0.1:2375-:2375'", TAP, NetworkError, "port 2375/tcp of 127.0.0.1 is taken",
     "0 for any free one"),
    ("qemu-system-x86_64: -netdev tap,id=net0,ifname=tap0,script=no,downscript=no: could not configure /dev/net/tun "
     "(tap0): Operation not permitted", TAP, PrivilegeError, "cannot connect the machine to tap0", "CAP_NET_ADMIN"),
    ("failed to parse default acl file `/etc/qemu/bridge.conf'\nqemu-system-x86_64: -netdev bridge,id=net0,br=br7: "
     "bridge helper failed", BRIDGE, PrivilegeError, "cannot connect the machine to br7", "allow br7"),
    ("qemu-system-x86_64: -device virtio-blk-pci,drive=disk0: Failed to get \"write\" lock\nIs another process using "
     "the image [a.img]?", TAP, DeviceError, "in use by another process", ""),
    ("qemu-system-x86_64: something new", TAP, ProvisionerError, "QEMU did not start: something new", ""),
    ("", TAP, ProvisionerError, "it said nothing", ""),
])
def test_words(words: str, options: MachineOptions, kind: type[ProvisionerError], message: str, hint: str) -> None:
    error = explain(words, options)
    assert type(error) is kind
    assert message in error.message
    assert hint in error.hint
