"""``provisioner serve``: DHCP or proxyDHCP, TFTP and HTTP for booting machines, in the foreground.

    provisioner serve docker --interface eth1      one image for every machine, beside the DHCP server that is there
    provisioner serve --config machines.yml        machines and images as the file says, read again when it changes
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from provisioner import data
from provisioner.cli.output import Output, human
from provisioner.errors import InputError, UsageError
from provisioner.model.event import Event

if TYPE_CHECKING:
    from ipaddress import IPv4Address

    from provisioner.netboot.decide import Decider
    from provisioner.protocols.dhcp_pool import Subnet


@click.command(short_help="Serve DHCP or proxyDHCP, TFTP and HTTP to booting machines.")
@click.argument("image", required=False, type=click.Path(path_type=Path))
@click.option("-c", "--config", type=click.Path(path_type=Path), metavar="FILE",
              help="Which machine boots what [default: machines.yml here or in the configuration directory].")
@click.option("-i", "--interface", "interfaces", multiple=True, metavar="NAME",
              help="Serve on this interface and no other; may be repeated.")
@click.option("--mode", type=click.Choice(["proxy", "full", "auto"]),
              help="proxy: beside another DHCP server; full: give addresses, too; auto: look and choose.")
@click.option("--pool", "pools", multiple=True, metavar="FIRST-LAST", help="Addresses to give in mode full.")
@click.option("--append", default="", metavar="TEXT", help="Add to the kernel command line of IMAGE.")
@click.option("--http-port", type=click.IntRange(1, 65535), help="Port of HTTP [default: 80].")
@click.option("--tftp-root", type=click.Path(path_type=Path, exists=True, file_okay=False), metavar="DIR",
              help="Serve the files in here over TFTP, too.")
@click.option("--loaders", type=click.Path(path_type=Path, exists=True, file_okay=False), metavar="DIR",
              help="Take the boot files (undionly.kpxe, snponly.efi, …) from here.")
@click.option("--leases", type=click.Path(path_type=Path), metavar="FILE", help="Where leases are kept.")
@click.pass_obj
def command(output: Output, *, image: Path | None, config: Path | None, append: str, loaders: Path | None,
            interfaces: tuple[str, ...], mode: str | None, pools: tuple[str, ...], http_port: int | None,
            tftp_root: Path | None, leases: Path | None) -> None:
    """Serve DHCP or proxyDHCP, TFTP and HTTP to booting machines, until Ctrl-C.

    IMAGE is the base path of a built image (docker for docker-kernel, docker-initrd.img, docker-cmdline) that every
    machine gets. Without it the file given by --config says which machine boots what.
    """
    from dataclasses import replace

    from provisioner.netboot import server, settings

    decider, watch = _decisions(image, config, append)
    chosen = decider.config.server
    folder = watch.parent if watch else Path()
    base = settings.Settings(
        interfaces=interfaces or chosen.interfaces or (_only_interface(),),
        loaders=_loaders(loaders, output),
        mode=mode or chosen.mode or ("full" if pools else "proxy"),  # type: ignore[arg-type]  # click checked it
        ports=settings.Ports(http=http_port or chosen.http_port or 80),
        subnets=settings.subnets_of(chosen.subnets),
        tftp_root=tftp_root or (folder / chosen.tftp_root if chosen.tftp_root else None),
    )
    if leases:
        base = replace(base, leases=leases)
    if pools:
        base = replace(base, subnets=_pools(pools, base.interfaces))
    boot = server.BootServer(base, decider, Printer(output), watch)
    server.run(boot)


class Printer:
    """A sink that prints a line per event for people, or an object per line with ``--json``."""

    def __init__(self, output: Output) -> None:
        self._output = output

    def __call__(self, event: Event) -> None:
        """Print one event; starts of transfers only when asked for more."""
        if self._output.as_json:
            self._output.event(event)
        elif not event.name.endswith("start") or self._output.verbose:
            click.echo(line(event))


def line(event: Event) -> str:
    """Return an event as one line: time, machine, protocol, what, and how much how fast."""
    import time

    clock = time.strftime("%H:%M:%S", time.localtime(event.time))
    figures = event.data
    words = [clock, (event.machine or "-").ljust(17), event.source.ljust(7), event.name]
    words += [str(figures[key]) for key in ("file",) if key in figures and event.source == "tftp"]
    words.append(event.detail)
    if figures.get("bytes"):
        rate = figures["bytes"] / max(figures["seconds"], 0.001)
        words.append(f"{human(figures['bytes'])} in {figures['seconds']:.2f} s, {human(int(rate))}/s")
    if figures.get("resent"):
        words.append(f"{figures['resent']} resent")
    return " ".join(word for word in words if word)


def _decisions(image: Path | None, config: Path | None, append: str) -> tuple[Decider, Path | None]:
    from provisioner.netboot import settings

    if image is not None:
        if config is not None:
            raise UsageError("give an image or --config, not both")
        return settings.for_one_image(image, append), None
    if append:
        raise UsageError("--append belongs to an image", hint="machines.yml has `append:` for each machine")
    places = [Path("machines.yml"), data.config_dir() / "machines.yml", Path("/etc/provisioner/machines.yml")]
    path = config or next((place for place in places if place.is_file()), None)
    if path is None:
        raise UsageError("nothing to serve: no image named and no machines.yml",
                         hint="provisioner serve IMAGE, or write one of " + ", ".join(map(str, places)))
    return settings.from_file(path), path


def _loaders(folder: Path | None, output: Output) -> dict[str, Path]:
    if folder is not None:
        return {path.name: path for path in sorted(folder.iterdir()) if path.is_file()}
    from provisioner import components
    from provisioner.oci.store import Store

    return components.bootloaders(Store(data.cache_dir() / "oci"), sink=output.event)


def _only_interface() -> str:
    """Return the one interface that could be meant; raise UsageError when there are several or none."""
    import socket

    from provisioner.errors import ProvisionerError
    from provisioner.netboot import network

    usable = []
    for _index, name in socket.if_nameindex():
        try:
            if not network.interface(name).ip.is_loopback:
                usable.append(name)
        except ProvisionerError:
            continue  # down, or without an address
    if len(usable) != 1:
        raise UsageError("which interface? name one with --interface",
                         hint=f"up and with an IPv4 address: {', '.join(usable) or 'none'}")
    return usable[0]


def _pools(pools: tuple[str, ...], interfaces: tuple[str, ...]) -> tuple[Subnet, ...]:
    """Return a subnet for each interface with those of the pools that lie in its network."""
    from provisioner.netboot import network
    from provisioner.netboot.config import parse_range
    from provisioner.protocols.dhcp_pool import Subnet

    try:
        ranges = [parse_range(pool) for pool in pools]
    except ValueError as error:
        raise InputError(f"--pool: {str(error).partition(chr(10))[0]}") from error
    subnets: list[Subnet] = []
    used: set[tuple[IPv4Address, IPv4Address]] = set()
    for name in interfaces:
        net = network.interface(name).address.network
        inside = tuple(pair for pair in ranges if pair[0] in net and pair[1] in net and pair[0] <= pair[1])
        used.update(inside)
        subnets.append(Subnet(net, inside))
    if unused := [pair for pair in ranges if pair not in used]:
        raise InputError(f"--pool {unused[0][0]}-{unused[0][1]} lies in the network of none of the interfaces")
    return tuple(subnets)
