"""HTTP as firmware, iPXE and curl use it, on loopback."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Awaitable, Callable
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from provisioner.model.event import Event
from provisioner.netboot.booter import Booter
from provisioner.netboot.http import BootHttp
from provisioner.netboot.settings import for_one_image
from tests.netboot.conftest import ImageMaker

INITRD = bytes(range(256)) * 4096  # 1 MiB
Asking = Callable[[aiohttp.ClientSession, str], Awaitable[None]]


class Served:
    """Runs one conversation with a server; ``events`` are what it told."""

    def __init__(self, base: Path, loader: Path) -> None:
        self.events: list[Event] = []
        self.booter = Booter(for_one_image(base), {"snponly.efi": loader}, sink=self.events.append)

    def run(self, asking: Asking) -> None:
        asyncio.run(self._run(asking))

    async def _run(self, asking: Asking) -> None:
        http = BootHttp(self.booter, lambda _address: "52:54:00:00:00:01", self.events.append)
        runner = web.AppRunner(http.application(), access_log=None)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.booter.http_port = runner.addresses[0][1]
        url = f"http://127.0.0.1:{self.booter.http_port}"
        try:
            async with aiohttp.ClientSession() as session:
                await asking(session, url)
        finally:
            await runner.cleanup()

    @property
    def names(self) -> list[str]:
        return [event.name for event in self.events]


@pytest.fixture
def served(make_image: ImageMaker, tmp_path: Path) -> Served:
    loader = tmp_path / "snponly.efi"
    loader.write_bytes(b"MZ" * 500)
    return Served(make_image(initrd=INITRD), loader)


def test_the_scripts(served: Served) -> None:
    async def asking(session: aiohttp.ClientSession, url: str) -> None:
        async with session.get(f"{url}/boot.ipxe", headers={"Host": "evil.example"}) as answer:
            text = await answer.text()
        assert f"chain --replace {url}/machine.ipxe?mac=" in text, "the Host header must not get into scripts"
        query = "mac=52-54-00-00-00-01&uuid=X&serial=SN%201&name=Web1&arch=i386&platform=pcbios"
        async with session.get(f"{url}/machine.ipxe?{query}") as answer:
            text = await answer.text()
        assert text.startswith("#!ipxe\n# 52:54:00:00:00:01 boots docker by rule default\n")
        assert f"kernel {url}/images/docker/kernel console=ttyS0 || goto failed\n" in text
        assert f"initrd {url}/images/docker/initrd.img || goto failed\n" in text

    served.run(asking)
    assert served.names == ["script", "script"]
    assert served.booter.mac_of("127.0.0.1") == "52:54:00:00:00:01"


@pytest.mark.parametrize("query", ["", "mac=%0Achain&arch=x86_64", "mac=${net0}&uuid=%0A%0D",
                                   "arch=arm64&serial=a%0Ab",
                                   "mac=52-54-00-00-00-01&uuid=" + "x" * 3000])
def test_what_a_machine_says_never_gets_into_its_script(served: Served, query: str) -> None:
    async def asking(session: aiohttp.ClientSession, url: str) -> None:
        async with session.get(f"{url}/machine.ipxe?{query}") as answer:
            assert answer.status == 200
            text = await answer.text()
        assert "${" not in text
        assert len(text.splitlines()) in (4, 11)

    served.run(asking)


def test_another_architecture_boots_nothing(served: Served) -> None:
    async def asking(session: aiohttp.ClientSession, url: str) -> None:
        async with session.get(f"{url}/machine.ipxe?mac=52-54-00-00-00-01&arch=arm64") as answer:
            assert (await answer.text()).endswith("exit 1\n")

    served.run(asking)
    assert served.events[0].name == "nothing"
    assert "for amd64" in served.events[0].detail


def test_files_with_length_range_and_etag(served: Served) -> None:
    async def asking(session: aiohttp.ClientSession, url: str) -> None:
        file = f"{url}/images/docker/initrd.img"
        async with session.head(file) as answer:
            assert (answer.status, answer.headers["Content-Length"]) == (200, str(len(INITRD)))
            tag = answer.headers["ETag"]
        async with session.get(file) as answer:
            assert await answer.read() == INITRD
            assert "Transfer-Encoding" not in answer.headers
        async with session.get(file, headers={"Range": "bytes=1000-1999"}) as answer:
            assert (answer.status, await answer.read()) == (206, INITRD[1000:2000])
            assert answer.headers["Content-Range"] == f"bytes 1000-1999/{len(INITRD)}"
        async with session.get(file, headers={"Range": "bytes=-5"}) as answer:
            assert await answer.read() == INITRD[-5:]
        async with session.get(file, headers={"Range": "bytes=99999999-"}) as answer:
            assert answer.status == 416
        async with session.get(file, headers={"If-None-Match": tag}) as answer:
            assert answer.status == 304
        async with session.get(f"{url}/loaders/snponly.efi") as answer:
            assert await answer.read() == b"MZ" * 500

    served.run(asking)
    done = [event for event in served.events if event.name == "initrd"]
    assert [event.data["bytes"] for event in done[:3]] == [len(INITRD), 1000, 5]
    assert done[0].machine == "52:54:00:00:00:01"
    assert done[0].data["seconds"] >= 0


@pytest.mark.parametrize("path", ["/", "/images/docker/", "/images/none/kernel", "/images/docker/cmdline",
                                  "/images/../kernel", "/images/%2e%2e/kernel", "/loaders/..%2fdocker-kernel",
                                  "/loaders/none.efi", "/images/docker%00/kernel", "//etc/passwd"])
def test_everything_else_is_not_found(served: Served, path: str) -> None:
    async def asking(_session: aiohttp.ClientSession, url: str) -> None:
        port = url.rpartition(":")[2]
        reader, writer = await asyncio.open_connection("127.0.0.1", int(port))
        writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        status = await reader.readline()
        writer.close()
        assert b" 404 " in status or b" 400 " in status

    served.run(asking)


def test_many_requests_on_one_connection(served: Served) -> None:
    async def asking(_session: aiohttp.ClientSession, url: str) -> None:
        connector = aiohttp.TCPConnector(limit=1)
        async with aiohttp.ClientSession(connector=connector) as session:
            for _ in range(20):
                async with session.get(f"{url}/images/docker/kernel") as answer:
                    assert len(await answer.read()) == 4096
                    assert answer.headers.get("Connection", "keep-alive") == "keep-alive"

    served.run(asking)
    assert served.names.count("kernel") == 20


def test_a_client_that_goes_away(served: Served, tmp_path: Path) -> None:
    huge = tmp_path / "docker-initrd.img"
    with huge.open("wb") as file:
        file.truncate(1 << 30)

    async def asking(_session: aiohttp.ClientSession, url: str) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
        writer.write(b"GET /images/docker/initrd.img HTTP/1.1\r\nHost: x\r\n\r\n")
        await reader.readexactly(100_000)
        writer.transport.abort()
        while "aborted" not in served.names:
            await asyncio.sleep(0.01)

    served.run(asking)


@pytest.mark.tool
def test_curl_resumes(served: Served, tmp_path: Path) -> None:
    target = tmp_path / "got"
    target.write_bytes(INITRD[:100_000])

    async def asking(_session: aiohttp.ClientSession, url: str) -> None:
        argv = ["curl", "-sS", "--fail", "-C", "-", "-o", str(target), f"{url}/images/docker/initrd.img"]
        curl = await asyncio.create_subprocess_exec(*argv, stdout=subprocess.DEVNULL)
        assert await curl.wait() == 0

    served.run(asking)
    assert target.read_bytes() == INITRD
