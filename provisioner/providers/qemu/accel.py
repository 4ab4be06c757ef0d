"""KVM or emulation: decided by booting something, never by the mere presence of ``/dev/kvm``.

There are hosts whose /dev/kvm opens, yet a kernel hangs or the firmware dies in it (nested and software variants of
KVM), and hosts where one kind of guest works and another does not. So the probe boots what will be booted: the
kernel (it ends by its panic for want of a root file system), or the firmware with a boot sector of ours, under a
time limit. The answer is kept per boot of the host.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from provisioner import data, process
from provisioner.errors import UsageError
from provisioner.model.platform import Platform
from provisioner.providers.qemu import firmware
from provisioner.providers.qemu.command import PROGRAMS
from provisioner.providers.qemu.options import MachineOptions

TIME_LIMIT = 15.0
KVM = Path("/dev/kvm")
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
# What a probe machine says on its serial line when it got to its end.
_MARKERS = {"kernel": b"Kernel panic", "bios": b"KVM!", "uefi": b"BdsDxe"}
# A boot sector: 2^24 rounds of a loop, then the marker to COM1. The loop is what tells real virtualisation
# (milliseconds) from a KVM that imitates real mode instruction by instruction (minutes).
_SECTOR = bytes.fromhex(
    "66b900000001"  # mov ecx, 0x1000000
    "664975fc"      # dec ecx; jnz -4
    "baf803"        # mov dx, 0x3f8
    "b04bee b056ee b04dee b021ee"  # mov al, 'K'; out dx, al; and so on
    "f4ebfd",       # hlt; jmp -3
)


@dataclass(frozen=True, slots=True)
class Accel:
    """The choice: ``name`` is ``kvm`` or ``tcg``, ``reason`` is for people."""

    name: str
    reason: str


def choose(options: MachineOptions) -> Accel:
    """Return how to run the machine: the option, ``PROVISIONER_ACCEL``, or what the probe finds."""
    wanted = options.accel
    if wanted == "auto":
        wanted = os.environ.get("PROVISIONER_ACCEL") or "auto"
    if wanted in ("kvm", "tcg"):
        return Accel(wanted, "as asked for")
    if wanted != "auto":
        raise UsageError(f"PROVISIONER_ACCEL={wanted} is unknown", hint="auto, kvm or tcg")
    if obstacle := _obstacle(options.arch):
        return Accel("tcg", f"emulation: {obstacle}")
    return _probed(options)


def _obstacle(arch: str) -> str:
    """Return why KVM is out of the question, or an empty string."""
    host = Platform.host().architecture
    if arch != host:
        return f"{arch} on an {host} host"
    if not KVM.exists():
        return "this host has no /dev/kvm"
    if not os.access(KVM, os.R_OK | os.W_OK):
        return "no permission for /dev/kvm (add yourself to the group kvm)"
    return ""


def _probed(options: MachineOptions) -> Accel:
    kind = "kernel" if options.boot == "kernel" else "uefi" if options.uefi or options.arch != "amd64" else "bios"
    cache = data.cache_dir() / "accel.json"
    key = f"{_BOOT_ID.read_text().strip()}/{options.arch}/{kind}"
    known = _load(cache)
    if key not in known:
        # Answers of earlier boots of the host are dropped here.
        same_boot = {name: value for name, value in known.items() if name.startswith(key.split("/")[0])}
        known = same_boot | {key: _boots(kind, options)}
        _save(cache, known)
    if known[key]:
        return Accel("kvm", f"a {kind} boot under KVM succeeded")
    return Accel("tcg", f"emulation: /dev/kvm is there, but a {kind} boot in it failed or hung")


def _boots(kind: str, options: MachineOptions, accel: str = "kvm") -> bool:
    """Whether a probe machine of this kind says its marker within the time limit."""
    with tempfile.TemporaryDirectory(prefix="provisioner-") as scratch:
        log = Path(scratch) / "serial"
        board = "q35,graphics=off" if options.arch == "amd64" else "virt"
        argv = [PROGRAMS[options.arch], "-accel", accel, "-cpu", "host" if accel == "kvm" else "max", "-nodefaults",
                "-display", "none", "-no-reboot", "-m", "256M", "-machine", board, "-serial", f"file:{log}",
                *_load_of(kind, options, Path(scratch))]
        child = process.spawn(argv, stdout=process.DEVNULL, stderr=process.DEVNULL, new_session=True)
        try:
            for _ in range(int(TIME_LIMIT / 0.1)):
                ended = child.poll() is not None
                if log.exists() and _MARKERS[kind] in log.read_bytes():
                    return True
                if ended:
                    return False
                time.sleep(0.1)
            return False
        finally:
            process.stop(child)


def _load_of(kind: str, options: MachineOptions, scratch: Path) -> list[str]:
    """Return the part of the probe's command line that says what it boots."""
    if kind == "kernel":
        console = "ttyS0" if options.arch == "amd64" else "ttyAMA0"
        return ["-kernel", str(options.kernel), "-append", f"console={console} panic=-1 quiet"]
    if kind == "bios":
        sector = scratch / "sector"
        sector.write_bytes((_SECTOR.ljust(510, b"\0") + b"\x55\xaa").ljust(1 << 20, b"\0"))
        return ["-drive", f"if=virtio,format=raw,file={sector}"]
    pair = firmware.private(firmware.find(options.arch), scratch)
    return ["-drive", f"if=pflash,unit=0,format=raw,readonly=on,file={pair.code}",
            "-drive", f"if=pflash,unit=1,format=raw,file={pair.variables}"]


def _load(cache: Path) -> dict[str, bool]:
    try:
        known = json.loads(cache.read_text())
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}


def _save(cache: Path, known: dict[str, bool]) -> None:
    cache.parent.mkdir(parents=True, exist_ok=True)
    fresh = cache.with_suffix(f".{os.getpid()}")
    fresh.write_text(json.dumps(known))
    fresh.replace(cache)
