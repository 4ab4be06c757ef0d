"""How verbs speak: results on standard output, progress on standard error, everything as JSON on request."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import click

from provisioner.model.event import Event


@dataclass(frozen=True, slots=True)
class Output:
    """What the global options chose. Verbs get it with ``@click.pass_obj``."""

    as_json: bool = False
    quiet: bool = False
    verbose: int = 0

    @property
    def live(self) -> bool:
        """Whether a person watches a terminal, so that progress may be redrawn."""
        return not self.as_json and not self.quiet and sys.stderr.isatty()

    def result(self, text: str, data: Any) -> None:
        """Print a verb's result: ``text`` for people, ``data`` with ``--json``."""
        click.echo(json.dumps(data, sort_keys=True) if self.as_json else text)

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[object]], *, keys: Sequence[str] = ()) -> None:
        """Print rows under ``columns``, or a JSON list of objects with ``keys`` (default: columns, lower case)."""
        if self.as_json:
            names = keys or [column.lower().replace(" ", "_") for column in columns]
            click.echo(json.dumps([dict(zip(names, row, strict=True)) for row in rows], default=str))
            return
        texts = [list(columns), *[[str(cell) for cell in row] for row in rows]]
        widths = [max(len(row[i]) for row in texts) for i in range(len(columns))]
        for row in texts:
            click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())

    def info(self, text: str) -> None:
        """Print progress or advice on standard error, unless quiet or JSON."""
        if not self.quiet and not self.as_json:
            click.echo(text, err=True)

    def warn(self, text: str) -> None:
        """Print a warning on standard error, always."""
        click.echo(f"warning: {text}", err=True)

    def event(self, event: Event) -> None:
        """Be a sink: a line per event, a JSON object per line with ``--json``."""
        if self.as_json:
            click.echo(json.dumps(_plain(asdict(event))))
        elif not self.quiet:
            words = [event.source, event.machine, event.stage, event.name, str(event.data.get("state", "")),
                     event.detail]
            if event.stage == "warning":
                words = [f"warning: {event.name}:" if event.name else "warning:", event.detail]
            click.echo(" ".join(word for word in words if word), err=True)

    def progress(self, event: Event) -> None:
        """Be a sink beside one result: events for people only, so that standard output is one JSON text."""
        if event.stage == "warning":
            self.warn(" ".join(word for word in (event.name, event.detail) if word))
        elif not self.as_json:
            self.event(event)


def _plain(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in fields.items() if value not in ("", {}, None)}


def human(size: int) -> str:
    """Return a size in bytes for people: ``18.4 MB`` (powers of ten, as disks and downloads are sold)."""
    value = float(size)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000 or unit == "GB":
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{size} B"
