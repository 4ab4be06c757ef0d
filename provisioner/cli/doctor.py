"""``provisioner doctor``: what this machine lacks for which verb, each with the line that mends it."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import click

from provisioner import data, process
from provisioner.cli.output import Output, human
from provisioner.errors import NotFoundError, ProvisionerError, UsageError
from provisioner.model.platform import Platform

_SPACE = 3_000_000_000  # packages, images and artifacts of the examples
_CAPABILITIES = {"CAP_NET_BIND_SERVICE": 10, "CAP_NET_RAW": 13}
_TUN = Path("/dev/net/tun")


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at: ``ok`` or what ``fix`` mends it. What is not ``needed`` only limits a verb."""

    name: str
    ok: bool
    detail: str
    fix: str = ""
    needed: bool = True
    verbs: tuple[str, ...] = ()


Check = Callable[[], Iterator[Finding]]


@click.command(short_help="Say what this machine lacks for which verb.")
@click.argument("verbs", nargs=-1, metavar="[VERB]...")
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")
@click.pass_obj
def command(output: Output, verbs: tuple[str, ...], *, as_json: bool) -> int:
    """Say what this machine lacks for which verb, each with the line that installs or mends it.

    Without a VERB all are looked at. The exit code is 0 when nothing that they need is missing, 4 otherwise.
    """
    wanted = verbs or tuple(CHECKS)
    if unknown := [verb for verb in wanted if verb not in CHECKS]:
        raise UsageError(f"no such verb: {', '.join(unknown)}", hint="verbs: " + ", ".join(CHECKS))
    output.info("looking; a first look at KVM boots something in it and may take some seconds")
    findings = examine(wanted)
    missing = [f for f in findings if f.needed and not f.ok]
    output = replace(output, as_json=output.as_json or as_json)
    if output.as_json:
        output.result("", {"ok": not missing, "findings": [asdict(finding) for finding in findings]})
    else:
        rows = [(_mark(f), f.name, ",".join(f.verbs), f.detail) for f in findings]
        output.table(("", "WHAT", "FOR", "FOUND"), rows)
        fixes = dict.fromkeys(f.fix for f in [*missing, *(f for f in findings if not f.ok)] if f.fix)
        if fixes:
            click.echo("\nto mend it:\n" + "\n".join(f"  {fix}" for fix in fixes))
        if not missing:
            click.echo("\nnothing that is needed is missing")
    return NotFoundError.exit_code if missing else 0


def examine(verbs: Sequence[str]) -> list[Finding]:
    """Look at everything the verbs use, each thing once; what is needed by one of them comes as needed."""
    order: dict[int, tuple[Check, list[str]]] = {}
    for verb in verbs:
        for check in CHECKS[verb]:
            order.setdefault(id(check), (check, []))[1].append(verb)
    return [replace(finding, verbs=tuple(users)) for check, users in order.values() for finding in check()]


def _mark(finding: Finding) -> str:
    return "ok" if finding.ok else "MISSING" if finding.needed else "limited"


def _python() -> Iterator[Finding]:
    version = ".".join(map(str, sys.version_info[:3]))
    yield Finding("Python", sys.version_info >= (3, 11), version, "install Python 3.11 or newer")


def _packages() -> Iterator[Finding]:
    from importlib import metadata
    from re import match

    for line in metadata.requires("provisioner") or ():
        name = match(r"[\w.-]+", line)
        if name is None or "extra ==" in line:
            continue
        try:
            metadata.version(name[0])
        except metadata.PackageNotFoundError:
            yield Finding(f"Python package {name[0]}", ok=False, detail="not installed", fix=f"pip install '{line}'")


def _tool(name: str, *, needed: bool = True) -> Iterator[Finding]:
    try:
        yield Finding(name, ok=True, detail=process.find(name), needed=needed)
    except ProvisionerError as error:
        yield Finding(name, ok=False, detail="not installed", fix=error.hint, needed=needed)


def _qemu() -> Iterator[Finding]:
    host = Platform.host().architecture
    for arch, program in (("amd64", "qemu-system-x86_64"), ("arm64", "qemu-system-aarch64")):
        for finding in _tool(program, needed=arch == host):
            if not finding.ok:
                yield finding
                continue
            try:
                words = process.run([program, "--version"], timeout=30).text.partition("\n")[0]
                yield replace(finding, detail=words.removeprefix("QEMU emulator version "))
            except ProvisionerError as error:
                yield replace(finding, ok=False, detail=error.message)


def _firmware() -> Iterator[Finding]:
    from provisioner.providers.qemu import firmware

    for arch in firmware.PACKAGES:
        name = f"UEFI firmware, {arch}"
        try:
            yield Finding(name, ok=True, detail=str(firmware.find(arch).code), needed=False)
        except ProvisionerError as error:
            yield Finding(name, ok=False, detail="not installed", fix=error.hint, needed=False)


def _kvm() -> Iterator[Finding]:
    from provisioner.providers.qemu import MachineOptions, accel

    host = Platform.host().architecture
    if not process.available("qemu-system-x86_64" if host == "amd64" else "qemu-system-aarch64"):
        return
    try:
        choice = accel.choose(MachineOptions(boot="net", arch=host))
    except ProvisionerError as error:
        yield Finding("KVM", ok=False, detail=error.message, fix=error.hint, needed=False)
        return
    fix = "sudo usermod -aG kvm $USER, then log in again" if "permission" in choice.reason else ""
    yield Finding("KVM", ok=choice.name == "kvm", detail=choice.reason, fix=fix, needed=False)


def _keyring() -> Iterator[Finding]:
    from provisioner.components.apt import keyring

    try:
        yield Finding("Debian's archive keys", ok=True, detail=str(keyring()))
    except ProvisionerError as error:
        yield Finding("Debian's archive keys", ok=False, detail="not installed", fix=error.hint)


def _space() -> Iterator[Finding]:
    for name, folder in (("cache", data.cache_dir()), ("this directory", Path.cwd())):
        place = next(p for p in (folder, *folder.parents) if p.exists())
        free = shutil.disk_usage(place).free
        yield Finding(f"space for {name}", free >= _SPACE, f"{human(free)} free at {place}",
                      f"free {human(_SPACE)} at {place}, or set PROVISIONER_CACHE; provisioner cache prune helps")


def _capabilities() -> Iterator[Finding]:
    status = Path("/proc/self/status").read_text()
    effective = int(next(line.split()[1] for line in status.splitlines() if line.startswith("CapEff:")), 16)
    for name, bit in _CAPABILITIES.items():
        yield Finding(name, bool(effective >> bit & 1), "to bind ports 67, 69 and 80" if bit == 10 else
                      "to choose an interface and to answer machines without an address",
                      f"run it as root, or by systemd with AmbientCapabilities={name}")


def _ports() -> Iterator[Finding]:
    from provisioner.netboot.network import port_holder

    for protocol, port, what in (("udp", 67, "DHCP"), ("udp", 69, "TFTP"), ("udp", 4011, "proxyDHCP"),
                                 ("tcp", 80, "HTTP")):
        taken = _bound(protocol, port)
        holder = port_holder(protocol, port) or "a program of another user"
        yield Finding(f"port {port}/{protocol}", not taken, f"{what}: {f'held by {holder}' if taken else 'free'}",
                      f"stop {holder}, or serve on another interface" if taken else "")


def _bound(protocol: str, port: int) -> bool:
    """Whether a socket of this network namespace is bound to the port (``/proc/net/udp``, for TCP listening)."""
    for table in (Path(f"/proc/net/{protocol}"), Path(f"/proc/net/{protocol}6")):
        for line in table.read_text().splitlines()[1:] if table.exists() else ():
            fields = line.split()
            if int(fields[1].rpartition(":")[2], 16) == port and (protocol == "udp" or fields[3] == "0A"):
                return True
    return False


def _tun() -> Iterator[Finding]:
    if not _TUN.exists():
        yield Finding(str(_TUN), ok=False, detail="not there", fix="sudo modprobe tun")
    elif not os.access(_TUN, os.R_OK | os.W_OK):
        yield Finding(str(_TUN), ok=False, detail="no permission", fix=f"sudo chmod 666 {_TUN}")
    else:
        yield Finding(str(_TUN), ok=True, detail="usable")


def _namespaces() -> Iterator[Finding]:
    if not process.available("unshare"):
        return
    done = process.run(["unshare", "--user", "--map-root-user", "--net", "true"], check=False, timeout=30)
    fix = "sudo sysctl -w kernel.unprivileged_userns_clone=1"
    if Path("/proc/sys/kernel/apparmor_restrict_unprivileged_userns").exists():
        fix = "sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0"
    yield Finding("user namespaces", done.returncode == 0,
                  "usable" if done.returncode == 0 else done.stderr.decode(errors="replace").strip(), fix)


def _serial() -> Iterator[Finding]:
    lines = [path for pattern in ("ttyUSB*", "ttyACM*") for path in Path("/dev").glob(pattern)]
    closed = [path for path in lines if not os.access(path, os.R_OK | os.W_OK)]
    yield Finding("serial lines", not closed, f"{len(lines)} adapters, {len(closed)} without permission",
                  "sudo usermod -aG dialout $USER, then log in again", needed=False)


def _checks() -> dict[str, tuple[Check, ...]]:
    base: tuple[Check, ...] = (_python, _packages)
    apt: tuple[Check, ...] = (partial(_tool, "apt-get"), partial(_tool, "apt-config"), partial(_tool, "gpgv"),
                              _keyring, _space)
    qemu: tuple[Check, ...] = (_qemu, partial(_tool, "qemu-img"), _firmware, _kvm)
    lab: tuple[Check, ...] = (partial(_tool, "ip"), partial(_tool, "unshare"), _namespaces, _tun)
    return {
        "build": (*base, *apt),
        "cache": base,
        "component": (*base, *apt),
        "console": (*base, _serial),
        "demo": (*base, *apt, *qemu, *lab),
        "inspect": base,
        "run": (*base, *qemu),
        "serve": (*base, *apt, _capabilities, _ports),
    }


CHECKS = _checks()
