"""``machines.yml``: which machine boots what, and how the server serves.

    server:                       # optional; the command line's options win
      interface: eth1             # a name or a list of names
      mode: auto                  # proxy, full, or auto: full unless another DHCP server answers
      http_port: 80
      tftp_root: /srv/tftp        # optional: further files to serve over TFTP
      subnets:                    # for mode full; without them the interface's own network serves
        - network: 10.99.0.0/24
          ranges: [10.99.0.100-10.99.0.200]
          router: 10.99.0.1
          dns: [10.99.0.1]
          lease: 3600             # seconds
    default:                      # optional: what any other machine boots
      image: build/docker         # base path of -kernel, -initrd.img, -cmdline; relative to this file
    machines:
      - name: node1
        match: {mac: "52:54:00:00:00:01"}     # mac, uuid, serial, arch, name (the host name that DHCP gave it)
        image: {amd64: build/docker, arm64: build/docker-arm64}
        append: console=ttyS1                 # added to the image's command line
        address: 10.99.0.50                   # a reservation, for mode full; needs a whole mac

Every field of a match must fit; `*` stands for any text in mac, serial and name; the most specific match wins (see
``decide``). A problem is an InputError with file:line:column.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator, model_validator

from provisioner import yamlfile
from provisioner.errors import InputError, Problem, ProvisionerError
from provisioner.model.document import Document
from provisioner.netboot.images import BootImage, cmdline_problem

_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")
_MAC_PATTERN = re.compile(r"[0-9a-f:*]+")
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,61}[A-Za-z0-9])?")
ARCHES = ("amd64", "arm64")
Mode = Literal["proxy", "full", "auto"]
Images = str | dict[Literal["amd64", "arm64"], str]


class SubnetConfig(Document):
    """A network that gets addresses in mode full."""

    network: IPv4Network
    ranges: tuple[str, ...] = ()
    router: IPv4Address | None = None
    dns: tuple[IPv4Address, ...] = ()
    ntp: tuple[IPv4Address, ...] = ()
    domain: str = ""
    lease: int = Field(3600, ge=60, le=31_536_000)

    @model_validator(mode="after")
    def _inside(self) -> SubnetConfig:
        for low, high in self.pairs():
            if low > high or low not in self.network or high not in self.network:
                raise ValueError(f"the range {low}-{high} does not lie in {self.network}")
        if self.router is not None and self.router not in self.network:
            raise ValueError(f"the router {self.router} does not lie in {self.network}")
        return self

    @field_validator("ranges")
    @classmethod
    def _pairs(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for text in value:
            parse_range(text)
        return value

    def pairs(self) -> tuple[tuple[IPv4Address, IPv4Address], ...]:
        """Return the ranges as pairs of first and last address."""
        return tuple(parse_range(text) for text in self.ranges)


class ServerConfig(Document):
    """How the server serves."""

    interface: str | tuple[str, ...] = ()
    mode: Mode | None = None
    http_port: int | None = Field(None, ge=1, le=65535)
    tftp_root: str = ""
    subnets: tuple[SubnetConfig, ...] = ()

    @property
    def interfaces(self) -> tuple[str, ...]:
        """The interfaces' names."""
        return (self.interface,) if isinstance(self.interface, str) else self.interface


class Choice(Document):
    """What to boot: an image, or one per architecture, and what is added to its command line."""

    image: Images
    append: str = ""

    @field_validator("append")
    @classmethod
    def _append(cls, value: str) -> str:
        if problem := cmdline_problem(value):
            raise ValueError(problem)
        return value

    def bases(self) -> Iterator[tuple[str, str]]:
        """Yield architecture (``""`` for any) and base path as written."""
        yield from (self.image.items() if isinstance(self.image, dict) else [("", self.image)])


class Match(Document):
    """What a machine must be; empty fields fit every machine. ``*`` stands for any text in mac, serial and name."""

    mac: str = ""
    uuid: str = ""
    serial: str = ""
    arch: Literal["", "amd64", "arm64"] = ""
    name: str = ""

    @field_validator("mac")
    @classmethod
    def _mac(cls, value: str) -> str:
        text = value.lower().replace("-", ":")
        if not (_MAC.fullmatch(text) or ("*" in text and _MAC_PATTERN.fullmatch(text))):
            raise ValueError(f"{value!r} is no MAC address\nwrite it as 52:54:00:12:34:56 or 52:54:00:*")
        return text

    @field_validator("name")
    @classmethod
    def _name(cls, value: str) -> str:
        return value.lower()

    @field_validator("uuid")
    @classmethod
    def _uuid(cls, value: str) -> str:
        if not _UUID.fullmatch(value.lower()):
            raise ValueError(f"{value!r} is no UUID")
        return value.lower()

    @model_validator(mode="after")
    def _some(self) -> Match:
        if not any((self.mac, self.uuid, self.serial, self.arch, self.name)):
            raise ValueError("a match needs mac, uuid, serial, arch or name\nuse `default:` for all machines")
        return self


class MachineRule(Choice):
    """One rule."""

    match: Match
    name: str = ""
    address: IPv4Address | None = None

    @field_validator("name")
    @classmethod
    def _name(cls, value: str) -> str:
        if not _NAME.fullmatch(value):
            raise ValueError(f"{value!r} is no host name\nletters, digits, dots and dashes, at most 63")
        return value

    @model_validator(mode="after")
    def _reservation(self) -> MachineRule:
        if self.address is not None and not _MAC.fullmatch(self.match.mac):
            raise ValueError("`address` needs a match by one whole mac")
        return self


class Config(Document):
    """The whole file."""

    server: ServerConfig = ServerConfig()
    default: Choice | None = None
    machines: tuple[MachineRule, ...] = ()


def load(path: Path) -> Config:
    """Read and check a file; raises InputError with every problem, NotFoundError if it cannot be read."""
    config = yamlfile.load_file(path, Config)
    problems = [*_repeated(config), *_missing(config, path.parent)]
    if problems:
        raise InputError(problems=problems)
    return config


def _repeated(config: Config) -> Iterator[Problem]:
    names: dict[str, MachineRule] = {}
    matches: dict[Match, MachineRule] = {}
    addresses: dict[IPv4Address, MachineRule] = {}
    for rule in config.machines:
        if rule.name and (first := names.setdefault(rule.name, rule)) is not rule:
            yield rule.problem(f"the name {rule.name} is used twice", "name", hint=f"first at {first.place('name')}")
        if (twin := matches.setdefault(rule.match, rule)) is not rule:
            yield rule.problem("the same match stands twice", "match", hint=f"first at {twin.place('match')}")
        if rule.address and (owner := addresses.setdefault(rule.address, rule)) is not rule:
            yield rule.problem(f"{rule.address} is given twice", "address", hint=f"first at {owner.place('address')}")


def _missing(config: Config, folder: Path) -> Iterator[Problem]:
    for choice in (*config.machines, *([config.default] if config.default else [])):
        for arch, base in choice.bases():
            image = BootImage(folder / base)
            keys = ("image", arch) if arch else ("image",)
            try:
                image.check()
            except ProvisionerError as error:
                yield choice.problem(error.message, *keys, hint=error.hint)
                continue
            if arch and image.arch() not in ("", arch):
                yield choice.problem(f"{image.kernel} is a kernel for {image.arch()}, not {arch}", *keys)


def parse_range(text: str) -> tuple[IPv4Address, IPv4Address]:
    """Read ``10.0.0.100-10.0.0.200`` or a single address; raise ValueError."""
    low, dash, high = text.partition("-")
    try:
        return IPv4Address(low.strip()), IPv4Address(high.strip() if dash else low.strip())
    except ValueError:
        raise ValueError(f"{text!r} is no range\nwrite it as 10.0.0.100-10.0.0.200") from None
