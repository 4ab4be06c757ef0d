"""What a boot server is to serve: the configuration file, the command line, or both, brought into one form."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from pathlib import Path

from provisioner import data
from provisioner.errors import InputError, ProvisionerError
from provisioner.netboot.config import Choice, Config, Mode, SubnetConfig, load
from provisioner.netboot.decide import Decider
from provisioner.netboot.images import BootImage, cmdline_problem
from provisioner.netboot.network import Interface
from provisioner.protocols.dhcp_pool import Subnet


@dataclass(frozen=True, slots=True)
class Ports:
    """The ports; others than the standard ones are for tests."""

    dhcp: int = 67
    boot: int = 4011
    tftp: int = 69
    http: int = 80


@dataclass(frozen=True, slots=True)
class Settings:
    """All that the server needs to start. ``loaders`` are boot files by name; ``config`` is watched if given."""

    interfaces: tuple[str, ...]
    loaders: Mapping[str, Path]
    mode: Mode = "proxy"
    ports: Ports = field(default_factory=Ports)
    subnets: tuple[Subnet, ...] = ()
    tftp_root: Path | None = None
    leases: Path = field(default_factory=lambda: data.state_dir() / "leases.db")


def from_file(path: Path) -> Decider:
    """Return the decisions of a ``machines.yml``; raises InputError, NotFoundError."""
    return Decider(load(path), path.parent)


def for_one_image(base: Path, append: str = "") -> Decider:
    """Return the decision to give one image to every machine; raises NotFoundError, InputError."""
    if problem := cmdline_problem(append):
        raise InputError(f"--append: {problem}")
    image = BootImage(base.absolute())
    image.check()
    return Decider(Config(default=Choice(image=image.name, append=append)), image.base.parent)


def subnets_of(config: tuple[SubnetConfig, ...]) -> tuple[Subnet, ...]:
    """Return the configured subnets as the DHCP server wants them."""
    return tuple(Subnet(subnet.network, subnet.pairs(), subnet.router, subnet.dns, subnet.ntp, subnet.domain,
                        subnet.lease) for subnet in config)


def own_subnet(interface: Interface) -> Subnet:
    """Return a subnet for an interface's own network: addresses from its upper half, no router, no DNS.

    Raises InputError when the network is too small to have any to give.
    """
    network = interface.address.network
    if network.prefixlen > 29:
        raise InputError(f"the network {network} of {interface.name} is too small for a pool",
                         hint="configure `server: subnets:`, or use mode proxy")
    low = int(network.network_address) + network.num_addresses // 2
    high = min(int(network.broadcast_address) - 1, low + 4095)
    return Subnet(network, ((IPv4Address(low), IPv4Address(high)),))


def reload(path: Path) -> tuple[Decider | None, str]:
    """Read a changed file: the new decisions, or None and what is wrong with it."""
    try:
        return from_file(path), ""
    except ProvisionerError as error:
        return None, error.message
