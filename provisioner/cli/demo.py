"""``provisioner demo``: build an image, PXE-boot a machine from it in a network namespace, and show it come up."""

from __future__ import annotations

import sys
import threading
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
    from provisioner.build import BuildOptions, build
    from provisioner.cli.build import Progress, load
    from provisioner.model.platform import Platform

    yaml = source or data.find("examples", "docker.yml")
    folder = data.cache_dir() / "demo"
    folder.mkdir(parents=True, exist_ok=True)
    output.info(f"building {yaml}")
    sink = output.event if output.as_json else Progress(output)
    options = BuildOptions(name=yaml.stem, directory=folder, platforms=(Platform("amd64"),), sink=sink)
    build(load(output, (str(yaml),)), options)
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
    from provisioner.demo import Rack

    screen = Screen(output)
    try:
        with Rack(plan, screen.console, screen.event) as running:
            screen.restore()
            _show(output, plan, running)
            if keep:
                output.info("it runs until Ctrl-C")
                running.machine.wait()
    finally:
        screen.restore()


class Screen:
    """What is shown while the machine boots: its console, made harmless for the terminal, and the server's doings.

    A line about the server waits until the console is at the start of a line. With ``--json`` the events are lines of
    standard output and the console goes to standard error.
    """

    def __init__(self, output: Output) -> None:
        from provisioner.console.safe import Filter

        self._output = output
        self._clean = Filter()
        self._stream = sys.stderr.buffer if output.as_json else sys.stdout.buffer
        self._waiting: list[bytes] = []
        self._fresh = True
        self._lock = threading.Lock()

    def console(self, piece: bytes) -> None:
        """Show a piece of the console."""
        if self._output.quiet:
            return
        with self._lock:
            head, newline, tail = self._clean.feed(piece).rpartition(b"\n")
            if newline:
                self._stream.write(head + newline)
                self._flush_notes()
            self._stream.write(tail)
            self._fresh = not tail if newline or tail else self._fresh
            self._stream.flush()

    def event(self, event: Event) -> None:
        """Show what happened where the console cannot: DHCP, TFTP, HTTP, QEMU."""
        if self._output.as_json:
            self._output.event(event)
        elif event.source not in ("console", "netboot") and not event.name.endswith("start"):
            with self._lock:
                words = ["--", event.source, event.name, str(event.data.get("file", "")), event.detail]
                self._waiting.append((" ".join(word for word in words if word) + "\r\n").encode())
                if self._fresh:
                    self._flush_notes()

    def restore(self) -> None:
        """Leave the terminal as it was found, with all that waited."""
        with self._lock:
            if sys.stdout.isatty():
                from provisioner.console.safe import RESTORE

                self._stream.write(RESTORE)
            if not self._fresh and not self._output.quiet:
                self._stream.write(b"\r\n")
                self._fresh = True
            self._flush_notes()

    def _flush_notes(self) -> None:
        if not self._output.quiet:
            self._stream.write(b"".join(self._waiting))
            self._stream.flush()
        self._waiting.clear()


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
