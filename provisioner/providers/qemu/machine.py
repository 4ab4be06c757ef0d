"""A QEMU machine as one object: started paused, let go when its console is read, never left behind.

    with Machine(MachineOptions(kernel=…, initrd=…, cmdline="console=ttyS0", publish=(Publish(0, 2375),))) as machine:
        machine.wait_console(b"provisioner: services up", timeout=120)
        port = machine.ports[2375]

The console is a unix socket that takes one reader at a time; ``connect()`` returns it and powers the machine on at
the first call, so that no early byte is lost.
"""

from __future__ import annotations

import fcntl
import hashlib
import shutil
import socket
import tempfile
import time
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from provisioner import process
from provisioner.errors import NotFoundError, ProvisionerError, RefusedError
from provisioner.model.event import Event, Sink, discard
from provisioner.providers.qemu import accel, disks, firmware
from provisioner.providers.qemu.command import Plumbing, command
from provisioner.providers.qemu.options import Disk, MachineOptions, Publish
from provisioner.providers.qemu.qmp import Qmp, QmpError
from provisioner.providers.qemu.trouble import explain

_SOCKET_PATH_MAX = 107  # sun_path of unix(7), without its NUL
_ANSWER_TIME = 30.0


class Machine:
    """A machine in QEMU.

    ``console`` is the path of its console socket, ``state`` its directory, ``ports`` maps guest ports to the host's
    on 127.0.0.1, ``accel`` says how it runs and why, ``powered_on`` is the monotonic time of power-on or 0.
    """

    def __init__(self, options: MachineOptions, *, sink: Sink = discard) -> None:
        options.check()
        self.options = options
        self.sink = sink
        self.accel = accel.Accel("", "")
        self.powered_on = 0.0
        self.ports: dict[int, int] = {}
        self.state = Path()
        self.console = Path()
        self.transcript = bytearray()
        self._cleanup = ExitStack()
        self._child: process.Child | None = None
        self._qmp: Qmp | None = None
        self._reader: socket.socket | None = None
        self._seen = 0
        self._reason = ""

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self.stop()

    def start(self) -> None:
        """Start QEMU, paused before its first instruction.

        QEMU dies with the thread that calls this. Raises ToolMissingError, UsageError, NotFoundError (no such
        kernel), RefusedError (the state directory is in use), NetworkError (a published port is taken),
        PrivilegeError (tap or bridge), DeviceError (a disk).
        """
        try:
            self._start()
        except BaseException:
            self.stop()
            raise

    def _start(self) -> None:
        for file in (self.options.kernel, self.options.initrd, self.options.firmware):
            if file is not None and not file.is_file():
                raise NotFoundError(f"no file {file}")
        self.accel = accel.choose(self.options)
        self._emit("accel", self.accel.name, self.accel.reason)
        self.state = self._directory()
        ports = tuple(p if p.host else replace(p, host=free_port(p.protocol)) for p in self.options.publish)
        settled = [disks.prepare(disk, number, self.state) for number, disk in enumerate(self.options.disks)]
        flash = firmware.private(firmware.find(self.options.arch), self.state) if self._wants_uefi() else None
        self._launch(settled, ports, flash)
        self.ports = {port.guest: port.host for port in ports}

    def _wants_uefi(self) -> bool:
        # QEMU has no other firmware for arm64 that boots from network or disk.
        bare = self.options.arch == "arm64" and self.options.boot != "kernel" and self.options.firmware is None
        return self.options.uefi or bare

    def _directory(self) -> Path:
        """Return the state directory, locked; a temporary one is removed at the end."""
        if self.options.state is None:
            scratch = Path(tempfile.mkdtemp(prefix="provisioner-"))
            self._cleanup.callback(shutil.rmtree, scratch, ignore_errors=True)
            return scratch
        state = self.options.state.resolve()
        state.mkdir(parents=True, exist_ok=True)
        lock = self._cleanup.enter_context((state / "lock").open("a+"))
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise RefusedError(f"another machine runs in {state}", hint="choose another --state") from error
        return state

    def _launch(self, settled: list[Disk], ports: tuple[Publish, ...], flash: firmware.Firmware | None) -> None:
        sockets = self._socket_directory()
        self.console = sockets / "console.sock"
        console = self._listen(self.console)
        control = self._listen(sockets / "qmp.sock")
        log = self._cleanup.enter_context((self.state / "qemu.log").open("w+b"))
        plumbing = Plumbing(self.accel.name, self.mac, console.fileno(), control.fileno(), settled, ports, flash)
        self._child = process.spawn(command(self.options, plumbing), stdout=log, stderr=log, new_session=True,
                                    pass_fds=(console.fileno(), control.fileno()))
        # Only QEMU may hold the listening ends: a client then sees its death instead of waiting for ever.
        console.close()
        control.close()
        try:
            self._qmp = Qmp.connect(sockets / "qmp.sock", timeout=_ANSWER_TIME)
        except QmpError as error:
            self._child.wait(_ANSWER_TIME)
            raise explain(_text(log), self.options) from error

    def _socket_directory(self) -> Path:
        if len(str(self.state / "console.sock")) <= _SOCKET_PATH_MAX:
            return self.state
        scratch = Path(tempfile.mkdtemp(prefix="provisioner-"))
        self._cleanup.callback(shutil.rmtree, scratch, ignore_errors=True)
        return scratch

    def _listen(self, path: Path) -> socket.socket:
        path.unlink(missing_ok=True)
        self._cleanup.callback(path.unlink, missing_ok=True)
        listener = self._cleanup.enter_context(socket.socket(socket.AF_UNIX))
        listener.bind(str(path))
        path.chmod(0o600)
        listener.listen(1)
        return listener

    @property
    def mac(self) -> str:
        """The card's MAC address: as asked for, or one made from the state directory."""
        if self.options.mac:
            return self.options.mac.lower()
        digest = hashlib.sha256(str(self.state).encode()).digest()
        return "52:54:00:" + ":".join(f"{byte:02x}" for byte in digest[:3])

    @property
    def pid(self) -> int:
        """QEMU's process id, 0 when it is not started."""
        return self._child.pid if self._child else 0

    @property
    def running(self) -> bool:
        """Whether QEMU is there; a machine that shut down is gone."""
        return self._child is not None and self._child.poll() is None

    def connect(self) -> socket.socket:
        """Return a new connection to the console, and power the machine on if it is not yet.

        The caller closes it. Only one connection gets the bytes at a time.
        """
        reader = socket.socket(socket.AF_UNIX)
        try:
            reader.connect(str(self.console))
            self._await_reader()
        except OSError as error:
            reader.close()
            raise NotFoundError(f"{self.options.name} has no console any more: QEMU has ended") from error
        except ProvisionerError:
            reader.close()
            raise
        self.power_on()
        return reader

    def _await_reader(self) -> None:
        """Wait until QEMU has taken the console's connection; what is written before that is lost."""
        deadline = time.monotonic() + _ANSWER_TIME
        while time.monotonic() < deadline:
            devices = self._control().execute("query-chardev")
            if any(d["label"] == "console" and not d["filename"].startswith("disconnected:") for d in devices):
                return
            time.sleep(0.01)
        raise ProvisionerError("QEMU does not take the console's connection", hint="is another reader attached?")

    def power_on(self) -> None:
        """Let the machine go, also without a reader of its console; again: nothing happens."""
        if not self.powered_on:
            self.powered_on = time.monotonic()
            self._control().execute("cont")
            self._emit("power", "on")

    def wait_console(self, *markers: bytes, timeout: float) -> bytes:
        """Read the console until one of ``markers`` comes; return what came since the last marker, with this one.

        Everything ever read is in ``transcript``. Raises ProvisionerError with the console's last lines when
        ``timeout`` seconds are over or the machine ends before.
        """
        reader = self._own_reader()
        begin = searched = self._seen
        deadline = time.monotonic() + timeout
        overlap = max(map(len, markers)) - 1
        while True:
            ends = [at + len(m) for m in markers if (at := self.transcript.find(m, searched)) >= 0]
            if ends:
                self._seen = min(ends)
                return bytes(self.transcript[begin:self._seen])
            searched = max(begin, len(self.transcript) - overlap)
            reader.settimeout(max(deadline - time.monotonic(), 0.001))
            try:
                chunk = reader.recv(65536)
            except TimeoutError:
                raise self._unseen(markers, f"within {timeout:g} s") from None
            if not chunk:
                raise self._unseen(markers, "before the machine ended")
            self.transcript += chunk

    def _own_reader(self) -> socket.socket:
        if self._reader is None:
            self._reader = self._cleanup.enter_context(self.connect())
        return self._reader

    def _unseen(self, markers: tuple[bytes, ...], when: str) -> ProvisionerError:
        wanted = " or ".join(repr(marker.decode(errors="replace")) for marker in markers)
        tail = "\n".join(self.transcript.decode(errors="replace").splitlines()[-15:])
        return ProvisionerError(f"{self.options.name} did not print {wanted} {when}; its last lines:\n{tail}")

    def send_console(self, data: bytes) -> None:
        """Type ``data`` on the console."""
        reader = self._own_reader()
        reader.settimeout(_ANSWER_TIME)
        reader.sendall(data)

    def powerdown(self) -> None:
        """Press the power button: the guest is asked to shut down."""
        self._control().execute("system_powerdown")

    def reset(self) -> None:
        """Press the reset button."""
        self._control().execute("system_reset")

    def wait(self, timeout: float | None = None) -> int:
        """Wait until QEMU ends and return its exit code; raise ProvisionerError when it still runs then."""
        if self._child is None:
            raise ProvisionerError(f"{self.options.name} was not started")
        deadline = None if timeout is None else time.monotonic() + timeout
        while self._child.poll() is None:
            if deadline is not None and time.monotonic() > deadline:
                raise ProvisionerError(f"{self.options.name} still runs after {timeout:g} s")
            time.sleep(0.05)
        return self._child.returncode

    @property
    def reason(self) -> str:
        """Why the machine ended, in QEMU's words (``guest-shutdown``, ``guest-reset``, ``host-qmp-quit``), or «»."""
        if self._qmp is not None:
            if not self.running:
                self._qmp.drain()
            ends = [event["data"].get("reason", "") for event in self._qmp.events if event["event"] == "SHUTDOWN"]
            self._reason = str(ends[-1]) if ends else ""
        return self._reason

    def stop(self) -> int | None:
        """End the machine at once, as if its plug were pulled; return QEMU's exit code. May be called again."""
        code: int | None = None
        try:
            if self._child is not None:
                if self._qmp is not None and self._child.poll() is None:
                    self._quit(self._qmp)
                code = process.stop(self._child)
            if self._qmp is not None:
                self._reason = self.reason
                self._qmp.close()
                self._qmp = None
        finally:
            self._cleanup.close()
        return code

    def _quit(self, qmp: Qmp) -> None:
        """Ask QEMU to end, so that it flushes its disks; ``process.stop`` follows whatever it answers."""
        try:
            qmp.execute("quit")
        except QmpError:
            return

    def _control(self) -> Qmp:
        if self._qmp is None:
            raise ProvisionerError(f"{self.options.name} is not running")
        return self._qmp

    def _emit(self, stage: str, name: str = "", detail: str = "") -> None:
        self.sink(Event("qemu", stage, name, self.options.name, detail, time.time(), time.monotonic()))


def free_port(protocol: str = "tcp") -> int:
    """Return a port of 127.0.0.1 that is free now."""
    kind = socket.SOCK_DGRAM if protocol == "udp" else socket.SOCK_STREAM
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _text(log: IO[bytes]) -> str:
    log.seek(0)
    return log.read().decode(errors="replace")
