"""Reads a console for as long as it lives: logs every byte, finds stages, lets others watch and wait.

    capture = Capture(SocketPort(machine.connect()), log=RawLog(path), stages=load(), sink=timeline)
    capture.start()                                  # a thread; or capture.run() in this one
    capture.wait("healthy", timeout=120)
"""

from __future__ import annotations

import os
import select
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Self

from provisioner.console.log import RawLog
from provisioner.console.port import Port
from provisioner.console.stages import NOTHING, StageMachine, Stages
from provisioner.errors import ProvisionerError
from provisioner.model.event import Event, Sink, discard

_LOST = {"panic": "the kernel panicked", "degraded": "these services did not start"}
_KEEP_LINES = 200
_KEEP_EVENTS = 10_000


class Capture:
    """One console being read.

    ``log`` and ``stages`` are optional; ``watch`` gets every piece of bytes after it was logged. ``events`` holds
    what was recognised, ``bytes_read`` counts. The sink and ``watch`` are called by the thread that reads. A context
    manager: ``stop`` at its end.
    """

    def __init__(self, port: Port, *, log: RawLog | None = None, stages: Stages | None = None, sink: Sink = discard,
                 watch: Callable[[bytes], None] | None = None, machine: str = "") -> None:
        self.port = port
        self.log = log
        self.events: deque[Event] = deque(maxlen=_KEEP_EVENTS)
        self.bytes_read = 0
        self.ended = False
        self._sink = sink
        self._watch = watch
        self._machine = machine
        self._stages = StageMachine(stages or NOTHING, self._take, machine=machine)
        self._tail: deque[str] = deque(maxlen=_KEEP_LINES)
        self._news = threading.Condition()
        self._thread: threading.Thread | None = None
        self._wake = os.pipe()
        self._log_trouble = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def feed(self, data: bytes) -> None:
        """Take in what was read now: log it first, then look at it."""
        monotonic, wall = time.monotonic(), time.time()
        self.bytes_read += len(data)
        if self.log is not None:
            self.log.write(data, monotonic, wall)
            self._tell_log_trouble(self.log)
        if self._watch is not None:
            self._watch(data)
        lines = self._stages.feed(data, monotonic, wall)
        with self._news:
            self._tail.extend(lines)

    def run(self) -> None:
        """Read until the other side is gone or ``stop`` is called."""
        try:
            while self._readable():
                data = self.port.read()
                if not data:
                    break
                self.feed(data)
        finally:
            with self._news:
                self.ended = True
                self._news.notify_all()

    def _readable(self) -> bool:
        poll = select.poll()
        poll.register(self.port.fileno(), select.POLLIN)
        poll.register(self._wake[0], select.POLLIN)
        return all(descriptor != self._wake[0] for descriptor, _ in poll.poll())

    def start(self) -> None:
        """Read in a thread of its own."""
        self._thread = threading.Thread(target=self.run, name=f"console {self.port.name}", daemon=True)
        self._thread.start()

    def join(self, timeout: float) -> None:
        """Wait until the other side is gone; raise ProvisionerError when it is not after ``timeout`` seconds."""
        with self._news:
            if not self._news.wait_for(lambda: self.ended, timeout):
                raise ProvisionerError(f"{self._machine or self.port.name} goes on after {timeout:g} s")

    def stop(self) -> None:
        """End the reading and close port and log. May be called again."""
        if self._wake[1] < 0:
            return
        os.write(self._wake[1], b"x")
        if self._thread is not None:
            self._thread.join()
        self.port.close()
        if self.log is not None:
            self.log.close()
        os.close(self._wake[0])
        os.close(self._wake[1])
        self._wake = (-1, -1)

    def wait(self, stage: str, name: str = "", *, timeout: float) -> Event:
        """Return the first event of this stage (and name), waiting up to ``timeout`` seconds for it.

        Raises ProvisionerError with the console's last lines when the time is over, the console ends, or the kernel
        panics meanwhile.
        """
        deadline = time.monotonic() + timeout
        with self._news:
            while True:
                for event in self.events:
                    if event.stage == stage and name in ("", event.name):
                        return event
                for event in self.events:
                    if event.stage in _LOST:
                        raise self._missed(stage, name, f": {_LOST[event.stage]}: {event.detail}")
                if self.ended:
                    raise self._missed(stage, name, " before its console ended")
                if not self._news.wait(deadline - time.monotonic()):
                    raise self._missed(stage, name, f" within {timeout:g} s")

    def _missed(self, stage: str, name: str, why: str) -> ProvisionerError:
        lines = "\n".join([*self._tail, self._stages.partial][-15:])
        return ProvisionerError(f"{self._machine or self.port.name} did not reach {stage} {name}".rstrip()
                                + f"{why}; its last lines:\n{lines}")

    def tail(self, count: int = 20) -> list[str]:
        """Return the last lines as plain text."""
        with self._news:
            return [*self._tail, self._stages.partial][-count:]

    def _take(self, event: Event) -> None:
        with self._news:
            self.events.append(event)
            self._news.notify_all()
        self._sink(event)

    def _tell_log_trouble(self, log: RawLog) -> None:
        """Tell once when the log stops taking bytes and once when it takes them again."""
        if log.trouble != self._log_trouble:
            self._log_trouble = log.trouble
            name, detail = ("failed", f"{log.path}: {log.trouble}") if log.trouble else ("resumed", str(log.path))
            self._take(Event("console", "log", name, self._machine, detail, time.time(), time.monotonic()))
