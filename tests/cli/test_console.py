"""``console`` where no terminal is: bytes, stages, JSON, errors. For terminals see tests/console/test_attach.py."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

BOOT = (b"SeaBIOS (version 1.16.2)\r\n[    0.000000] Linux version 6.12.0 (x)\r\nprovisioner: init 1 started\r\n"
        b"provisioner: services up\r\n\xff\x00\x1b]0;x\x07end")


@pytest.fixture
def console(tmp_path: Path) -> Iterator[str]:
    """A machine that boots, says its piece, and is gone."""
    path = tmp_path / "console.sock"
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()

    def boot() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.sendall(BOOT)

    thread = threading.Thread(target=boot)
    thread.start()
    yield f"unix:{path}"
    thread.join(20)
    listener.close()


def verb(*arguments: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([sys.executable, "-m", "provisioner", *arguments], stdin=subprocess.DEVNULL,
                          capture_output=True, check=False)


def test_into_a_pipe_every_byte_comes_as_it_is(console: str, tmp_path: Path) -> None:
    done = verb("console", console, "--log", str(tmp_path / "log"))
    assert (done.returncode, done.stdout) == (0, BOOT)
    assert (tmp_path / "log").read_bytes() == BOOT
    assert (tmp_path / "log.index").read_text().count("\n") >= 2


def test_a_log_that_takes_no_bytes_is_told(console: str, tmp_path: Path) -> None:
    (tmp_path / "log").symlink_to("/dev/full")
    done = verb("console", console, "--log", str(tmp_path / "log"))
    assert (done.returncode, done.stdout) == (0, BOOT)
    assert b"warning: the log failed: " in done.stderr
    assert b"No space left on device" in done.stderr


def test_stages_come_as_they_are_seen_and_as_a_table(console: str) -> None:
    done = verb("console", console, "--stages")
    assert done.returncode == 0
    assert b"console kernel Linux 6.12.0" in done.stderr
    assert [line.split()[0] for line in done.stdout.splitlines()] == [b"STAGE", b"firmware", b"kernel", b"init",
                                                                      b"healthy"]


def test_json_is_one_object_a_line(console: str) -> None:
    done = verb("--json", "console", console)
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert [event["stage"] for event in events] == ["firmware", "kernel", "init", "healthy"]
    assert all(event["source"] == "console" and event["time"] > 1e9 for event in events)


def test_errors_have_their_exit_codes(tmp_path: Path) -> None:
    assert verb("console", f"unix:{tmp_path}/none").returncode == 4
    assert verb("console", "tcp:nowhere").returncode == 2
    assert verb("console", str(tmp_path)).returncode == 2


def test_a_log_that_cannot_be_written_is_an_error_before_anything_is_read(console: str, tmp_path: Path) -> None:
    done = verb("console", console, "--log", str(tmp_path / "console.sock" / "log"))
    assert done.returncode == 8
    assert b"cannot write the log" in done.stderr
    assert done.stdout == b""
