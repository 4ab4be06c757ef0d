"""A boot as a table: each stage with its time since power-on and how long it took.

A ``Timeline`` is a sink: give it to the machine, the console and the boot server, in any mixture of threads.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from provisioner.model.event import Event

COLUMNS = ("STAGE", "NAME", "AT", "TOOK", "DETAIL")
_POINTS = {"service", "address", "login", "healthy", "reboot", "loop", "power"}
_TRANSFERS = {"tftp", "http"}
_IGNORED = {"accel", "log"}
_FAILURES = {"aborted", "broken-image", "failed", "lost", "missing", "nothing", "refused"}
_MOST_ROWS = 10_000


@dataclass(frozen=True, slots=True)
class Row:
    """One line: ``at`` is seconds since power-on, ``took`` seconds or None for a moment, ``failed`` if it did."""

    stage: str
    name: str
    at: float
    took: float | None
    detail: str = ""
    failed: bool = False


@dataclass(slots=True)
class _Entry:
    event: Event
    begin: float
    end: float | None = None
    detail: str = ""
    failed: bool = False


class Timeline:
    """Collects events. ``begin`` is the monotonic time of power-on: given, or that of the first event."""

    def __init__(self, begin: float | None = None) -> None:
        self._begin = begin
        self._entries: list[_Entry] = []
        self._lock = threading.Lock()

    def __call__(self, event: Event) -> None:
        """Take an event."""
        if event.stage in _IGNORED or len(self._entries) >= _MOST_ROWS:
            return
        if not event.monotonic:
            event = replace(event, time=time.time(), monotonic=time.monotonic())
        with self._lock:
            if event.source == "qemu" and event.stage == "power" and event.name == "on":
                self._begin = event.monotonic
            elif event.stage in _TRANSFERS and event.source != "console":
                self._transfer(event)
            elif event.stage == "dhcp":
                self._dhcp(event)
            else:
                self._step(event)

    def _transfer(self, event: Event) -> None:
        """A file that the boot server sent: its event comes at the end and says how long it took."""
        if event.name.endswith("start"):
            return
        took = float(event.data.get("seconds", 0.0))
        path = str(event.data.get("file") or event.data.get("path") or event.name)
        size = event.data.get("bytes")
        detail = f"{int(size):,} bytes" if size else event.detail
        failed = event.name in _FAILURES
        named = replace(event, name=path.rsplit("/", 1)[-1] or path)
        self._entries.append(_Entry(named, event.monotonic - took, event.monotonic,
                                    f"{event.name}: {event.detail or detail}" if failed else detail, failed))

    def _dhcp(self, event: Event) -> None:
        """A conversation is one row, from the first discover to the last word before another one begins."""
        last = next((e for e in reversed(self._entries)
                     if e.event.stage == "dhcp" and e.event.machine == event.machine), None)
        answered = last is not None and not last.detail.startswith("discover")
        if last is None or (event.name == "discover" and answered):
            last = _Entry(replace(event, name=event.machine or event.name), event.monotonic)
            self._entries.append(last)
        last.end = event.monotonic
        last.detail = f"{event.name} {event.detail}".strip()

    def _step(self, event: Event) -> None:
        state = event.data.get("state", "")
        if state in ("done", "failed"):
            for entry in reversed(self._entries):
                if entry.end is None and entry.event.stage == event.stage and event.name in ("", entry.event.name):
                    entry.end, entry.failed = event.monotonic, state == "failed"
                    entry.detail = event.detail or entry.detail
                    return
        entry = _Entry(event, event.monotonic, detail=event.detail, failed=state == "failed")
        if state == "done":
            entry.end = event.monotonic
        self._entries.append(entry)

    def rows(self) -> list[Row]:
        """Return the table's rows in order of time. A stage without an end of its own lasts until the next one."""
        with self._lock:
            entries = sorted(self._told(), key=lambda entry: entry.begin)
            begin = self._begin if self._begin is not None else entries[0].begin if entries else 0.0
        rows = []
        for number, entry in enumerate(entries):
            end = entry.end
            if end is None and entry.event.stage not in _POINTS:
                end = _next_begin(entry, entries[number + 1:])
            took = None if end is None else end - entry.begin
            rows.append(Row(entry.event.stage, entry.event.name, entry.begin - begin, took, entry.detail,
                            entry.failed))
        return rows

    def _told(self) -> list[_Entry]:
        """Leave out what the console said of transfers that the boot server itself told more of."""
        known = {entry.event.stage for entry in self._entries if entry.event.source in _TRANSFERS}
        return [entry for entry in self._entries
                if entry.event.source != "console" or entry.event.stage not in known]

    def cells(self) -> list[Sequence[str]]:
        """Return the rows as text under COLUMNS."""
        return [(row.stage, row.name, f"{row.at:.1f} s", "" if row.took is None else f"{row.took:.1f} s",
                 ("FAILED " if row.failed else "") + row.detail) for row in self.rows()]

    def table(self) -> str:
        """Return the table as text."""
        lines = [COLUMNS, *self.cells()]
        widths = [max(len(line[i]) for line in lines) for i in range(len(COLUMNS))]
        right = {2, 3}
        return "\n".join("  ".join(cell.rjust(width) if i in right else cell.ljust(width)
                                   for i, (cell, width) in enumerate(zip(line, widths, strict=True))).rstrip()
                         for line in lines)


def _next_begin(entry: _Entry, later: Sequence[_Entry]) -> float | None:
    """Return when the next stage began; the next step, for steps that come one after the other."""
    steps = entry.event.stage == "onboot"
    return next((e.begin for e in later if steps or e.event.stage != entry.event.stage), None)
