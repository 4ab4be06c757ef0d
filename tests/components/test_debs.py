"""The package cache: fetched once, verified, resumed, and honest about what the mirror lacks."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote

import pytest

from provisioner.components.apt import Mirror, Package
from provisioner.components.debs import Debs, GoneError
from provisioner.errors import DigestError, NetworkError
from provisioner.http import Client
from provisioner.model.event import Event
from tests.fakes.debian import Archive


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    return Archive(tmp_path / "mirror")


def debs(archive: Archive, tmp_path: Path, events: list[Event] | None = None) -> Debs:
    seen: list[Event] = [] if events is None else events
    return Debs(lambda: Mirror(archive.url), root=tmp_path / "debs", sink=seen.append)


def test_fetches_once_and_needs_no_mirror_then(archive: Archive, tmp_path: Path) -> None:
    package = archive.add("tool", {"usr/bin/tool": b"x"})
    events: list[Event] = []
    path = debs(archive, tmp_path, events).fetch(package)
    assert path.read_bytes() == (archive.root / "pool/tool_1.0_amd64.deb").read_bytes()
    assert [(event.stage, event.name) for event in events] == [("fetch", "tool")]

    def unreachable() -> Mirror:
        raise AssertionError("the mirror was asked")

    assert Debs(unreachable, root=tmp_path / "debs").fetch_all([package]) == {"tool": path}


def test_a_version_that_is_gone_is_named(archive: Archive, tmp_path: Path) -> None:
    package = archive.add("tool", {})
    archive.remove("tool")
    with pytest.raises(GoneError, match=r"no longer has tool 1\.0") as caught:
        debs(archive, tmp_path).fetch(package)
    assert caught.value.package == package
    assert "--update" in caught.value.hint


def test_other_content_is_refused_and_not_kept(archive: Archive, tmp_path: Path) -> None:
    package = archive.add("tool", {"usr/bin/tool": b"one"})
    wrong = replace(package, sha256="0" * 64)
    with pytest.raises(DigestError, match=r"tool 1\.0 from the mirror is not what the lock names"):
        debs(archive, tmp_path).fetch(wrong)
    assert not [path for path in (tmp_path / "debs").rglob("*") if path.is_file() and path.name != "lock"]


class _Handler(http.server.BaseHTTPRequestHandler):
    body = b""
    ranges: list[str]

    def do_GET(self) -> None:
        wanted = self.headers.get("Range", "")
        self.ranges.append(wanted)
        start = int(wanted.removeprefix("bytes=").partition("-")[0] or 0)
        if unquote(self.path) != "/debian/pool/tool_1+2.deb":
            self.send_error(404)
            return
        self.send_response(206 if wanted else 200)
        if wanted:
            self.send_header("Content-Range", f"bytes {start}-{len(self.body) - 1}/{len(self.body)}")
        self.send_header("Content-Length", str(len(self.body) - start))
        self.end_headers()
        self.wfile.write(self.body[start:])

    def log_message(self, *_args: object) -> None:
        """Say nothing."""


@pytest.fixture
def server(archive: Archive) -> Iterator[tuple[Mirror, Package, list[str]]]:
    package = archive.add("tool", {"usr/bin/tool": bytes(100_000)})
    ranges: list[str] = []
    handler = type("Handler", (_Handler,), {"body": (archive.root / "pool/tool_1.0_amd64.deb").read_bytes(),
                                            "ranges": ranges})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as made:
        thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        mirror = Mirror(f"http://127.0.0.1:{made.server_port}/debian")
        yield mirror, replace(package, path="debian/pool/tool_1+2.deb"), ranges
        made.shutdown()
        thread.join()


def test_goes_on_where_a_killed_fetch_stopped(server: tuple[Mirror, Package, list[str]], archive: Archive,
                                              tmp_path: Path) -> None:
    mirror, package, ranges = server
    whole = (archive.root / "pool/tool_1.0_amd64.deb").read_bytes()
    (tmp_path / "debs/ingest").mkdir(parents=True)
    (tmp_path / f"debs/ingest/sha256-{package.sha256}.part").write_bytes(whole[:100])
    with Client() as client:
        path = Debs(lambda: mirror, root=tmp_path / "debs", client=client).fetch(package)
    assert path.read_bytes() == whole
    assert ranges == ["bytes=100-"]


def test_a_mirror_out_of_reach_is_a_network_error(archive: Archive, tmp_path: Path) -> None:
    package = archive.add("tool", {})
    with Client(wait=lambda _seconds: None, retries=1) as client, pytest.raises(NetworkError, match="cannot reach"):
        Debs(lambda: Mirror("http://127.0.0.1:1/debian"), root=tmp_path / "debs", client=client).fetch(package)
