"""From a console's bytes to events: which stage of its life a machine says it has reached, or what trouble it is in.

Patterns are data (``console/stages.yml``): ``text`` must stand in a line, ``match`` (a regular expression, optional)
must fit and may name ``name``, ``detail`` and further facts. The first pattern of the file that fits a line counts.
"""

from __future__ import annotations

import re
from collections import Counter
from functools import cached_property
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, model_validator

from provisioner import data, yamlfile
from provisioner.console.text import Lines
from provisioner.model.event import Event, Sink

LOOP_AFTER = 3
_MOST_NAMES = 4096
_KERNEL_PREFIX = re.compile(r"(?:<\d{1,3}>)?\[ *(?P<seconds>\d+\.\d{6})\](?:\[ *[TC]\d+\])? ?")


class Pattern(BaseModel):
    """One thing that a console may say.

    ``begins`` marks words that come once at a start of the machine: seen again, it has started again. A ``prompt``
    stands at the start of a line that waits for input, and ``match`` fits all of it. ``repeat`` patterns count each
    time, others once per boot, stage, name and state. Words that come more than ``most`` times in one boot tell of a
    loop. ``trouble`` stages stand outside the order of stages.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    stage: str
    text: str
    match: str = ""
    name: str = ""
    state: Literal["", "started", "done", "failed"] = ""
    begins: bool = False
    prompt: bool = False
    repeat: bool = False
    most: int = 0
    trouble: bool = False

    @model_validator(mode="after")
    def _usable(self) -> Pattern:
        if not self.text:
            raise ValueError("`text` must not be empty")
        try:
            re.compile(self.match)
        except re.error as error:
            raise ValueError(f"`match` is no regular expression: {error}") from error
        return self

    @cached_property
    def expression(self) -> re.Pattern[str]:
        """``match``, compiled."""
        return re.compile(self.match)

    def find(self, line: str) -> dict[str, str] | None:
        """Return what the line says if it is this pattern's, else None."""
        if self.text not in line:
            return None
        found = self.expression.search(line)
        return None if found is None else {key: value for key, value in found.groupdict().items() if value}

    def begins_line(self, line: str) -> tuple[Pattern, int, dict[str, str | float]] | None:
        """Return this prompt, its length and what it says if ``line`` begins with it, else None."""
        found = self.expression.match(line)
        if found is None or self.text not in found[0]:
            return None
        return self, found.end(), {key: value for key, value in found.groupdict().items() if value}


class Stages(BaseModel):
    """The file: ``order`` of the stages of a boot, ``settled`` those that end a boot loop, and the patterns."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    order: tuple[str, ...]
    settled: tuple[str, ...]
    patterns: tuple[Pattern, ...]

    @model_validator(mode="after")
    def _known(self) -> Stages:
        strange = {p.stage for p in self.patterns if not p.trouble} | set(self.settled)
        if unknown := strange - set(self.order):
            raise ValueError(f"stages that `order` does not have: {', '.join(sorted(unknown))}")
        return self


NOTHING = Stages(order=(), settled=(), patterns=())
"""Stages that recognise nothing."""


def load(path: Path | None = None) -> Stages:
    """Return the stages of ``path``, by default those that ship with the project; raise InputError."""
    return yamlfile.load_file(path or data.find("console", "stages.yml"), Stages)


class StageMachine:
    """Turns pieces of console output into events for ``sink``.

    It emits the stages seen, ``reboot`` when the machine starts again and ``loop`` from the third start on that comes
    without a settled stage before, and for what loads itself again and again. ``boot`` counts starts from 1,
    ``reached`` is the latest stage in order.
    """

    def __init__(self, stages: Stages, sink: Sink, *, machine: str = "") -> None:
        self.boot = 1
        self.reached = ""
        self._stages = stages
        self._sink = sink
        self._machine = machine
        self._lines = Lines()
        self._prompts = [p for p in stages.patterns if p.prompt]
        self._others = [p for p in stages.patterns if not p.prompt]
        self._prompted = 0  # characters of the unfinished line that were prompts
        self._begun: set[Pattern] = set()
        self._counts: Counter[Pattern] = Counter()
        self._seen: set[tuple[str, str, str]] = set()
        self._unsettled = 0
        self._clock = (0.0, 0.0)

    def feed(self, data: bytes, monotonic: float, wall: float) -> list[str]:
        """Take in what was read at this time; return the lines of text that it completes."""
        self._clock = (monotonic, wall)
        lines = self._lines.feed(data)
        for line in lines:
            self._line(self._after_prompt(line))
            self._prompted = 0
        self._after_prompt(self._lines.partial)
        return lines

    @property
    def partial(self) -> str:
        """The text of the line that is not ended yet."""
        return self._lines.partial

    def _after_prompt(self, line: str) -> str:
        """See prompts at the start of a line, ended or not, once each; return what follows them.

        That is somebody else's: what was typed, or the kernel breaking in.
        """
        while found := next((hit for pattern in self._prompts if (hit := pattern.begins_line(line[self._prompted:]))),
                            None):
            pattern, length, facts = found
            self._prompted += length
            self._saw(pattern, facts)
        return line[self._prompted:]

    def _line(self, line: str) -> None:
        facts: dict[str, str | float] = {}
        if prefix := _KERNEL_PREFIX.match(line):
            facts["kernel_time"] = float(prefix["seconds"])
            line = line[prefix.end():]
        for pattern in self._others:
            said = pattern.find(line)
            if said is not None:
                facts.update(said)
                self._saw(pattern, facts)
                return

    def _saw(self, pattern: Pattern, facts: dict[str, str | float]) -> None:
        if pattern.begins:
            if self._starts_again(pattern):
                self._restart(str(facts.get("name", pattern.name)))
            self._begun.add(pattern)
        name = str(facts.pop("name", pattern.name))
        if pattern.most:
            self._counts[pattern] += 1
            if self._counts[pattern] > pattern.most:
                self._emit("loop", str(self._counts[pattern]), f"{name} again and again")
        key = (pattern.stage, name, pattern.state)
        if key in self._seen and not pattern.repeat:
            return
        # A machine that makes up ever new names does not fill our memory.
        if len(self._seen) >= _MOST_NAMES:
            self._seen.clear()
        self._seen.add(key)
        order = self._stages.order
        if not pattern.trouble and (not self.reached or order.index(pattern.stage) > order.index(self.reached)):
            self.reached = pattern.stage
        if pattern.stage in self._stages.settled:
            self._unsettled = 0
        if pattern.state:
            facts["state"] = pattern.state
        self._emit(pattern.stage, name, str(facts.pop("detail", "")), **facts)

    def _starts_again(self, pattern: Pattern) -> bool:
        if pattern in self._begun:
            return True
        order = self._stages.order
        return bool(self.reached) and order.index(self.reached) > order.index(pattern.stage)

    def _restart(self, by: str) -> None:
        self.boot += 1
        self._unsettled += 1
        self.reached = ""
        self._seen.clear()
        self._begun.clear()
        self._counts.clear()
        self._emit("reboot", str(self.boot), f"started again, seen by {by}")
        if self._unsettled + 1 >= LOOP_AFTER:
            self._emit("loop", str(self._unsettled + 1), "starts without coming up")

    def _emit(self, stage: str, name: str, detail: str, **facts: str | float) -> None:
        monotonic, wall = self._clock
        self._sink(Event("console", stage, name, self._machine, detail, wall, monotonic,
                         {"boot": self.boot} | facts))
