"""The boot server's HTTP: scripts made per machine, and files with HEAD, Range, ETag, keep-alive and sendfile.

    /boot.ipxe                     the first script; makes iPXE tell who it is
    /machine.ipxe?mac=…&uuid=…     the machine's script
    /images/NAME/kernel|initrd.img  an image's files
    /loaders/FILE                  iPXE for UEFI HTTP boot, and its autoexec.ipxe

Files always go with Content-Length, never chunked: firmware wants that. Addresses in scripts are those of the socket
that the request came to, never the Host header's.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter

from provisioner.model.event import Event, Sink
from provisioner.model.machine import Machine
from provisioner.netboot.booter import Booter
from provisioner.netboot.scripts import render

_SCRIPT_TYPE = "text/plain"
_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")
_ARCHES = {"x86_64": "amd64", "i386": "amd64", "arm64": "arm64"}  # ${buildarch}; iPXE for BIOS is built as i386
MacFinder = Callable[[str], str]


class _File(web.FileResponse):
    """A file that tells how long it took to send, None if the client went away."""

    def __init__(self, path: Path, sent: Callable[[web.FileResponse, float | None], None]) -> None:
        super().__init__(path, headers={"Content-Type": "application/octet-stream"})
        self._sent = sent

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        """Send the file; aiohttp calls this."""
        started = time.monotonic()
        try:
            writer = await super().prepare(request)
        except (ConnectionError, asyncio.CancelledError):
            self._sent(self, None)
            raise
        self._sent(self, time.monotonic() - started)
        return writer


class BootHttp:
    """The handlers; `application` returns them as an aiohttp application."""

    def __init__(self, booter: Booter, mac_of: MacFinder, sink: Sink) -> None:
        self._booter, self._mac_of, self._sink = booter, mac_of, sink

    def application(self) -> web.Application:
        """Return the application with all routes; everything else is a quick 404."""
        app = web.Application(middlewares=[self._quick], client_max_size=1024)
        app.router.add_get("/boot.ipxe", self._first)
        app.router.add_get("/autoexec.ipxe", self._autoexec)
        app.router.add_get("/machine.ipxe", self._machine)
        app.router.add_get("/images/{image}/{role}", self._image)
        app.router.add_get("/loaders/autoexec.ipxe", self._autoexec)
        app.router.add_get("/loaders/{file}", self._loader)
        return app

    @web.middleware
    async def _quick(self, request: web.Request,
                     handler: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> web.StreamResponse:
        try:
            return await handler(request)
        except web.HTTPException as refusal:
            self._tell(request, "missing" if refusal.status == 404 else "refused", request.path,
                       status=refusal.status)
            refusal.headers["Server"] = "provisioner"
            raise

    async def _first(self, request: web.Request) -> web.StreamResponse:
        self._tell(request, "script", request.path)
        return self._script("ipxe/boot.ipxe", server=self._server(request))

    async def _autoexec(self, request: web.Request) -> web.StreamResponse:
        return self._script("ipxe/autoexec.ipxe", server=self._server(request))

    async def _machine(self, request: web.Request) -> web.StreamResponse:
        machine = self._who(request)
        spec = self._booter.decide(machine)
        name = machine.mac or machine.address
        if spec is None:
            self._tell(request, "nothing", self._booter.decider.refusal(machine))
            return self._script("ipxe/nothing.ipxe", machine=name)
        self._tell(request, "script", f"{spec.image} by rule {spec.rule}", image=spec.image, rule=spec.rule)
        server = self._server(request)
        base = f"{server}/images/{spec.image}"
        return self._script("ipxe/machine.ipxe", server=server, machine=name, image=spec.image, rule=spec.rule,
                            kernel=f"{base}/kernel", initrds=[f"{base}/initrd.img"], cmdline=spec.cmdline)

    async def _image(self, request: web.Request) -> web.StreamResponse:
        image = self._booter.decider.images.get(request.match_info["image"])
        role = request.match_info["role"]
        path = {"kernel": image.kernel, "initrd.img": image.initrd}.get(role) if image else None
        return await self._file(request, path, role.removesuffix(".img"))

    async def _loader(self, request: web.Request) -> web.StreamResponse:
        name = request.match_info["file"]
        return await self._file(request, self._booter.loaders.get(name), name)

    async def _file(self, request: web.Request, path: Path | None, name: str) -> web.StreamResponse:
        if path is None or not path.is_file():
            raise web.HTTPNotFound(text="not found\n")
        if request.method == "HEAD":
            return _File(path, lambda _response, _seconds: None)
        self._tell(request, f"{name}-start")

        def sent(response: web.FileResponse, seconds: float | None) -> None:
            if seconds is None:
                self._tell(request, "aborted", name)
                return
            self._tell(request, name, "", bytes=response.content_length or 0, seconds=round(seconds, 3),
                       status=response.status)
        return _File(path, sent)

    def _script(self, template: str, **values: object) -> web.Response:
        return web.Response(body=render(template, **values), content_type=_SCRIPT_TYPE)

    def _who(self, request: web.Request) -> Machine:
        """Read what iPXE says about its machine; what does not look like it should is left out."""
        query = request.query
        mac = query.get("mac", "").lower().replace("-", ":")
        return Machine(mac if _MAC.fullmatch(mac) else "", query.get("uuid", "").lower()[:36],
                       query.get("serial", "")[:64], _ARCHES.get(query.get("arch", ""), ""),
                       "bios" if query.get("platform") == "pcbios" else query.get("platform", "")[:8].lower(),
                       request.remote or "", query.get("name", "").lower()[:64])

    def _server(self, request: web.Request) -> str:
        transport = request.transport
        address = transport.get_extra_info("sockname")[0] if transport else "127.0.0.1"
        return self._booter.url(address)

    def _tell(self, request: web.Request, name: str, detail: str = "", **figures: object) -> None:
        address = request.remote or ""
        self._sink(Event("http", "http", name, self._mac_of(address), detail,
                         data={"address": address, "path": request.path} | figures))
