"""TFTP packets: bytes to requests, acknowledgements, errors, and back (RFC 1350, RFC 2347-2349, RFC 7440).

Everything wrong with a packet is a `TftpError` with the code to answer; nothing else is raised.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum


class Op(IntEnum):
    """The packet's kind."""

    RRQ = 1
    WRQ = 2
    DATA = 3
    ACK = 4
    ERROR = 5
    OACK = 6


class Code(IntEnum):
    """The error codes of RFC 1350 section 5 and RFC 2347."""

    UNDEFINED = 0
    NOT_FOUND = 1
    ACCESS = 2
    FULL = 3
    ILLEGAL = 4
    UNKNOWN_TID = 5
    EXISTS = 6
    NO_USER = 7
    OPTIONS = 8


class TftpError(Exception):
    """A refusal: the ``code`` and text that go to the client."""

    def __init__(self, code: Code, text: str) -> None:
        super().__init__(text)
        self.code = code


@dataclass(frozen=True, slots=True)
class Request:
    """A read or write request. ``options`` are as sent, names in lower case."""

    op: Op
    name: str
    mode: str
    options: Mapping[str, str] = field(default_factory=dict)


def opcode(data: bytes) -> int:
    """Return the packet's operation, 0 when there is none."""
    return int.from_bytes(data[:2], "big") if len(data) >= 2 else 0


def read_request(data: bytes) -> Request:
    """Read an RRQ or WRQ; raise TftpError for anything else or malformed."""
    if opcode(data) not in (Op.RRQ, Op.WRQ):
        raise TftpError(Code.ILLEGAL, "a request was expected")
    fields = data[2:].split(b"\0")
    if len(fields) < 3:
        raise TftpError(Code.ILLEGAL, "file name or mode is not terminated")
    fields.pop()  # what follows the last NUL: nothing, or an unterminated option, which is dropped with its name
    try:
        name, mode, *rest = [part.decode("utf-8") for part in fields]
    except UnicodeDecodeError:
        raise TftpError(Code.ILLEGAL, "the request is not UTF-8") from None
    options = dict(zip((option.lower() for option in rest[::2]), rest[1::2], strict=False))
    if mode.lower() not in ("octet", "netascii"):
        raise TftpError(Code.ILLEGAL, f"mode {mode[:16]!r} is not served")
    return Request(Op(opcode(data)), name, mode.lower(), options)


def write_request(name: str, options: Mapping[str, str] | None = None, mode: str = "octet") -> bytes:
    """Write an RRQ."""
    words = [name, mode, *(word for pair in (options or {}).items() for word in pair)]
    return Op.RRQ.to_bytes(2, "big") + b"".join(word.encode() + b"\0" for word in words)


def data_packet(block: int, payload: bytes) -> bytes:
    """Write a DATA packet; the block number is taken modulo 65536."""
    return struct.pack("!HH", Op.DATA, block & 0xFFFF) + payload


def ack_packet(block: int) -> bytes:
    """Write an ACK."""
    return struct.pack("!HH", Op.ACK, block & 0xFFFF)


def error_packet(code: Code, text: str) -> bytes:
    """Write an ERROR."""
    return struct.pack("!HH", Op.ERROR, code) + text.encode()[:500] + b"\0"


def oack_packet(options: Mapping[str, str]) -> bytes:
    """Write an OACK."""
    return Op.OACK.to_bytes(2, "big") + b"".join(f"{name}\0{value}\0".encode() for name, value in options.items())


def block_of(data: bytes) -> int | None:
    """Return the block number of a DATA or ACK packet; None when it is too short to have one."""
    return int.from_bytes(data[2:4], "big") if len(data) >= 4 else None


def error_of(data: bytes) -> tuple[int, str]:
    """Return code and text of an ERROR packet, however short."""
    code = int.from_bytes(data[2:4], "big") if len(data) >= 4 else 0
    text = data[4:].split(b"\0")[0].decode("utf-8", "replace")
    return code, "".join(char if char.isprintable() else "?" for char in text)[:200]
