"""The one place that starts programs: finds them, names the package when one is missing, never leaves one behind.

A child started here gets SIGTERM from the kernel when its parent dies (prctl PR_SET_PDEATHSIG), so a killed
provisioner leaves no stray QEMU.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, NoReturn

from provisioner.errors import ProvisionerError, ToolMissingError

PACKAGES: dict[str, str] = {
    "apt-config": "apt",
    "apt-get": "apt",
    "dpkg-deb": "dpkg",
    "depmod": "kmod",
    "gpgv": "gpgv",
    "ip": "iproute2",
    "nsenter": "util-linux",
    "qemu-img": "qemu-utils",
    "qemu-system-aarch64": "qemu-system-arm",
    "qemu-system-x86_64": "qemu-system-x86",
    "skopeo": "skopeo",
    "unshare": "util-linux",
}
_SEARCH = ("/usr/local/sbin", "/usr/sbin", "/sbin")
_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)


class ProgramError(ProvisionerError):
    """A program ended with a failure; ``returncode`` and its last words are kept."""

    kind = "program-failed"

    def __init__(self, argv: Sequence[str], returncode: int, stderr: str) -> None:
        self.argv, self.returncode, self.stderr = tuple(argv), returncode, stderr
        words = "\n".join(stderr.strip().splitlines()[-12:])
        super().__init__(f"{Path(argv[0]).name} failed with exit code {returncode}: {words or 'it said nothing'}")


@dataclass(frozen=True, slots=True)
class Completed:
    """A finished program."""

    returncode: int
    stdout: bytes
    stderr: bytes

    @property
    def text(self) -> str:
        """Standard output as text."""
        return self.stdout.decode(errors="replace")


def find(tool: str) -> str:
    """Return the path of ``tool``, also looking where root's tools are; raise ToolMissingError naming the package."""
    path = shutil.which(tool) or shutil.which(tool, path=os.pathsep.join(_SEARCH))
    if path is None:
        package = PACKAGES.get(tool, tool)
        raise ToolMissingError(f"{tool} is not installed", hint=f"apt-get install {package}")
    return path


def available(tool: str) -> bool:
    """Whether ``tool`` is installed."""
    try:
        find(tool)
    except ToolMissingError:
        return False
    return True


def run(argv: Sequence[str | Path], *, stdin: bytes | None = None, cwd: Path | None = None, check: bool = True,
        env: Mapping[str, str] | None = None, timeout: float | None = None) -> Completed:
    """Run a program to its end.

    ``env`` replaces the environment; ``timeout`` is in seconds. Raises ToolMissingError, ProgramError (when
    ``check``) and ProvisionerError when the time is over; the program is killed then.
    """
    args = [find(str(argv[0])), *map(str, argv[1:])]
    try:
        done = subprocess.run(args, input=stdin, stdin=None if stdin is not None else subprocess.DEVNULL, cwd=cwd,
                              env=env, capture_output=True, timeout=timeout, check=False,
                              preexec_fn=_die_with_parent)
    except subprocess.TimeoutExpired as late:
        raise ProvisionerError(f"{argv[0]} did not end within {timeout:g} s") from late
    if check and done.returncode:
        raise ProgramError(args, done.returncode, done.stderr.decode(errors="replace"))
    return Completed(done.returncode, done.stdout, done.stderr)


def spawn(argv: Sequence[str | Path], *, stdin: int | IO[Any] | None = None, stdout: int | IO[Any] | None = None,
          stderr: int | IO[Any] | None = None, env: Mapping[str, str] | None = None, pass_fds: Sequence[int] = (),
          new_session: bool = False) -> subprocess.Popen[bytes]:
    """Start a program and return at once; it dies with the thread that started it.

    ``new_session`` shields it from the terminal's Ctrl-C. Raises ToolMissingError.
    """
    args = [find(str(argv[0])), *map(str, argv[1:])]
    return subprocess.Popen(args, stdin=subprocess.DEVNULL if stdin is None else stdin, stdout=stdout,
                            stderr=stderr, env=env, pass_fds=tuple(pass_fds), start_new_session=new_session,
                            preexec_fn=_die_with_parent)


def stop(child: subprocess.Popen[bytes], *, grace: float = 5.0) -> int:
    """End a child: SIGTERM, SIGKILL after ``grace`` seconds; return its exit code."""
    if child.poll() is None:
        with suppress(ProcessLookupError):
            child.terminate()
        try:
            child.wait(grace)
        except subprocess.TimeoutExpired:
            child.kill()
    return child.wait()


def become(argv: Sequence[str]) -> NoReturn:
    """Put a program in this process's place; standard streams are flushed before."""
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(find(argv[0]), list(argv))  # noqa: S606  # this is the place for it


PIPE = subprocess.PIPE
DEVNULL = subprocess.DEVNULL
STDOUT = subprocess.STDOUT
Child = subprocess.Popen[bytes]


def _die_with_parent() -> None:
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
