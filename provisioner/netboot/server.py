"""The boot server: DHCP or proxyDHCP, TFTP and HTTP on some interfaces, on one asyncio loop.

Everything that it does is an event to ``sink``. ``serving`` runs it in a thread, for programs that do other things.
"""

from __future__ import annotations

import asyncio
import contextlib
import resource
import threading
import time
from collections.abc import Coroutine, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from aiohttp import web

from provisioner.errors import PrivilegeError, ProvisionerError
from provisioner.model.event import Event, Sink, discard
from provisioner.netboot import network
from provisioner.netboot.booter import Booter
from provisioner.netboot.decide import Decider
from provisioner.netboot.files import Tree
from provisioner.netboot.http import BootHttp
from provisioner.netboot.leases import LeaseStore
from provisioner.netboot.network import Interface
from provisioner.netboot.probe import other_server
from provisioner.netboot.scripts import render
from provisioner.netboot.settings import Ports, Settings, own_subnet, reload
from provisioner.netboot.sockets import DhcpPort, TftpPort
from provisioner.netboot.solicitation import SolicitationPort, open_port
from provisioner.protocols.dhcp import FullServer, ProxyServer
from provisioner.protocols.dhcp_pool import Pool
from provisioner.protocols.tftp import Content, Limits, Opener, Text, TftpServer, Transfer, clean_name
from provisioner.protocols.tftp_packet import Code, TftpError

_WATCH_SECONDS = 1.0
_IP_UDP_TFTP = 32  # header bytes in front of a block
_FLOODS = {"malformed", "busy", "ignored", "exhausted"}  # told once a second, however often they happen


@dataclass(slots=True)
class BootServer:
    """One boot server. ``watch`` is the configuration file that is read again when it changes."""

    settings: Settings
    decider: Decider
    sink: Sink = discard
    watch: Path | None = None
    _booter: Booter = field(init=False)
    _ports: list[DhcpPort | TftpPort | SolicitationPort] = field(default_factory=list)
    _pool: Pool | None = None
    _store: LeaseStore | None = None
    _runner: web.AppRunner | None = None
    _watcher: asyncio.Task[None] | None = None
    _told: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Make the one place that all protocols ask."""
        self._booter = Booter(self.decider, self.settings.loaders, self.settings.ports.http, self.tell)

    async def start(self) -> None:
        """Bind everything and begin to serve; raises ProvisionerError and leaves nothing bound when it cannot."""
        _raise_file_limit()
        try:
            interfaces = [network.interface(name) for name in self.settings.interfaces]
            for interface in interfaces:
                self._bind_tftp(interface)
                await self._bind_dhcp(interface)
            await self._bind_http(interfaces)
        except BaseException:
            await self.stop()
            raise
        loop = asyncio.get_running_loop()
        for port in self._ports:
            port.start(loop)
        if self.watch is not None:
            self._watcher = asyncio.create_task(self._watching(self.watch))

    async def stop(self) -> None:
        """Stop serving and close everything; may be called twice."""
        loop = asyncio.get_running_loop()
        if self._watcher is not None:
            self._watcher.cancel()
            self._watcher = None
        while self._ports:
            self._ports.pop().stop(loop)
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None
        if self._store is not None:
            self._store.close()
            self._store = None

    @property
    def bound(self) -> Ports:
        """The ports in use, once started: of the first interface, where the settings leave the choice (0)."""
        found = {port.name: port.opened.getsockname()[1] for port in reversed(self._ports)}
        return Ports(found.get("dhcp", 0), found.get("boot", 0), found.get("tftp", 0), self._booter.http_port)

    async def run(self) -> None:
        """Serve until cancelled."""
        await self.start()
        try:
            await asyncio.Event().wait()
        finally:
            await self.stop()

    def tell(self, event: Event) -> None:
        """Pass an event on with its time, and the machine where only an address was known."""
        now = time.monotonic()
        if event.name in _FLOODS:
            if now - self._told.get(event.name, -1.0) < 1.0:
                return
            self._told[event.name] = now
        machine = event.machine or self.mac_of(str(event.data.get("address", "")))
        self.sink(replace(event, machine=machine, time=time.time(), monotonic=now))

    def mac_of(self, address: str) -> str:
        """Return the MAC of a client by its address, ``""`` if nobody knows."""
        return (self._booter.mac_of(address) or network.neighbour(address)) if address else ""

    async def _bind_dhcp(self, interface: Interface) -> None:
        mode, other = self.settings.mode, ""
        if mode == "auto":
            other = await other_server(interface)
            mode = "proxy" if other else "full"
        ports = self.settings.ports
        if mode == "full":
            server = FullServer(interface.ip, self._pooled(interface), self._booter.choose)
            opened = network.udp_socket(ports.dhcp, interface.name, broadcast=True)
            self._ports.append(DhcpPort(opened, server.receive, self._leases().save, self.tell, "dhcp"))
            self._bind_solicitation(interface)
        else:
            proxy = ProxyServer(interface.ip, self._booter.choose)
            opened = network.udp_socket(ports.dhcp, interface.name, broadcast=True)
            self._ports.append(DhcpPort(opened, proxy.receive, _no_leases, self.tell, "dhcp"))
            boot = network.udp_socket(ports.boot, interface.name)
            self._ports.append(DhcpPort(boot, proxy.receive_boot, _no_leases, self.tell, "boot"))
        beside = f" beside the DHCP server {other}" if other else ""
        detail = f"{interface.name} {interface.address}, mode {mode}{beside}"
        self.tell(Event("netboot", "serve", "interface", detail=detail))

    def _bind_solicitation(self, interface: Interface) -> None:
        try:
            self._ports.append(open_port(interface.name))
        except (PrivilegeError, OSError) as error:
            detail = f"IPv6 router solicitations on {interface.name} stay unanswered, iPXE will wait longer: {error}"
            self.tell(Event("netboot", "serve", "no-ipv6", detail=detail))

    def _bind_tftp(self, interface: Interface) -> None:
        opened = network.udp_socket(self.settings.ports.tftp, interface.name)
        server = TftpServer(self._opener(interface), Limits(block=min(interface.mtu - _IP_UDP_TFTP, 65_464)))
        self._ports.append(TftpPort(server, opened, interface.name, self.tell, self._transferred))

    async def _bind_http(self, interfaces: list[Interface]) -> None:
        http = BootHttp(self._booter, self.mac_of, self.tell)
        self._runner = web.AppRunner(http.application(), access_log=None, handle_signals=False, shutdown_timeout=1.0)
        await self._runner.setup()
        port = self.settings.ports.http
        for interface in interfaces:
            try:
                await web.TCPSite(self._runner, str(interface.ip), port).start()
                self._booter.http_port = port = port or self._runner.addresses[0][1]
            except OSError as error:
                raise network.bind_error(error, "tcp", port) from error

    def _pooled(self, interface: Interface) -> Pool:
        """Return the one pool of all interfaces, with this interface's own network if none is configured for it."""
        if self._pool is None:
            self._pool = Pool(self.settings.subnets, self.decider.reservations())
            self._pool.load(self._leases().load())
        if self._pool.subnet(interface.ip) is None:
            self._pool.subnets += (own_subnet(interface),)
        routers = {subnet.router for subnet in self._pool.subnets if subnet.router}
        self._pool.taken |= {interface.ip, *routers}
        return self._pool

    def _leases(self) -> LeaseStore:
        if self._store is None:
            self._store = LeaseStore(self.settings.leases)
        return self._store

    def _opener(self, interface: Interface) -> Opener:
        tree = Tree(self.settings.loaders, self.settings.tftp_root)

        def opened(name: str, _client: str) -> Content:
            try:
                if name == "autoexec.ipxe":
                    return Text(render("ipxe/autoexec.ipxe", server=self._booter.url(interface.ip)))
                return tree.open(name)
            except FileNotFoundError:
                raise TftpError(Code.NOT_FOUND, "not found") from None
            except OSError:
                raise TftpError(Code.ACCESS, "not served") from None
        return opened

    def _transferred(self, transfer: Transfer) -> None:
        self._booter.loaded(self.mac_of(transfer.peer[0]), clean_name(transfer.request.name))

    async def _watching(self, path: Path) -> None:
        """Read the configuration again when the file changes; a bad one is told of and not used."""
        seen = _stamp(path)
        while True:
            await asyncio.sleep(_WATCH_SECONDS)
            if (stamp := _stamp(path)) == seen:
                continue
            seen = stamp
            decider, problem = reload(path)
            if decider is None:
                self.tell(Event("netboot", "config", "refused", str(path), f"the old one stays: {problem}"))
                continue
            self._booter.decider = decider
            if self._pool is not None:
                self._pool.reservations = decider.reservations()
            self.tell(Event("netboot", "config", "reloaded", detail=str(path)))


@contextlib.contextmanager
def serving(server: BootServer) -> Iterator[BootServer]:
    """Run a server in a thread of its own while the context lasts; raises what `BootServer.start` raises.

    The thread has the network namespace of the thread that calls.
    """
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="boot server", daemon=True)
    thread.start()

    def wait(work: Coroutine[Any, Any, None]) -> None:
        future: Future[None] = asyncio.run_coroutine_threadsafe(work, loop)
        future.result()

    try:
        wait(server.start())
        try:
            yield server
        finally:
            wait(server.stop())
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def run(server: BootServer) -> None:
    """Serve in this thread until KeyboardInterrupt, which is raised again when all is closed."""
    asyncio.run(server.run())


def _stamp(path: Path) -> tuple[int, int, int]:
    try:
        status = path.stat()
    except OSError:
        return 0, 0, 0
    return status.st_mtime_ns, status.st_size, status.st_ino


def _raise_file_limit() -> None:
    # Every transfer has a socket; the usual soft limit of 1024 open files is below what the server may have.
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 8192 if hard == resource.RLIM_INFINITY else min(8192, hard)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _no_leases(_leases: object) -> None:
    raise ProvisionerError("a proxyDHCP server gives no leases")
