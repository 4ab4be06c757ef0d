"""Registries for tests: Debian's docker-registry, and a small one in Python that can be made to fail."""

from __future__ import annotations

import base64
import re
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from tests.fakes.faults import Answer, Request, ranged
from tests.fakes.images import Images, digest_of

USER, PASSWORD = "tester", "s3cret-canary"


@dataclass
class FakeRegistry:
    """A script for a FaultServer: serves ``images`` by tag and digest.

    With ``token_service`` (a URL) it wants bearer tokens, which ``/token`` gives for the right password; each token
    is good for ``token_uses`` requests. ``faults`` maps a digest to answers given before the right one.
    """

    images: Images
    tags: dict[str, str] = field(default_factory=dict)
    token_service: str = ""
    anonymous: bool = False
    token_uses: int = 1000
    faults: dict[str, list[Answer]] = field(default_factory=dict)
    cut_every: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)
    content_types: dict[str, str] = field(default_factory=dict)
    _issued: dict[str, int] = field(default_factory=dict)

    def __call__(self, request: Request) -> Answer:
        path = urlsplit(request.path).path
        if path.endswith("/token"):
            return self._token(request)
        if self.token_service and not self._allowed(request):
            challenge = f'Bearer realm="{self.token_service}",service="fake",scope="repository:team/app:pull"'
            return Answer(401, b'{"errors":[{"code":"UNAUTHORIZED"}]}', {"WWW-Authenticate": challenge})
        if match := re.search(r"/v2/(.+)/(manifests|blobs)/([^/]+)$", path):
            return self._content(request, match[2], match[3])
        return Answer(200, b"{}") if path.endswith("/v2/") else Answer(404)

    def _content(self, request: Request, kind: str, wanted: str) -> Answer:
        digest = self.tags.get(wanted, wanted)
        if planned := self.faults.get(digest):
            return planned.pop(0)
        data = self.images.blobs.get(digest)
        if data is None:
            return Answer(404, b'{"errors":[{"code":"MANIFEST_UNKNOWN"}]}')
        if kind == "manifests":
            known = re.search(rb'"mediaType": ?"([^"]+)"', data)
            media_type = self.content_types.get(digest, known[1].decode() if known else "")
            return Answer(200, data, {"Content-Type": media_type, "Docker-Content-Digest": digest, **self.headers})
        start = int((request.headers.get("range") or "bytes=0-")[6:-1])
        if self.cut_every and len(data) - start > self.cut_every:
            return ranged(data, request, cut=self.cut_every)
        return ranged(data, request)

    def _token(self, request: Request) -> Answer:
        header = request.headers.get("authorization", "")
        right = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        refresh = parse_qs(request.body.decode()).get("refresh_token", [""])[0]
        if header != right and refresh != PASSWORD and not (self.anonymous and not header):
            return Answer(401, b"wrong password", {"WWW-Authenticate": "Basic"})
        token = f"token{len(self._issued)}"
        self._issued[token] = self.token_uses
        return Answer(200, b'{"token":"%s"}' % token.encode())

    def _allowed(self, request: Request) -> bool:
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        left = self._issued.get(token, 0)
        self._issued[token] = left - 1
        return left > 0


def fake(images: Images, *, tag: str = "1") -> FakeRegistry:
    """Return a registry whose ``tag`` is the first named image of ``images``."""
    return FakeRegistry(images, {tag: images.tops[0]["digest"]})


def blob_digest(data: bytes) -> str:
    return digest_of(data)


@contextmanager
def debian_registry(folder: Path, *, password: bool = False,
                    tls: tuple[Path, Path] | None = None) -> Iterator[str]:
    """Run docker-registry on a free loopback port; yield ``127.0.0.1:PORT``."""
    port = _free_port()
    config = [f"version: 0.1\nstorage:\n  filesystem:\n    rootdirectory: {folder}/data\n",
              f"http:\n  addr: 127.0.0.1:{port}\n", "log:\n  level: error\n"]
    if password:
        hashed = subprocess.run(["htpasswd", "-Bbn", USER, PASSWORD], capture_output=True, check=True).stdout
        (folder / "htpasswd").write_bytes(hashed.strip() + b"\n")
        config.append(f"auth:\n  htpasswd:\n    realm: test\n    path: {folder}/htpasswd\n")
    if tls:
        config.insert(2, f"  tls:\n    certificate: {tls[0]}\n    key: {tls[1]}\n")
    (folder / "registry.yml").write_text("".join(config))
    with (folder / "registry.log").open("wb") as log, subprocess.Popen(
            ["docker-registry", "serve", str(folder / "registry.yml")], stdout=log, stderr=log) as child:
        try:
            _wait_for(port, child, folder / "registry.log")
            yield f"127.0.0.1:{port}"
        finally:
            child.terminate()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_for(port: int, child: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(600):
        if child.poll() is not None:
            break
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise AssertionError(f"docker-registry does not listen: {log.read_text()}")
