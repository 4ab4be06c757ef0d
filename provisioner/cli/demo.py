"""``provisioner demo``: build an image, PXE-boot a machine from it in a network namespace, and show it come up."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from provisioner import data, process
from provisioner.cli.output import Output, human
from provisioner.errors import UsageError

if TYPE_CHECKING:
    from provisioner.demo import Plan, Running
    from provisioner.model.event import Event

T = TypeVar("T")
_PUBLISH, _PROBE = "2375:2375", "2375/info"  # of the shipped docker.yml


@click.command(short_help="PXE-boot a machine in a network namespace and watch it.")
@click.argument("source", required=False, type=click.Path(path_type=Path), metavar="[YAML]")
@click.option("--image", type=click.Path(path_type=Path), metavar="BASE",
              help="Boot BASE-kernel, BASE-initrd.img, BASE-cmdline instead of building.")
@click.option("--keep", is_flag=True, help="Leave the machine running until Ctrl-C.")
@click.option("--uefi", is_flag=True, help="Boot by UEFI firmware instead of BIOS.")
@click.option("--publish", multiple=True, metavar="HOST:PORT",
              help="Offer the machine's TCP port on 127.0.0.1; HOST 0 takes a free one [default: Docker's].")
@click.option("--probe", metavar="PORT/PATH", help="The machine is healthy when this answers HTTP 200.")
@click.option("--cpus", default=2, show_default=True, type=click.IntRange(1, 64))
@click.option("--mem", default=2048, show_default=True, type=click.IntRange(128), help="Memory in MiB.")
@click.option("--disk", default="4G", show_default=True, help="Size of the machine's new, empty disk; 0 for none.")
@click.option("--log", type=click.Path(path_type=Path), help="Write the raw console here.")
@click.option("--timeout", default=600.0, show_default=True, help="Seconds the machine may take to become healthy.")
@click.pass_obj
def command(output: Output, *, source: Path | None, image: Path | None, keep: bool, uefi: bool, probe: str | None,
            publish: tuple[str, ...], cpus: int, mem: int, disk: str, log: Path | None, timeout: float) -> None:
    """PXE-boot a machine in a network namespace and watch it come up, from firmware to healthy services.

    Builds YAML (by default the shipped docker.yml), starts the boot server and a QEMU machine in a network namespace
    of their own, shows the console as it happens, and ends with a table of the stages. The machine and the network
    are gone when the command ends. Needs no root where the kernel allows user namespaces.
    """
    if source and image:
        raise UsageError("give a YAML to build or --image, not both")
    if image is None:
        return _build_and_start_over(output, source)
    from provisioner.demo import Plan, Probe

    plan = Plan(image=image.absolute(), loaders=_loaders(output), publish=_ports(publish),
                probe=_parsed(Probe.parse, probe, "--probe", "PORT/PATH") if probe else None,
                uefi=uefi, cpus=cpus, memory=mem, disk=_size(disk), log=log, timeout=timeout)
    return _boot(output, plan, keep=keep)


def _build_and_start_over(output: Output, source: Path | None) -> None:
    """Build the image, then run this program again with ``--image``.

    A namespace can be entered only by a process without threads, and building has used some.
    """
    from provisioner import spec
    from provisioner.build import BuildOptions, build
    from provisioner.cli.build import _Progress
    from provisioner.model.platform import Platform

    yaml = source or data.find("examples", "docker.yml")
    folder = data.cache_dir() / "demo"
    folder.mkdir(parents=True, exist_ok=True)
    output.info(f"building {yaml}")
    sink = output.event if output.as_json else _Progress(output)
    options = BuildOptions(name=yaml.stem, directory=folder, platforms=(Platform("amd64"),), sink=sink)
    build(spec.load(str(yaml)), options)
    _loaders(output)
    arguments = [word for word in sys.argv[1:] if source is None or word != str(source)]
    if source is None:
        arguments += [] if "--probe" in arguments else ["--probe", _PROBE]
        arguments += [] if "--publish" in arguments else ["--publish", _PUBLISH]
    arguments += ["--image", str(folder / yaml.stem)]
    process.become([sys.executable, "-m", "provisioner", *arguments])


def _loaders(output: Output) -> dict[str, Path]:
    from provisioner import components
    from provisioner.oci.store import Store

    return components.bootloaders(Store(data.cache_dir() / "oci"), sink=output.event)


def _ports(texts: tuple[str, ...]) -> tuple[tuple[int, int], ...]:
    def parse(text: str) -> tuple[int, int]:
        host, port = text.split(":")
        return int(host), int(port)

    return tuple(_parsed(parse, text, "--publish", "HOST:PORT") for text in texts)


def _parsed(parse: Callable[[str], T], text: str, option: str, wanted: str) -> T:
    try:
        return parse(text)
    except ValueError as error:
        raise UsageError(f"{option} {text}: expected {wanted}") from error


def _size(text: str) -> int:
    from provisioner.providers.qemu.options import parse_size

    return 0 if text == "0" else parse_size(text)


def _boot(output: Output, plan: Plan, *, keep: bool) -> None:
    from provisioner.console.safe import RESTORE
    from provisioner.demo import Rack

    rack = Rack(plan, _watcher(output), _reporter(output))
    try:
        with rack as running:
            _show(output, plan, running)
            if keep:
                output.info("it runs until Ctrl-C")
                running.machine.wait()
    finally:
        if sys.stdout.isatty():
            sys.stdout.buffer.write(RESTORE)
            sys.stdout.flush()


def _watcher(output: Output) -> Callable[[bytes], None]:
    """Show the console, made harmless for the terminal; with --json it goes to standard error."""
    from provisioner.console.safe import Filter

    clean = Filter()
    stream = sys.stderr.buffer if output.as_json else sys.stdout.buffer

    def watch(piece: bytes) -> None:
        stream.write(clean.feed(piece))
        stream.flush()

    return (lambda _piece: None) if output.quiet else watch


def _reporter(output: Output) -> Callable[[Event], None]:
    """With --json every event is a line; else only what the console cannot show: what the boot server does."""
    def report(event: Event) -> None:
        if output.as_json:
            output.event(event)
        elif event.source in ("dhcp", "tftp", "http", "qemu", "demo"):
            words = (event.source, event.name, event.detail)
            output.info("\r[provisioner] " + " ".join(word for word in words if word) + "\r")
    return report


def _show(output: Output, plan: Plan, running: Running) -> None:
    """Print the table of stages, the sizes, and how to reach the machine."""
    from provisioner.console.timeline import COLUMNS

    sizes = {role: plan.image.with_name(plan.image.name + end).stat().st_size
             for role, end in (("kernel", "-kernel"), ("initrd", "-initrd.img"))}
    reach = [f"127.0.0.1:{host} is port {port} of the machine ({running.address})"
             for host, port in running.ports.items()]
    if output.as_json:
        output.result("", {"stages": [asdict(row) for row in running.timeline.rows()], "sizes": sizes,
                           "address": running.address,
                           "ports": {str(host): port for host, port in running.ports.items()}})
        return
    click.echo("\r\n")
    output.table(COLUMNS, running.timeline.cells())
    click.echo(f"\nimage   kernel {human(sizes['kernel'])}, initrd {human(sizes['initrd'])}")
    for line in reach:
        click.echo(f"reach   {line}")
    if 2375 in running.ports.values():
        port = next(host for host, inner in running.ports.items() if inner == 2375)
        click.echo(f"try     curl http://127.0.0.1:{port}/info, or docker -H tcp://127.0.0.1:{port} run …")
