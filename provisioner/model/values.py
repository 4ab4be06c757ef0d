"""The small languages inside strings of an image entry: binds, tmpfs, rlimits, capabilities, octal modes.

Each function takes the text of one value and raises ValueError with what was expected. They accept what LinuxKit
accepts (``moby/config.go``), so that the check of a file and the making of ``config.json`` cannot disagree.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

# linux/capability.h of Linux 5.9 and later, in the order of the numbers.
_CAPABILITIES = """
    CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE NET_BIND_SERVICE
    NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN
    SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE
    MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE"""
_RLIMITS = "CPU FSIZE DATA STACK CORE RSS NPROC NOFILE MEMLOCK AS LOCKS SIGPENDING MSGQUEUE NICE RTPRIO RTTIME"
CAPABILITIES = tuple("CAP_" + name for name in _CAPABILITIES.split())
RLIMITS = tuple("RLIMIT_" + name for name in _RLIMITS.split())
UNLIMITED = (1 << 64) - 1
TYPE_BY_SOURCE = ("mqueue", "devpts", "proc", "sysfs", "cgroup")
MOUNTPOINTS = {"proc": "/proc", "devpts": "/dev/pts", "sysfs": "/sys", "cgroup": "/sys/fs/cgroup",
               "mqueue": "/dev/mqueue"}


@dataclass(frozen=True, slots=True)
class Bind:
    """A bind mount ``source:destination[:options]``; ``options`` is None when none were written."""

    source: str
    destination: str
    options: str | None = None

    def __str__(self) -> str:
        return ":".join(part for part in (self.source, self.destination, self.options) if part is not None)


@dataclass(frozen=True, slots=True)
class Rlimit:
    """A resource limit: ``kind`` is ``RLIMIT_…``; the limits are unsigned 64-bit numbers."""

    kind: str
    soft: int
    hard: int


def parse_bind(text: str) -> Bind:
    """Read ``source:destination[:options]``."""
    parts = text.split(":")
    if not 2 <= len(parts) <= 3:
        raise ValueError(f"a bind is source:destination[:options], not {text!r}")
    return Bind(parts[0], parts[1], parts[2] if len(parts) == 3 else None)


def parse_tmpfs(text: str) -> tuple[str, tuple[str, ...]]:
    """Read ``destination[:options]`` and return both; no options is an empty tuple."""
    parts = text.split(":")
    if len(parts) > 2:
        raise ValueError(f"a tmpfs is destination[:options], not {text!r}")
    return parts[0], tuple(parts[1].split(",")) if len(parts) == 2 else ()


def parse_rlimit(text: str) -> Rlimit:
    """Read ``name,soft,hard``; the name is one of ``RLIMITS`` in any case, with or without ``RLIMIT_``."""
    parts = [part.strip() for part in text.split(",", 2)]
    if len(parts) != 3:
        raise ValueError(f"an rlimit is name,soft,hard such as nofile,100,200, not {text!r}")
    kind = parts[0].upper()
    kind = kind if kind.startswith("RLIMIT_") else "RLIMIT_" + kind
    if kind not in RLIMITS:
        names = ", ".join(name.removeprefix("RLIMIT_").lower() for name in RLIMITS)
        raise ValueError(f"no rlimit is called {parts[0]!r}\nknown: {names}")
    return Rlimit(kind, _limit(parts[1]), _limit(parts[2]))


def _limit(text: str) -> int:
    if text.lower() == "unlimited":
        return UNLIMITED
    if not re.fullmatch(r"[0-9]{1,99}", text) or int(text) > UNLIMITED:
        raise ValueError(f"a limit is a number from 0 or the word unlimited, not {text!r}")
    return int(text)


def capability_set(names: Sequence[str]) -> tuple[str, ...]:
    """Expand ``[all]`` and ``[none]`` and check the names; doubles are dropped, the order is kept."""
    if len(names) == 1 and names[0].lower() == "none":
        return ()
    if len(names) == 1 and names[0].lower() == "all":
        return CAPABILITIES
    for name in names:
        if name not in CAPABILITIES:
            raise ValueError(_unknown_capability(name))
    return tuple(dict.fromkeys(names))


def _unknown_capability(name: str) -> str:
    if name.lower() in ("all", "none"):
        return f"{name!r} must stand alone in its list"
    near = "CAP_" + name.upper().removeprefix("CAP_")
    return f"no capability is called {name!r}" + (f"\ndid you mean {near}?" if near in CAPABILITIES else "")


def parse_octal(text: str) -> int:
    """Read a mode such as ``0644``: octal digits with an optional ``+``, below 2**31."""
    if not re.fullmatch(r"\+?[0-7]+", text) or int(text, 8) >= 1 << 31:
        raise ValueError(f"a mode is a string of octal digits such as \"0644\", not {text!r}")
    return int(text, 8)


def mount_type(kind: str, source: str, destination: str) -> str:
    """Return a mount's type, which its source or destination may imply; ValueError if nothing tells."""
    if kind:
        return kind
    if source in TYPE_BY_SOURCE:
        return source
    if destination == "/dev":
        return "tmpfs"
    raise ValueError(f"the mount at {destination or '?'} needs a type")


def mount_destination(kind: str, destination: str) -> str:
    """Return a mount's destination, which its type may imply; ValueError if nothing tells."""
    if destination or kind in MOUNTPOINTS:
        return destination or MOUNTPOINTS[kind]
    raise ValueError(f"the mount of type {kind} needs a destination")
