"""``provisioner run``: start an image as a machine and stay at its console."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from provisioner.cli.output import Output

if TYPE_CHECKING:
    from provisioner.providers.qemu import MachineOptions

_END_TIME = 30.0


@click.group()
def command() -> None:
    """Run an image as a machine."""


@command.command("qemu", epilog="Ctrl-A x leaves and ends the machine, Ctrl-A h helps.")
@click.argument("prefix")
@click.option("--arch", default="", help="amd64 or arm64; default: what the kernel is made for.")
@click.option("--cpus", default=1, show_default=True, help="Number of CPUs.")
@click.option("--mem", default=1024, show_default=True, help="Memory in MiB.")
@click.option("--disk", "disks", multiple=True, metavar="PATH[,size=4G][,format=raw|qcow2]",
              help="A disk, created when a size is given and it is not there; kept. Repeatable.")
@click.option("--publish", multiple=True, metavar="HOST:GUEST[/udp]",
              help="Offer a port of the machine on 127.0.0.1; host port 0 takes any free one. Repeatable.")
@click.option("--networking", default="user", show_default=True, metavar="user|none|tap,NAME|bridge,NAME",
              help="How the network card is connected.")
@click.option("--mac", default="", help="The network card's address.")
@click.option("--state", type=click.Path(path_type=Path, file_okay=False),
              help="Directory of disks, UEFI variables and sockets; default: PREFIX-state if a disk needs it.")
@click.option("--uefi", is_flag=True, help="Boot through UEFI firmware.")
@click.option("--accel", default="auto", show_default=True, type=click.Choice(["auto", "kvm", "tcg"]),
              help="auto takes KVM if a short boot in it succeeds.")
@click.option("--append", default="", metavar="WORDS", help="Words to add to the kernel's command line.")
@click.option("--no-reboot", is_flag=True, help="End where the machine would reset.")
@click.option("--log", type=click.Path(path_type=Path, dir_okay=False), help="Append the console's bytes to a file.")
@click.option("--stages", "show_stages", is_flag=True, help="Show the stages of the boot instead of the console.")
@click.pass_obj
def qemu(output: Output, prefix: str, *, arch: str, cpus: int, mem: int, disks: tuple[str, ...],
         publish: tuple[str, ...], networking: str, mac: str, state: Path | None, uefi: bool, accel: str,
         append: str, no_reboot: bool, log: Path | None, show_stages: bool) -> int:
    """Boot PREFIX-kernel with PREFIX-initrd.img and PREFIX-cmdline in QEMU, with its console in this terminal."""
    from provisioner.providers.qemu import Disk, MachineOptions, Network, Publish
    from provisioner.providers.qemu.image import direct_boot, with_console

    image = direct_boot(prefix, arch)
    cmdline = with_console(f"{image.cmdline} {append}".strip(), image.arch)
    if cmdline.split() != [*image.cmdline.split(), *append.split()]:
        output.info(f"adding {cmdline.rpartition(' ')[2]} to the kernel's command line: it names no console here")
    parsed = tuple(Disk.parse(text) for text in disks)
    if state is None and any(disk.path is None for disk in parsed):
        state = Path(f"{prefix}-state")
    options = MachineOptions(
        kernel=image.kernel, initrd=image.initrd, cmdline=cmdline, arch=image.arch,
        name=Path(prefix).name, uefi=uefi, cpus=cpus, memory=mem, accel=accel, disks=parsed,
        network=Network.parse(networking), mac=mac, publish=tuple(Publish.parse(text) for text in publish),
        state=state, reboot=not no_reboot)
    return _attended(output, options, log, show_stages=show_stages)


def _attended(output: Output, options: MachineOptions, log: Path | None, *, show_stages: bool) -> int:
    """Run the machine with its console attached, or its stages shown; return QEMU's exit code."""
    from provisioner.cli.console import watch
    from provisioner.console.port import SocketPort
    from provisioner.console.timeline import Timeline
    from provisioner.providers.qemu import Machine

    timeline = Timeline()
    with Machine(options, sink=timeline) as machine:
        output.info(f"{options.name}: {options.arch}, {machine.accel.name} ({machine.accel.reason})")
        for guest, host in machine.ports.items():
            output.info(f"{options.name}: port {guest} is at 127.0.0.1:{host}")
        port = SocketPort(machine.connect(), options.name)
        left = watch(output, port, log=log, timeline=timeline, machine=options.name, show_stages=show_stages)
        code = 0 if left else machine.wait(_END_TIME)
        output.info(f"{options.name}: {'left, and ended' if left else machine.reason or 'ended'}")
    return code
