"""A rack in a box: the boot server and one machine, in a network namespace of their own.

The machine's firmware has nothing but a network card. It gets an address, a boot loader, a kernel and an initrd from
the boot server, exactly as on a wire; its console is shown as it happens, and everything that was seen becomes one
timeline. Nothing of the host's network is touched; when this process ends, all of it is gone.
"""

from __future__ import annotations

import http.client
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from pathlib import Path

from provisioner.console.capture import Capture
from provisioner.console.log import RawLog
from provisioner.console.port import SocketPort
from provisioner.console.stages import load
from provisioner.console.timeline import Timeline
from provisioner.errors import NetworkError
from provisioner.model.event import Event, Sink
from provisioner.netboot import lab
from provisioner.netboot.server import BootServer, serving
from provisioner.netboot.settings import Settings, for_one_image
from provisioner.protocols.dhcp_pool import Subnet
from provisioner.providers.qemu import Disk, Machine, MachineOptions, Network

ADDRESS = IPv4Address("10.99.0.100")
_PROBE_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Probe:
    """An HTTP resource of the machine that answers when it is healthy: ``2375/info``."""

    port: int
    path: str

    @classmethod
    def parse(cls, text: str) -> Probe:
        """Read ``PORT/PATH``; raise ValueError for anything else."""
        port, _, path = text.partition("/")
        return cls(int(port), "/" + path)


@dataclass(frozen=True, slots=True)
class Plan:
    """What to boot and how to look at it.

    ``publish`` pairs ports of the host's 127.0.0.1 with ports of the machine. ``memory`` and ``timeout`` count MiB
    and seconds; ``disk`` counts bytes, 0 for none.
    """

    image: Path
    loaders: Mapping[str, Path]
    publish: tuple[tuple[int, int], ...] = ()
    probe: Probe | None = None
    uefi: bool = False
    cpus: int = 1
    memory: int = 2048
    disk: int = 4 << 30
    log: Path | None = None
    timeout: float = 600.0


@dataclass(slots=True)
class Running:
    """A machine that came up. ``ports`` maps ports of the host's 127.0.0.1 to ports of the machine."""

    machine: Machine
    capture: Capture
    timeline: Timeline
    ports: Mapping[int, int]
    address: str = str(ADDRESS)


@dataclass(slots=True)
class Rack:
    """The rack: enter it, and the machine is up and healthy; leave it, and nothing is left.

    ``watch`` gets the console's bytes as they come, ``sink`` every event. Enter it in the main thread of a process
    that has no other thread yet (see ``netboot.lab``).
    """

    plan: Plan
    watch: Callable[[bytes], None]
    sink: Sink
    timeline: Timeline = field(default_factory=Timeline)
    _stack: ExitStack = field(default_factory=ExitStack)

    def __enter__(self) -> Running:
        """Start everything and wait until the machine is healthy.

        Raises ProvisionerError with the console's last lines when the machine panics, ends, or takes too long;
        PrivilegeError, NetworkError and ToolMissingError when the rack cannot be built.
        """
        try:
            return self._start()
        except BaseException:
            self._stack.close()
            raise

    def __exit__(self, *_: object) -> None:
        """Pull the plug and take the rack down."""
        self._stack.close()

    def _start(self) -> Running:
        enter = self._stack.enter_context
        forwards = {host: (str(ADDRESS), port) for host, port in self.plan.publish}
        inside = enter(lab.entered(lab.Lab(taps=1, forwards=forwards)))
        state = Path(enter(tempfile.TemporaryDirectory(prefix="provisioner-demo-")))
        enter(serving(self._server(inside.plan, state)))
        machine = enter(Machine(self._options(inside.plan, state), sink=self._tell))
        capture = self._console(machine)
        ports = {inside.ports[host]: port for host, port in self.plan.publish}
        deadline = time.monotonic() + self.plan.timeout
        capture.wait("healthy", timeout=self.plan.timeout)
        if self.plan.probe:
            self._ask(self.plan.probe, deadline)
        return Running(machine, capture, self.timeline, ports)

    def _server(self, plan: lab.Lab, state: Path) -> BootServer:
        subnet = Subnet(plan.address.network, ((ADDRESS, ADDRESS),))
        settings = Settings(interfaces=(plan.bridge,), loaders=self.plan.loaders, mode="full", subnets=(subnet,),
                            leases=state / "leases.db")
        return BootServer(settings, for_one_image(self.plan.image), self._tell)

    def _options(self, plan: lab.Lab, state: Path) -> MachineOptions:
        disks = (Disk(state / "disk.img", self.plan.disk),) if self.plan.disk else ()
        return MachineOptions(boot="net", name=self.plan.image.name, arch="amd64", uefi=self.plan.uefi,
                              cpus=self.plan.cpus, memory=self.plan.memory, network=Network("tap", plan.tap()),
                              disks=disks, state=state)

    def _console(self, machine: Machine) -> Capture:
        log = RawLog(self.plan.log) if self.plan.log else None
        capture = Capture(SocketPort(machine.connect(), "console"), log=log, stages=load(), sink=self._tell,
                          watch=self.watch, machine=machine.options.name)
        capture.start()
        self._stack.callback(capture.stop)
        return capture

    def _ask(self, probe: Probe, deadline: float) -> None:
        """Ask the machine until it answers well; raise NetworkError when ``deadline`` (monotonic) has passed."""
        answer = "nothing"
        while time.monotonic() < deadline:
            connection = http.client.HTTPConnection(str(ADDRESS), probe.port, timeout=_PROBE_SECONDS)
            try:
                connection.request("GET", probe.path)
                status = connection.getresponse().status
            except (OSError, http.client.HTTPException) as error:
                answer = str(error)
                time.sleep(0.2)
                continue
            finally:
                connection.close()
            if status == http.client.OK:
                detail = f"http://{ADDRESS}:{probe.port}{probe.path} answers"
                self._tell(Event("demo", "healthy", str(probe.port), detail=detail, time=time.time(),
                                 monotonic=time.monotonic()))
                return
            answer = f"HTTP status {status}"
            time.sleep(0.2)
        raise NetworkError(f"the machine is up, but http://{ADDRESS}:{probe.port}{probe.path} answered {answer} "
                           f"within {self.plan.timeout:g} s", hint="look at the service's log on its console")

    def _tell(self, event: Event) -> None:
        self.timeline(event)
        self.sink(event)
