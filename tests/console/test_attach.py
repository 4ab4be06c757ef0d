"""The terminal at a console: keys, escape key, raw mode and back."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pexpect
import pytest

from provisioner.console.attach import Keys, escape_key
from provisioner.errors import UsageError

A = b"\x01"


def keyed(*pieces: bytes) -> list[tuple[bytes, str]]:
    keys = Keys(A)
    return [one for piece in pieces for one in keys.feed(piece)]


def test_keys_pass_and_orders_are_taken_out() -> None:
    assert keyed(b"ls\r") == [(b"ls\r", "")]
    assert keyed(b"ls" + A + b"xrest") == [(b"ls", ""), (b"", "x"), (b"rest", "")]
    assert keyed(b"ls" + A, b"H", b"more") == [(b"ls", ""), (b"", "h"), (b"more", "")]


def test_the_escape_key_twice_or_with_its_letter_is_sent_once() -> None:
    assert keyed(A + A) == [(A, "")]
    assert keyed(A + b"a" + b"b") == [(A, ""), (b"b", "")]


def test_control_c_is_the_machines() -> None:
    assert keyed(b"\x03\x1a\x1c") == [(b"\x03\x1a\x1c", "")]


@pytest.mark.parametrize("letter", ["", "ab", "1", "ä"])
def test_an_escape_key_must_be_a_letter(letter: str) -> None:
    with pytest.raises(UsageError):
        escape_key(letter)


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[tuple[Path, list[bytes]]]:
    """A machine that greets, upper-cases what it hears, tries to steal the clipboard, and ends on ``off``."""
    path = tmp_path / "console.sock"
    heard: list[bytes] = []
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()

    def live() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.sendall(b"\x1bcnode1 \x1b]52;c;cm0=\x07login: ")
            while data := connection.recv(1000):
                heard.append(data)
                if b"off" in data:
                    return
                connection.sendall(data.upper())

    thread = threading.Thread(target=live)
    thread.start()
    yield path, heard
    listener.close()
    thread.join(20)


def attach(path: Path, *options: str) -> pexpect.spawn[str]:
    return pexpect.spawn(sys.executable, ["-m", "provisioner", "console", str(path), *options], encoding="latin-1",
                         timeout=30)


def test_a_person_at_a_terminal(machine: tuple[Path, list[bytes]]) -> None:
    path, heard = machine
    child = attach(path)
    child.expect_exact("node1 login: ")
    assert "\x1bc" not in str(child.before)
    assert "cm0=" not in str(child.before)
    child.send("root\x03")
    child.expect_exact("ROOT\x03")
    child.send("\x01h")
    child.expect_exact("Ctrl-A x   leave")
    child.send("\x01b")
    child.expect_exact("cannot carry a serial break")
    child.send("\x01a")
    child.expect_exact("\x01")
    child.send("\x01x")
    child.expect(pexpect.EOF)
    child.wait()
    assert child.exitstatus == 0
    assert b"".join(heard) == b"root\x03\x01"


def test_the_terminal_is_restored_when_the_machine_ends(tmp_path: Path,
                                                                        machine: tuple[Path, list[bytes]]) -> None:
    path, _ = machine
    script = tmp_path / "run.sh"
    script.write_text(f"stty -a > before\n{sys.executable} -m provisioner console {path}\nstty -a > after\n")
    child = pexpect.spawn("sh", ["-e", str(script)], cwd=str(tmp_path), timeout=30, encoding="latin-1")
    child.expect_exact("login: ")
    child.send("off")
    child.expect(pexpect.EOF)
    assert (tmp_path / "before").read_text() == (tmp_path / "after").read_text()


def test_the_terminal_is_restored_when_the_verb_is_ended(tmp_path: Path, machine: tuple[Path, list[bytes]]) -> None:
    path, _ = machine
    script = tmp_path / "run.sh"
    script.write_text(f"stty -a > before\n{sys.executable} -m provisioner console {path} & echo $! > pid\nfg\n"
                      "echo code $?\nstty -a > after\n")
    child = pexpect.spawn("bash", ["-m", str(script)], cwd=str(tmp_path), timeout=30, encoding="latin-1")
    child.expect_exact("login: ")
    os.kill(int((tmp_path / "pid").read_text()), signal.SIGTERM)
    child.expect_exact("code 130")
    child.expect(pexpect.EOF)
    assert (tmp_path / "before").read_text() == (tmp_path / "after").read_text()


def test_input_from_a_pipe_is_sent_and_its_end_changes_nothing(machine: tuple[Path, list[bytes]]) -> None:
    path, heard = machine
    reading, writing = os.pipe()
    os.write(writing, b"abc")
    child = os.fork()
    if child == 0:  # the verb, in a process of its own
        os.dup2(reading, 0)
        os.close(writing)
        os.execv(sys.executable, [sys.executable, "-m", "provisioner", "console", str(path), "--log",
                                  str(path.with_name("log"))])
    os.close(reading)
    while b"abc" not in b"".join(heard):
        pass
    os.write(writing, b"off")
    os.close(writing)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    log = path.with_name("log").read_bytes()
    assert log.startswith(b"\x1bcnode1 \x1b]52;c;cm0=\x07login: ")
    assert b"ABC" in log


def test_read_only_sends_nothing(machine: tuple[Path, list[bytes]]) -> None:
    path, heard = machine
    child = attach(path, "--read-only")
    child.expect_exact("login: ")
    child.send("root\x01x")
    child.expect(pexpect.EOF)
    assert heard == []
