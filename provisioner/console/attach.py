"""A terminal connected to a console: raw keys in, safe bytes out, an escape key to leave.

When standard input is no terminal its bytes go to the machine as they are, and its end changes nothing: the output
goes on until the machine ends.
"""

from __future__ import annotations

import os
import select
import sys
import termios
import tty
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import BinaryIO

from provisioner.console.capture import Capture
from provisioner.console.port import CHUNK
from provisioner.console.safe import RESTORE, Filter
from provisioner.errors import UsageError

HELP = """\r
  {key} x   leave\r
  {key} b   send a break (serial lines)\r
  {key} {letter}   send {key} itself\r
  {key} h   this help\r
"""


class Keys:
    """Splits what is typed into bytes for the machine and commands for us; ``escape`` is a control character."""

    def __init__(self, escape: bytes) -> None:
        self.escape = escape
        self._pending = False

    def feed(self, data: bytes) -> Iterator[tuple[bytes, str]]:
        """Yield ``(bytes to send, "")`` and ``(b"", command letter)`` in order."""
        begin = 0
        for at in range(len(data)):
            byte = data[at:at + 1]
            if self._pending:
                self._pending = False
                begin = at + 1
                # The escape key twice, with or without Ctrl the second time, sends it once.
                again = byte in (self.escape, bytes([self.escape[0] + 0x60]))
                yield (self.escape, "") if again else (b"", byte.decode("latin-1").lower())
            elif byte == self.escape:
                if begin < at:
                    yield data[begin:at], ""
                self._pending = True
        if not self._pending and begin < len(data):
            yield data[begin:], ""


def escape_key(letter: str) -> bytes:
    """Return the control character of a letter; raise UsageError for anything else."""
    if len(letter) != 1 or not letter.isascii() or not letter.isalpha():
        raise UsageError(f"--escape {letter}: not a letter", hint="`a` makes Ctrl-A the escape key")
    return bytes([ord(letter.lower()) - 0x60])


class Attachment:
    """Connects standard input and output to a capture's port.

    ``show`` gets the machine's bytes, made safe when standard output is a terminal; None shows nothing. ``escape`` is
    a letter: ``a`` stands for Ctrl-A.
    """

    def __init__(self, capture: Capture, *, escape: str = "a", show: bool = True, read_only: bool = False) -> None:
        self._capture = capture
        self._key = f"Ctrl-{escape.upper()}"
        self._letter = escape.lower()
        self._keys = Keys(escape_key(escape))
        self._show = show
        self._read_only = read_only
        self._terminal = sys.stdin.isatty()
        self._filter: Callable[[bytes], bytes] = Filter().feed if sys.stdout.isatty() else bytes
        self._out: BinaryIO = sys.stdout.buffer
        self._left = False

    def run(self) -> bool:
        """Stay until the machine ends (return False) or the user leaves (return True); restore the terminal."""
        with raw_terminal(), self._restored_screen():
            if self._terminal and not self._read_only:
                self._say(f"[{self._key} x leaves, {self._key} h helps]\r\n")
            self._loop()
        return self._left

    def _loop(self) -> None:
        poll = select.poll()
        port, keys = self._capture.port.fileno(), sys.stdin.fileno()
        poll.register(port, select.POLLIN)
        if not self._read_only or self._terminal:
            poll.register(keys, select.POLLIN)
        while not self._left:
            for descriptor, _ in poll.poll():
                if descriptor == port:
                    data = self._capture.port.read()
                    if not data:
                        return
                    self._capture.feed(data)
                    if self._show:
                        self._write(self._filter(data))
                elif not self._typed(os.read(keys, CHUNK)):
                    poll.unregister(keys)

    def _typed(self, data: bytes) -> bool:
        """Send or obey what came from standard input; return False at its end."""
        if not self._terminal:
            if data and not self._read_only:
                self._capture.port.write(data)
            return bool(data)
        for send, order in self._keys.feed(data):
            if send and not self._read_only:
                self._capture.port.write(send)
            elif order:
                self._obey(order)
        return bool(data)

    def _obey(self, order: str) -> None:
        if order == "x":
            self._left = True
        elif order == "b":
            try:
                self._capture.port.send_break()
            except UsageError as error:
                self._say(f"\r\n[{error.message}]\r\n")
        else:
            self._say(HELP.format(key=self._key, letter=self._letter))

    def _say(self, text: str) -> None:
        sys.stderr.write(text)
        sys.stderr.flush()

    def _write(self, data: bytes) -> None:
        self._out.write(data)
        self._out.flush()

    @contextmanager
    def _restored_screen(self) -> Iterator[None]:
        try:
            yield
        finally:
            if sys.stdout.isatty():
                self._write(RESTORE + b"\r\n")


@contextmanager
def raw_terminal() -> Iterator[None]:
    """Put the terminal on standard input into raw mode, and back whatever happens; nothing if it is none."""
    if not sys.stdin.isatty():
        yield
        return
    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)
    try:
        tty.setraw(descriptor)
        yield
    finally:
        termios.tcsetattr(descriptor, termios.TCSAFLUSH, before)
