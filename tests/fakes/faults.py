"""An HTTP server on a loopback port that answers by a script and can break off in the middle of a body."""

from __future__ import annotations

import re
import socket
import struct
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self


@dataclass(frozen=True)
class Request:
    """What was asked; header names in lower case."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes = b""


@dataclass(frozen=True)
class Answer:
    """What is answered. ``cut`` sends only so many bytes of the body and then resets the connection;
    ``close`` ends it politely there instead."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    cut: int | None = None
    polite: bool = False


Script = Callable[[Request], Answer]


class FaultServer:
    """The server: ``script`` is asked for every answer, ``requests`` keeps what was asked."""

    def __init__(self, script: Script) -> None:
        self.script, self.requests = script, list[Request]()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _any(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                asked = Request(self.command, self.path, {k.lower(): v for k, v in self.headers.items()},
                                self.rfile.read(length))
                outer.requests.append(asked)
                self._send(outer.script(asked))

            do_GET = do_POST = do_HEAD = _any  # noqa: N815 - the names that http.server wants

            def _send(self, answer: Answer) -> None:
                self.send_response(answer.status)
                for key, value in answer.headers.items():
                    self.send_header(key, value)
                if "Content-Length" not in answer.headers:
                    self.send_header("Content-Length", str(len(answer.body)))
                self.end_headers()
                if answer.cut is None:
                    self.wfile.write(answer.body)
                    return
                self.wfile.write(answer.body[:answer.cut])
                self.wfile.flush()
                self.close_connection = True
                if not answer.polite:  # linger 0: the kernel sends RST
                    self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    self.connection.shutdown(socket.SHUT_RD)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - inherited
                pass

        class Server(ThreadingHTTPServer):
            def handle_error(self, request: object, client_address: object) -> None:
                pass  # clients break off, too

        self._server = Server(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self._server.server_address[1]}"

    @property
    def url(self) -> str:
        return f"http://{self.host}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def ranged(body: bytes, request: Request, **more: int | bool | None) -> Answer:
    """Answer with a body or the part of it that Range asks for (RFC 9110, 14.2)."""
    found = re.fullmatch(r"bytes=(\d+)-", request.headers.get("range", ""))
    if not found:
        return Answer(200, body, **more)  # type: ignore[arg-type]  # cut and polite pass through
    start = int(found[1])
    if start >= len(body):
        return Answer(416, b"", {"Content-Range": f"bytes */{len(body)}"})
    headers = {"Content-Range": f"bytes {start}-{len(body) - 1}/{len(body)}"}
    return Answer(206, body[start:], headers, **more)  # type: ignore[arg-type]  # as above


@contextmanager
def serving(script: Script) -> Iterator[FaultServer]:
    """Run a server for the time of a block."""
    with FaultServer(script) as server:
        yield server
