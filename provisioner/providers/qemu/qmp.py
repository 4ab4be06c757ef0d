"""A client of QMP, QEMU's control protocol: JSON objects, one a line, over a unix socket.

Wire format: https://www.qemu.org/docs/master/interop/qmp-spec.html. The server greets, the client sends
``qmp_capabilities``, then each command gets ``{"return": …}`` or ``{"error": …}``; events come in between.
"""

from __future__ import annotations

import json
import socket
import threading
from pathlib import Path
from typing import Any, Self

from provisioner.errors import ProvisionerError


class QmpError(ProvisionerError):
    """QEMU refused a command, or the connection is gone."""

    kind = "qmp"


class Qmp:
    """One connection to QEMU's monitor. Safe to share between threads."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._lines = connection.makefile("rb")
        self._lock = threading.Lock()
        self.events: list[dict[str, Any]] = []

    @classmethod
    def connect(cls, path: Path, *, timeout: float) -> Self:
        """Connect, read the greeting and leave negotiation mode; ``timeout`` seconds bound every answer."""
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(timeout)
        try:
            connection.connect(str(path))
            client = cls(connection)
            client.receive()  # the greeting
            client.execute("qmp_capabilities")
        except OSError as error:
            connection.close()
            raise QmpError(f"cannot talk to QEMU: {error}") from error
        except QmpError:
            connection.close()
            raise
        return client

    def execute(self, command: str, **arguments: object) -> Any:
        """Run a command and return its result; events that come meanwhile are appended to ``events``."""
        request = {"execute": command} | ({"arguments": arguments} if arguments else {})
        with self._lock:
            try:
                self._socket.sendall(json.dumps(request).encode() + b"\n")
            except OSError as error:
                raise QmpError(f"QEMU is gone: {error}") from error
            while True:
                answer = self.receive()
                if "event" in answer:
                    self.events.append(answer)
                elif "error" in answer:
                    raise QmpError(f"QEMU refuses {command}: {answer['error'].get('desc', '')}")
                else:
                    return answer.get("return")

    def receive(self) -> dict[str, Any]:
        """Return the next object; raise QmpError when the connection ended or nothing came in time."""
        try:
            line = self._lines.readline()
        except OSError as error:
            raise QmpError(f"QEMU does not answer: {error}") from error
        if not line:
            raise QmpError("QEMU closed its control connection")
        parsed: dict[str, Any] = json.loads(line)
        return parsed

    def drain(self) -> None:
        """Collect events until the connection ends; call it when QEMU has ended."""
        with self._lock:
            try:
                while True:
                    answer = self.receive()
                    if "event" in answer:
                        self.events.append(answer)
            except QmpError:
                return

    def close(self) -> None:
        """Close the connection."""
        self._lines.close()
        self._socket.close()
