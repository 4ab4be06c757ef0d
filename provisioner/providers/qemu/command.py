"""The QEMU command line of a machine, as data: pure, so that it can be read and compared in tests.

Options are QEMU 7.2's, https://www.qemu.org/docs/master/system/invocation.html.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from provisioner.providers.qemu.firmware import Firmware
from provisioner.providers.qemu.options import Disk, MachineOptions, Publish

PROGRAMS = {"amd64": "qemu-system-x86_64", "arm64": "qemu-system-aarch64"}
# Under emulation a modest CPU is the fast one: with newer models the C library picks vector code that QEMU has to
# imitate step by step.
_CPUS = {("amd64", "tcg"): "Nehalem", ("arm64", "tcg"): "cortex-a57"}
# One thread for all CPUs of an emulated amd64 machine: Linux patches its own code while other CPUs run (static keys,
# at each container's start and end), and with a thread per CPU QEMU 7.2 now and then lets them run half-patched code:
# "Oops: int3", or a silent hang.
_THREADS = {"amd64": "single", "arm64": "multi"}


@dataclass(frozen=True, slots=True)
class Plumbing:
    """What was settled before the start: ``accel`` is kvm or tcg, ``disks`` and ``ports`` have no open ends.

    ``console`` and ``qmp`` are numbers of listening unix sockets that QEMU inherits.
    """

    accel: str
    mac: str
    console: int
    qmp: int
    disks: Sequence[Disk] = ()
    ports: Sequence[Publish] = ()
    firmware: Firmware | None = None


def command(options: MachineOptions, plumbing: Plumbing) -> list[str]:
    """Return QEMU's argv. The machine starts paused (``-S``): it is let go when somebody reads its console."""
    argv = [*options.enter, PROGRAMS[options.arch], "-S", "-name", _escape(options.name), "-nodefaults",
            "-no-user-config", "-display", "none",
            "-accel", f"tcg,thread={_THREADS[options.arch]}" if plumbing.accel == "tcg" else "kvm",
            "-machine", _board(options), "-cpu", _CPUS.get((options.arch, plumbing.accel), "host"),
            "-smp", str(options.cpus), "-m", f"{options.memory}M",
            "-chardev", f"socket,id=console,fd={plumbing.console},server=on,wait=off",
            "-serial", "chardev:console",
            "-chardev", f"socket,id=control,fd={plumbing.qmp},server=on,wait=off", "-mon", "control,mode=control",
            "-device", "virtio-rng-pci"]
    if not options.reboot:
        argv += ["-no-reboot"]
    return [*argv, *_firmware(options, plumbing.firmware), *_kernel(options), *_disks(options, plumbing.disks),
            *_network(options, plumbing), *options.extra]


def _board(options: MachineOptions) -> str:
    # graphics=off makes SeaBIOS and its option ROMs write to the serial line.
    return "q35,graphics=off" if options.arch == "amd64" else "virt"


def _firmware(options: MachineOptions, firmware: Firmware | None) -> list[str]:
    if firmware is None:
        return ["-bios", str(options.firmware)] if options.firmware else []
    return ["-drive", f"if=pflash,unit=0,format=raw,readonly=on,file={_escape(firmware.code)}",
            "-drive", f"if=pflash,unit=1,format=raw,file={_escape(firmware.variables)}"]


def _kernel(options: MachineOptions) -> list[str]:
    if options.boot != "kernel" or options.kernel is None:
        return []
    initrd = ["-initrd", str(options.initrd)] if options.initrd else []
    return ["-kernel", str(options.kernel), *initrd, "-append", options.cmdline]


def _disks(options: MachineOptions, disks: Sequence[Disk]) -> list[str]:
    argv = []
    for number, disk in enumerate(disks):
        first = ",bootindex=0" if options.boot == "disk" and number == 0 else ""
        file = _escape(disk.path or "")
        argv += ["-drive", f"if=none,id=disk{number},file={file},format={disk.format},discard=unmap",
                 "-device", f"virtio-blk-pci,drive=disk{number}{first}"]
    return argv


def _network(options: MachineOptions, plumbing: Plumbing) -> list[str]:
    if options.network.kind == "none":
        return []
    forwards = "".join(f",hostfwd={p.protocol}:127.0.0.1:{p.host}-:{p.guest}" for p in plumbing.ports)
    backend = {
        "user": f"user,id=net0{forwards}",
        "tap": f"tap,id=net0,ifname={options.network.name},script=no,downscript=no",
        "bridge": f"bridge,id=net0,br={options.network.name}",
    }[options.network.kind]
    card = f"virtio-net-pci,netdev=net0,mac={plumbing.mac}"
    # Without its iPXE ROM the card is driven by UEFI's own PXE client, as on a real machine; a direct boot needs
    # neither.
    if options.uefi or options.arch != "amd64" or options.boot == "kernel":
        card += ",romfile="
    if options.boot == "net":
        card += ",bootindex=1"
    return ["-netdev", backend, "-device", card]


def _escape(value: str | Path) -> str:
    """QEMU's option lists double a comma to mean one."""
    return str(value).replace(",", ",,")
