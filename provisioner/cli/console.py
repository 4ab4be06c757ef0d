"""``provisioner console``: attach to a machine's console: live, logged, staged."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from provisioner.cli.output import Output

if TYPE_CHECKING:
    from provisioner.console.port import Port
    from provisioner.console.timeline import Timeline


@click.command(epilog="Ctrl-A x leaves, Ctrl-A h helps.")
@click.argument("target", metavar="unix:PATH|tcp:HOST:PORT|DEVICE")
@click.option("--baud", default=115200, show_default=True, help="Speed of a serial line.")
@click.option("--log", type=click.Path(path_type=Path, dir_okay=False),
              help="Append every byte to FILE, and when it came to FILE.index.", metavar="FILE")
@click.option("--stages", "show_stages", is_flag=True, help="Show the stages of the boot instead of the console.")
@click.option("--escape", default="a", show_default=True, metavar="LETTER", help="The letter of the escape key.")
@click.option("--read-only", is_flag=True, help="Send nothing.")
@click.pass_obj
def command(output: Output, target: str, *, baud: int, log: Path | None, show_stages: bool, escape: str,
            read_only: bool) -> None:
    """Attach to a machine's console: live, logged, staged.

    With the global option --json, stages are printed as JSON, an object a line.
    """
    from provisioner.console.port import open_port

    watch(output, open_port(target, baud=baud), log=log, show_stages=show_stages, escape=escape,
          read_only=read_only)


def watch(output: Output, port: Port, *, log: Path | None = None, timeline: Timeline | None = None,
          machine: str = "", show_stages: bool = False, escape: str = "a", read_only: bool = False) -> bool:
    """Show a console until it ends (False) or the user leaves (True); close the port.

    Its bytes go to the terminal, or its stages with ``show_stages`` or JSON, with a table at the end.
    """
    from provisioner.console import stages
    from provisioner.console.attach import Attachment
    from provisioner.console.capture import Capture
    from provisioner.console.log import RawLog
    from provisioner.console.timeline import Timeline
    from provisioner.model.event import Event

    table = timeline or Timeline()
    staged = show_stages or output.as_json

    def sink(event: Event) -> None:
        table(event)
        if staged:
            output.event(event)
        elif event.stage == "log":
            output.warn(f"the log {event.name}: {event.detail}\r")  # the terminal is raw: go to the line's begin, too

    with Capture(port, log=RawLog(log) if log else None, stages=stages.load(), sink=sink, machine=machine) as capture:
        if not staged:
            return Attachment(capture, escape=escape, read_only=read_only).run()
        try:
            capture.run()
        finally:
            if not output.as_json:
                click.echo(table.table())
    return False
