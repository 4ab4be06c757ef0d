"""A daemon that speaks as much of Docker's Engine API as exporting an image takes, over a unix socket."""

from __future__ import annotations

import json
import re
import socketserver
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from urllib.parse import unquote


@contextmanager
def docker_daemon(path: Path, archives: Mapping[str, bytes], *, broken: bool = False) -> Iterator[str]:
    """Serve ``archives`` (image name to ``docker save`` output); yield the DOCKER_HOST. ``broken`` cuts them off."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            where = unquote(re.sub(r"^/v[0-9.]+", "", self.path.partition("?")[0]))
            if where == "/version":
                self._json({"ApiVersion": "1.47", "Version": "27", "MinAPIVersion": "1.24"})
                return
            if where == "/_ping":
                self._json("OK")
                return
            match = re.fullmatch(r"/images/(.+)/(get)", where)
            name = match[1] if match else ""
            if match is None or name not in archives:
                self._json({"message": f"No such image: {name}"}, 404)
            else:
                self._chunked(archives[name])

        def _json(self, content: object, status: int = 200) -> None:
            body = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def _chunked(self, body: bytes) -> None:
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            for at in range(0, len(body) // 2 if broken else len(body), 5000):
                piece = body[at:at + 5000]
                self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
            if broken:
                self.close_connection = True
            else:
                self.wfile.write(b"0\r\n\r\n")

        def address_string(self) -> str:
            return "unix"

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - inherited
            pass

    class Server(socketserver.ThreadingUnixStreamServer):
        daemon_threads = True

    with Server(str(path), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield f"unix://{path}"
        finally:
            server.shutdown()
            thread.join()
