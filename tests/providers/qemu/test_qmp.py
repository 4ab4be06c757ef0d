"""QMP as a transcript: what the client says and how it takes answers, events and silence."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from provisioner.providers.qemu.qmp import Qmp, QmpError

GREETING = {"QMP": {"version": {"qemu": {"major": 7}}, "capabilities": []}}
Server = Callable[..., Path]


@pytest.fixture
def qemu(tmp_path: Path) -> Iterator[Callable[[list[list[object]]], Path]]:
    """Play QEMU: the first list is sent at once, each further one after a line was heard; then hang up."""
    path = tmp_path / "qmp.sock"
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()
    threads = []

    def play(script: list[list[object]]) -> Path:
        def talk() -> None:
            connection, _ = listener.accept()
            with connection, connection.makefile("rb") as lines:
                for number, answers in enumerate(script):
                    if number:
                        json.loads(lines.readline())
                    for answer in answers:
                        connection.sendall(json.dumps(answer).encode() + b"\r\n")

        threads.append(threading.Thread(target=talk))
        threads[-1].start()
        return path

    yield play
    for thread in threads:
        thread.join(20)
    listener.close()


def test_commands_get_their_results_and_events_are_kept(qemu: Server) -> None:
    event = {"event": "RESUME", "timestamp": {}}
    client = Qmp.connect(qemu([[GREETING], [{"return": {}}], [event, {"return": {"status": "running"}}]]), timeout=20)
    assert client.execute("query-status") == {"status": "running"}
    assert client.events == [event]
    client.close()


def test_a_refusal_is_an_error_with_qemus_words(qemu: Server) -> None:
    refused = {"error": {"class": "CommandNotFound", "desc": "The command foo has not been found"}}
    client = Qmp.connect(qemu([[GREETING], [{"return": {}}], [refused]]), timeout=20)
    with pytest.raises(QmpError, match="refuses foo: The command foo has not been found"):
        client.execute("foo")
    client.close()


def test_a_qemu_that_dies_before_it_greets(qemu: Server) -> None:
    with pytest.raises(QmpError, match="closed its control connection"):
        Qmp.connect(qemu([[]]), timeout=20)


def test_a_qemu_that_ends_leaves_its_last_events(qemu: Server) -> None:
    shutdown = {"event": "SHUTDOWN", "data": {"guest": True, "reason": "guest-shutdown"}}
    client = Qmp.connect(qemu([[GREETING], [{"return": {}}, shutdown]]), timeout=20)
    client.drain()
    assert client.events == [shutdown]
    with pytest.raises(QmpError):
        client.execute("cont")
    client.close()


def test_no_socket(tmp_path: Path) -> None:
    with pytest.raises(QmpError, match="cannot talk to QEMU"):
        Qmp.connect(tmp_path / "none", timeout=1)
