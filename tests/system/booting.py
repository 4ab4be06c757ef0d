"""Builds an image by the command line, boots it in QEMU and types on its console."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from provisioner import data
from provisioner.providers.qemu import Disk, Machine, MachineOptions, Publish
from provisioner.providers.qemu.image import direct_boot, with_console

LIMIT = 600.0
UP = (b"provisioner: services up", b"provisioner: services failed: ")
PROMPT = b":/# "
# What is typed may be echoed right behind a line.
PROTOCOL = re.compile(
    r"provisioner: (init \S+ started|(?:onboot|onshutdown|service) \S+ (?:started|done|stopped|failed \(exit \d+\))|"
    r"services up|services failed: .+?(?=\r)|address \S+ [0-9a-f.:]+|shutdown (?:started|done))")


@dataclass(frozen=True)
class Booted:
    """A machine that has said that its services are up, with a root shell on its console."""

    machine: Machine
    console: str

    @property
    def arch(self) -> str:
        """The machine's architecture, as in Debian."""
        return self.machine.options.arch

    def port(self, guest: int) -> int:
        """Return the port of 127.0.0.1 behind which the machine's port is."""
        return self.machine.ports[guest]

    def run(self, command: str, *, code: int = 0, timeout: float = LIMIT) -> str:
        """Type a command on the console's shell, check its exit status and return what it printed.

        The marks are typed in two parts, so that the echo of what is typed does not look like them.
        """
        self.machine.send_console(f"echo '<be''gin>'; {command}; echo \"<e\"\"nd $?>\"\r".encode())
        self.machine.wait_console(b"<begin>\r\n", timeout=timeout)
        output = self.machine.wait_console(b"<end ", timeout=timeout).decode(errors="replace")
        status = self.machine.wait_console(b">", timeout=timeout)
        output = output.removesuffix("<end ").replace("\r\n", "\n")
        assert int(status[:-1]) == code, f"{command}: exit {status[:-1].decode()}\n{output}"
        return output

    def protocol(self) -> list[str]:
        """Return the lines that init has printed so far for programs to read, without their ``provisioner: ``."""
        return PROTOCOL.findall(self.machine.transcript.decode(errors="replace"))


def build(yaml: Path, folder: Path, arch: str = "amd64", *, home: Path | None = None) -> str:
    """Build the image of a YAML file into a folder and return the prefix of its files; ``home`` is where ``~`` is."""
    places = {"HOME": str(home), "PROVISIONER_CACHE": str(data.cache_dir())} if home else {}
    subprocess.run([sys.executable, "-m", "provisioner", "--quiet", "build", str(yaml), "--arch", arch,
                    "--dir", str(folder)], check=True, stdout=subprocess.DEVNULL, env={**os.environ, **places})
    return f"{folder}/{yaml.stem}"


@contextmanager
def booted(prefix: str, arch: str = "amd64", *, memory: int = 1024, disks: tuple[Disk, ...] = (), cmdline: str = "",
           publish: tuple[int, ...] = ()) -> Iterator[Booted]:
    """Boot an image and yield the machine when its services are up and its shell answers."""
    image = direct_boot(prefix)
    options = MachineOptions(kernel=image.kernel, initrd=image.initrd, arch=arch, memory=memory, disks=disks,
                             cmdline=f"{with_console(image.cmdline, arch)} {cmdline}".strip(), name=Path(prefix).name,
                             publish=tuple(Publish(0, port) for port in publish), reboot=False)
    with Machine(options) as machine:
        machine.wait_console(*UP, timeout=LIMIT)
        if PROMPT not in machine.transcript:
            machine.wait_console(PROMPT, timeout=LIMIT)
        there = Booted(machine, machine.transcript.decode(errors="replace"))
        # The kernel's own messages may come at any time; from here on they would tear the shell's output.
        there.run("dmesg -n 1")
        yield there
