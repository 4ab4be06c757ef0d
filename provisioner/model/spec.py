"""The YAML of a machine as typed, frozen models: LinuxKit's grammar (its ``docs/yaml.md`` and JSON schema).

A key that was left out is None where leaving it out means something else than an empty value: an empty ``binds: []``
overrides the image's label, no ``binds`` at all keeps it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from provisioner.model.document import Document
from provisioner.model.values import (
    capability_set,
    mount_destination,
    mount_type,
    parse_bind,
    parse_octal,
    parse_rlimit,
    parse_tmpfs,
)


def _checked(text: str, parse: Callable[[str], object]) -> str:
    parse(text)
    return text


def _capabilities(names: tuple[str, ...]) -> tuple[str, ...]:
    capability_set(names)
    return names


def _volume_name(name: str) -> str:
    if not re.fullmatch(r"[a-z0-9_-]+", name):
        raise ValueError(f"a volume's name has lower-case letters, digits, - and _ only, unlike {name!r}")
    return name


Int64 = Annotated[int, Field(ge=-(1 << 63), lt=1 << 63)]
UInt64 = Annotated[int, Field(ge=0, lt=1 << 64)]
UInt32 = Annotated[int, Field(ge=0, lt=1 << 32)]
UInt16 = Annotated[int, Field(ge=0, lt=1 << 16)]
Texts = tuple[str, ...]
Id = str | UInt32
BindText = Annotated[str, AfterValidator(lambda text: _checked(text, parse_bind))]
TmpfsText = Annotated[str, AfterValidator(lambda text: _checked(text, parse_tmpfs))]
RlimitText = Annotated[str, AfterValidator(lambda text: _checked(text, parse_rlimit))]
OctalText = Annotated[str, AfterValidator(lambda text: text and _checked(text, parse_octal))]
VolumeName = Annotated[str, AfterValidator(_volume_name)]
CapabilityNames = Annotated[tuple[str, ...], AfterValidator(_capabilities)]


class IdMapping(Document):
    """A range of ids of a user namespace."""

    host_id: UInt32 = Field(default=0, alias="hostID")
    container_id: UInt32 = Field(default=0, alias="containerID")
    size: UInt32 = 0


class Mount(Document):
    """A mount in full; type, source and destination may follow from one another."""

    destination: str = ""
    type: str = ""
    source: str = ""
    options: Texts | None = None
    uidmappings: tuple[IdMapping, ...] | None = None
    gidmappings: tuple[IdMapping, ...] | None = None


class EntryMount(Mount):
    """A mount of a container, of which type and destination must be known."""

    @model_validator(mode="after")
    def _complete(self) -> Self:
        mount_destination(mount_type(self.type, self.source, self.destination), self.destination)
        return self


class Device(Document):
    """A device node in the container, or with ``path: all`` the right to every device of a type."""

    path: str = ""
    type: str = ""
    major: Int64 = 0
    minor: Int64 = 0
    mode: str | None = None


class EntryDevice(Device):
    """A device of an entry, whose mode must be readable."""

    @model_validator(mode="after")
    def _has_mode(self) -> Self:
        if self.path != "all":
            if not self.mode:
                raise ValueError(f"the device {self.path or '?'} needs a mode\nfor example mode: \"0666\"")
            parse_octal(self.mode)
        return self


class DeviceRule(Document):
    """A rule of the devices controller."""

    allow: bool = False
    type: str = ""
    major: Int64 | None = None
    minor: Int64 | None = None
    access: str = ""


class Memory(Document):
    """Memory limits in bytes."""

    limit: Int64 | None = None
    reservation: Int64 | None = None
    swap: Int64 | None = None
    kernel: Int64 | None = None
    kernel_tcp: Int64 | None = Field(default=None, alias="kernelTCP")
    swappiness: UInt64 | None = None
    disable_oom_killer: bool | None = Field(default=None, alias="disableOOMKiller")


class Cpu(Document):
    """CPU shares, quota and pinning; times in microseconds."""

    shares: UInt64 | None = None
    quota: Int64 | None = None
    period: UInt64 | None = None
    realtime_runtime: Int64 | None = Field(default=None, alias="realtimeRuntime")
    realtime_period: UInt64 | None = Field(default=None, alias="realtimePeriod")
    cpus: str = ""
    mems: str = ""


class Pids(Document):
    """The largest number of processes."""

    limit: Int64 | None = None


class WeightDevice(Document):
    """A block device's weight."""

    major: Int64 = 0
    minor: Int64 = 0
    weight: UInt16 | None = None
    leaf_weight: UInt16 | None = Field(default=None, alias="leafWeight")


class ThrottleDevice(Document):
    """A block device's rate, in bytes or operations per second."""

    major: Int64 = 0
    minor: Int64 = 0
    rate: UInt64 = 0


class BlockIO(Document):
    """Block device weights and rates."""

    weight: UInt16 | None = None
    leaf_weight: UInt16 | None = Field(default=None, alias="leafWeight")
    weight_device: tuple[WeightDevice, ...] = Field(default=(), alias="weightDevice")
    throttle_read_bps_device: tuple[ThrottleDevice, ...] = Field(default=(), alias="throttleReadBpsDevice")
    throttle_write_bps_device: tuple[ThrottleDevice, ...] = Field(default=(), alias="throttleWriteBpsDevice")
    throttle_read_iops_device: tuple[ThrottleDevice, ...] = Field(default=(), alias="throttleReadIOPSDevice")
    throttle_write_iops_device: tuple[ThrottleDevice, ...] = Field(default=(), alias="throttleWriteIOPSDevice")


class HugepageLimit(Document):
    """A limit on huge pages of one size; both in bytes."""

    page_size: UInt64 = Field(default=0, alias="pageSize")
    limit: UInt64 = 0


class InterfacePriority(Document):
    """Priority of traffic of one interface."""

    name: str = ""
    priority: UInt32 | None = None


class Network(Document):
    """Network class and priorities."""

    class_id: UInt32 | None = Field(default=None, alias="classID")
    priorities: tuple[InterfacePriority, ...] = ()


class Resources(Document):
    """Limits of control groups, as the OCI runtime specification names them."""

    devices: tuple[DeviceRule, ...] = ()
    memory: Memory | None = None
    cpu: Cpu | None = None
    pids: Pids | None = None
    blockio: BlockIO | None = None
    hugepage_limits: tuple[HugepageLimit, ...] = Field(default=(), alias="hugepageLimits")
    network: Network | None = None


class Interface(Document):
    """A network interface to make in, or to move into, the container's network namespace."""

    name: str = ""
    add: str = ""
    peer: str = ""
    create_in_root: bool = Field(default=False, alias="createInRoot")


class Namespaces(Document):
    """Paths to bind the container's new namespaces to."""

    cgroup: str | None = None
    ipc: str | None = None
    mnt: str | None = None
    net: str | None = None
    pid: str | None = None
    user: str | None = None
    uts: str | None = None


class Runtime(Document):
    """What init does before it starts the container."""

    cgroups: Texts | None = None
    mounts: tuple[Mount, ...] | None = None
    mkdir: Texts | None = None
    interfaces: tuple[Interface, ...] | None = None
    bind_ns: Namespaces | None = Field(default=None, alias="bindNS")
    namespace: str | None = None


class ImageConfig(Document):
    """How an image runs; this much may stand in an image's label ``org.mobyproject.config`` too."""

    capabilities: Texts | None = None
    capabilities_add: Texts | None = Field(default=None, alias="capabilities.add")
    ambient: Texts | None = None
    mounts: tuple[Mount, ...] | None = None
    binds: Texts | None = None
    binds_add: Texts | None = Field(default=None, alias="binds.add")
    devices: tuple[Device, ...] | None = None
    tmpfs: Texts | None = None
    command: Texts | None = None
    env: Texts | None = None
    cwd: str = ""
    net: str = ""
    pid: str = ""
    ipc: str = ""
    uts: str = ""
    userns: str = ""
    hostname: str = ""
    readonly: bool | None = None
    masked_paths: Texts | None = Field(default=None, alias="maskedPaths")
    readonly_paths: Texts | None = Field(default=None, alias="readonlyPaths")
    uid: Id | None = None
    gid: Id | None = None
    additional_gids: tuple[Id, ...] | None = Field(default=None, alias="additionalGids")
    no_new_privileges: bool | None = Field(default=None, alias="noNewPrivileges")
    oom_score_adj: Int64 | None = Field(default=None, alias="oomScoreAdj")
    rootfs_propagation: str | None = Field(default=None, alias="rootfsPropagation")
    cgroups_path: str | None = Field(default=None, alias="cgroupsPath")
    resources: Resources | None = None
    sysctl: dict[str, str] | None = None
    rlimits: Texts | None = None
    uid_mappings: tuple[IdMapping, ...] | None = Field(default=None, alias="uidMappings")
    gid_mappings: tuple[IdMapping, ...] | None = Field(default=None, alias="gidMappings")
    annotations: dict[str, str] | None = None
    runtime: Runtime | None = None


class ImageEntry(ImageConfig):
    """A container of ``onboot``, ``onshutdown`` or ``services``. What it says is in force, so it is checked."""

    name: str
    image: str
    capabilities: CapabilityNames | None = None
    ambient: CapabilityNames | None = None
    mounts: tuple[EntryMount, ...] | None = None
    binds: tuple[BindText, ...] | None = None
    devices: tuple[EntryDevice, ...] | None = None
    tmpfs: tuple[TmpfsText, ...] | None = None
    rlimits: tuple[RlimitText, ...] | None = None


class Kernel(Document):
    """The kernel's image, what to take of it, and the kernel's command line.

    ``binary`` is the kernel's path in the image (``kernel``), ``tar`` that of an archive unpacked into the root
    (``kernel.tar``; empty or ``none`` for none), ``ucode`` that of a microcode archive to load before the rest.
    """

    image: str = ""
    cmdline: str = ""
    binary: str = ""
    tar: str | None = None
    ucode: str | None = None

    @property
    def kernel_path(self) -> str:
        """The kernel's path in the image."""
        return self.binary or "kernel"

    @property
    def tar_path(self) -> str:
        """The path of the archive in the image, empty for none."""
        if self.tar is None:
            return "kernel.tar"
        return "" if self.tar == "none" else self.tar


class Volume(Document):
    """A named volume: blank, with an image's files, or with an image as an OCI layout."""

    name: VolumeName
    image: str = ""
    readonly: bool = False
    format: Literal["oci", "filesystem"] = "filesystem"
    platforms: Texts = ()


class FileEntry(Document):
    """A file, directory or symlink of the root file system. ``mode`` is octal text."""

    path: str = ""
    directory: bool = False
    symlink: str = ""
    contents: str | None = None
    source: str = ""
    metadata: str = ""
    optional: bool = False
    mode: OctalText = ""
    uid: Id | None = None
    gid: Id | None = None

    @model_validator(mode="after")
    def _one_origin(self) -> Self:
        """Hold LinuxKit's rules on what may stand beside what."""
        name = self.path or "a file"
        if not self.path:
            raise ValueError("a file needs a path")
        given = [key for key in ("source", "metadata") if getattr(self, key)]
        if not self.directory and not self.symlink and self.contents is None:
            if not given:
                raise ValueError(f"{name} needs contents, source, metadata, symlink or directory: true")
            if len(given) > 1:
                raise ValueError(f"{name} has both source and metadata")
        elif given:
            raise ValueError(f"{name} has {given[0]} beside contents, symlink or directory")
        if self.path.endswith("/") and not self.directory and not self.symlink:
            raise ValueError(f"the path {name} ends like a directory\nsay directory: true, or leave the last / out")
        if self.directory and self.contents is not None:
            raise ValueError(f"the directory {name} has contents")
        if self.metadata not in ("", "yaml", "json"):
            raise ValueError(f"metadata of {name} is yaml or json, not {self.metadata!r}")
        return self


class Trust(Document):
    """Images and organisations whose signatures must be checked."""

    image: Texts = ()
    org: Texts = ()


class ImageSpec(Document):
    """A whole machine."""

    kernel: Kernel = Kernel()
    init: Texts = ()
    onboot: tuple[ImageEntry, ...] = ()
    onshutdown: tuple[ImageEntry, ...] = ()
    services: tuple[ImageEntry, ...] = ()
    files: tuple[FileEntry, ...] = ()
    volumes: tuple[Volume, ...] = ()
    trust: Trust | None = None

    def containers(self) -> tuple[tuple[str, int, ImageEntry], ...]:
        """Return every container as (section, index, entry) in the order in which ids are given out."""
        sections = (("onboot", self.onboot), ("onshutdown", self.onshutdown), ("services", self.services))
        return tuple((section, index, entry) for section, entries in sections for index, entry in enumerate(entries))

    def ids(self) -> dict[str, int]:
        """Return the user and group id of each container's name: from 100 on; the last of equal names counts."""
        return {entry.name: 100 + number for number, (_, _, entry) in enumerate(self.containers())}
