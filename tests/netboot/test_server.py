"""The whole server: on loopback with free ports, and in a lab with the real ones."""

from __future__ import annotations

import random
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from provisioner.errors import InputError, NetworkError, NotFoundError
from provisioner.model.event import Event
from provisioner.netboot import server as module
from provisioner.netboot.server import BootServer, serving
from provisioner.netboot.settings import Ports, Settings, for_one_image, from_file
from tests.fakes.relay import Relay, running
from tests.netboot.conftest import ImageMaker
from tests.netboot.inside import run_inside

ANY = Ports(0, 0, 0, 0)
SIZES = {"empty": 0, "block": 512 * 7, "loader": 300_123, "large": 5_000_000}


@pytest.fixture
def files(tmp_path: Path) -> Path:
    root = tmp_path / "tftp"
    root.mkdir()
    for name, size in SIZES.items():
        (root / name).write_bytes(random.Random(name).randbytes(size))
    (root / "escape").symlink_to("/etc/hostname")
    return root


@pytest.fixture
def events() -> list[Event]:
    return []


@pytest.fixture
def served(make_image: ImageMaker, files: Path, events: list[Event]) -> Iterator[BootServer]:
    settings = Settings(("lo",), {"snponly.efi": files / "loader"}, ports=ANY, tftp_root=files)
    with serving(BootServer(settings, for_one_image(make_image()), events.append)) as running_server:
        yield running_server


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_http_and_tftp_answer(served: BootServer, files: Path, events: list[Event], tmp_path: Path) -> None:
    with urllib.request.urlopen(f"http://127.0.0.1:{served.bound.http}/boot.ipxe") as answer:
        assert answer.read().startswith(b"#!ipxe")
    tftpy_get(served.bound.tftp, "autoexec.ipxe", tmp_path / "auto")
    assert f"http://127.0.0.1:{served.bound.http}/boot.ipxe" in (tmp_path / "auto").read_text()
    until(lambda: "done" in [event.name for event in events])
    done = next(event for event in events if event.name == "done")
    assert (done.source, done.data["file"]) == ("tftp", "autoexec.ipxe")
    assert done.time > 0 < done.monotonic


def test_stopping_leaves_nothing_bound(make_image: ImageMaker) -> None:
    server = BootServer(Settings(("lo",), {}, ports=ANY), for_one_image(make_image()))
    with serving(server):
        ports = server.bound
    for port in (ports.dhcp, ports.boot, ports.tftp):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as again:
            again.bind(("127.0.0.1", port))
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", ports.http))


@pytest.mark.parametrize("taken", ["dhcp", "boot", "tftp", "http"])
def test_a_port_in_use_stops_it_with_nothing_left_bound(make_image: ImageMaker, taken: str) -> None:
    kind = socket.SOCK_STREAM if taken == "http" else socket.SOCK_DGRAM
    with socket.socket(socket.AF_INET, kind) as first:
        first.bind(("127.0.0.1", 0))
        if taken == "http":
            first.listen()
        port = first.getsockname()[1]
        ports = Ports(**{"dhcp": 0, "boot": 0, "tftp": 0, "http": 0, taken: port})
        server = BootServer(Settings(("lo",), {}, ports=ports), for_one_image(make_image()))
        with pytest.raises(NetworkError, match=rf"port {port} is in use by "), serving(server):
            raise AssertionError
        assert not server._ports


def test_a_missing_interface(make_image: ImageMaker) -> None:
    server = BootServer(Settings(("lo", "eth99"), {}, ports=ANY), for_one_image(make_image()))
    with pytest.raises(NotFoundError, match="eth99"), serving(server):
        raise AssertionError


def test_a_changed_configuration_is_taken_over_and_a_bad_one_is_not(
        make_image: ImageMaker, tmp_path: Path, events: list[Event], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_WATCH_SECONDS", 0.01)
    make_image("one")
    make_image("two")
    file = tmp_path / "machines.yml"
    file.write_text("default: {image: one}")
    with serving(BootServer(Settings(("lo",), {}, ports=ANY), from_file(file), events.append, file)) as server:
        def script() -> str:
            url = f"http://127.0.0.1:{server.bound.http}/machine.ipxe?arch=x86_64"
            with urllib.request.urlopen(url) as answer:
                return str(answer.read(), "utf-8")

        def told(name: str) -> bool:
            return name in [event.name for event in events if event.stage == "config"]

        assert "/images/one/kernel" in script()
        file.write_text("default: {imag: one}")
        until(lambda: told("refused"))
        assert "/images/one/kernel" in script()
        assert "machines.yml:1:11" in next(event.detail for event in events if event.name == "refused")
        file.write_text("default: {image: two}")
        until(lambda: told("reloaded"))
        assert "/images/two/kernel" in script()


def test_floods_are_told_once_a_second(make_image: ImageMaker, events: list[Event]) -> None:
    server = BootServer(Settings(("lo",), {}, ports=ANY), for_one_image(make_image()), events.append)
    for _ in range(1000):
        server.tell(Event("dhcp", "dhcp", "malformed"))
    server.tell(Event("dhcp", "dhcp", "offer"))
    assert [event.name for event in events] == ["malformed", "offer"]


def test_a_network_too_small_for_a_pool(make_image: ImageMaker, monkeypatch: pytest.MonkeyPatch,
                                        tmp_path: Path) -> None:
    def refuse(_interface: object) -> None:
        raise InputError("too small")

    monkeypatch.setattr(module, "own_subnet", refuse)
    settings = Settings(("lo",), {}, "full", ANY, leases=tmp_path / "leases.db")
    with pytest.raises(InputError), serving(BootServer(settings, for_one_image(make_image()))):
        raise AssertionError


def tftpy_get(port: int, name: str, target: Path, **options: int) -> None:
    # In a process of its own: it leaves its socket open.
    code = f"import tftpy; tftpy.TftpClient('127.0.0.1', {port}, {options}).download({name!r}, {str(target)!r})"
    subprocess.run([sys.executable, "-c", code], check=True)


def curl(port: int, name: str, target: Path, *options: str) -> int:
    argv = ["curl", "-sS", "--max-time", "120", *options, "-o", str(target), f"tftp://127.0.0.1:{port}/{name}"]
    return subprocess.run(argv, check=False, stderr=subprocess.DEVNULL).returncode


def atftp(port: int, name: str, target: Path, *options: str) -> int:
    argv = ["atftp", *options, "--get", "-r", name, "-l", str(target), "127.0.0.1", str(port)]
    return subprocess.run(argv, check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode


def tftp_hpa(port: int, name: str, target: Path, mode: str = "binary") -> int:
    argv = ["tftp", "-m", mode, "127.0.0.1", str(port), "-c", "get", name, str(target)]
    return subprocess.run(argv, check=False, stdout=subprocess.DEVNULL).returncode


@pytest.mark.tool
@pytest.mark.parametrize("name", SIZES)
def test_every_client_gets_every_file(served: BootServer, files: Path, tmp_path: Path, name: str) -> None:
    port, want = served.bound.tftp, (files / name).read_bytes()
    got = tmp_path / "got"
    plain = ("--tftp-no-options",)
    for options in ((), ("--tftp-blksize", "1428"), ("--tftp-blksize", "65464"), plain) if want else (plain,):
        # curl refuses a tsize of 0, which is an empty file's.
        got.unlink(missing_ok=True)
        assert curl(port, name, got, *options) == 0, options
        assert (got.read_bytes() if got.exists() else b"") == want
    for option in ((), ("--option", "windowsize 16", "--option", "blksize 1428"), ("--option", "windowsize 64")):
        got.unlink(missing_ok=True)
        assert atftp(port, name, got, *option) == 0
        assert got.read_bytes() == want, option
    got.unlink()
    assert tftp_hpa(port, name, got) == 0
    assert got.read_bytes() == want
    tftpy_get(port, name, got, blksize=1024)
    assert got.read_bytes() == want


@pytest.mark.tool
def test_netascii_as_tftp_hpa_reads_it(served: BootServer, files: Path, tmp_path: Path) -> None:
    text = "one\ntwo\r\n\rthree\n" * 500
    (files / "text").write_bytes(text.encode())
    assert tftp_hpa(served.bound.tftp, "text", tmp_path / "got", "ascii") == 0
    assert (tmp_path / "got").read_bytes() == text.encode()


@pytest.mark.tool
def test_refusals_reach_the_client(served: BootServer, tmp_path: Path) -> None:
    for name in ("none", "escape", "..%2f..%2fetc/hostname", "%2fetc%2fhostname"):
        assert curl(served.bound.tftp, name, tmp_path / "got") in (68, 69), name  # curl: not found, no permission
    put = ["curl", "-sS", "-T", "/etc/hostname", f"tftp://127.0.0.1:{served.bound.tftp}/x"]
    assert subprocess.run(put, check=False, stderr=subprocess.DEVNULL).returncode == 69


@pytest.mark.tool
def test_forty_at_once(served: BootServer, files: Path, tmp_path: Path) -> None:
    def fetch(number: int) -> bytes:
        got = tmp_path / f"got{number}"
        assert curl(served.bound.tftp, "loader", got, "--tftp-blksize", "1428") == 0
        return got.read_bytes()

    with ThreadPoolExecutor(40) as pool:
        assert set(pool.map(fetch, range(40))) == {(files / "loader").read_bytes()}


@pytest.mark.tool
@pytest.mark.parametrize(("loss", "duplication", "delay"), [(0.05, 0, 0), (0.1, 0, 0.0005)])
def test_real_clients_over_a_bad_wire(served: BootServer, files: Path, tmp_path: Path, loss: float,
                                      duplication: float, delay: float) -> None:
    want = (files / "loader").read_bytes()
    with running(Relay(("127.0.0.1", served.bound.tftp), 7, loss, duplication, delay)) as relay:
        got = tmp_path / "got"
        assert curl(relay.port, "loader", got, "--tftp-blksize", "1428") == 0
        assert got.read_bytes() == want
        got.unlink()
        assert atftp(relay.port, "loader", got, "--option", "windowsize 16", "--option", "blksize 1428") == 0
        assert got.read_bytes() == want
        assert relay.dropped > 5


@pytest.mark.tool
def test_full_dhcp_as_scapy_sees_it(tmp_path: Path, make_image: ImageMaker) -> None:
    run_inside("full_dhcp", str(make_image()), str(tmp_path))


@pytest.mark.tool
def test_leases_survive_kill_9(tmp_path: Path, make_image: ImageMaker) -> None:
    run_inside("killed_server", str(make_image()), str(tmp_path))
