"""An image to boot: the files that ``provisioner build --format kernel+initrd`` leaves under one base path.

    BASE-kernel   BASE-initrd.img   BASE-cmdline (not there when the command line is empty)
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from provisioner.errors import InputError, NotFoundError

_X86_MAGIC, _X86_AT = b"HdrS", 0x202  # Documentation/arch/x86/boot.rst
_ARM64_MAGIC, _ARM64_AT = b"ARM\x64", 0x38  # Documentation/arch/arm64/booting.rst
_IPXE_OPERATORS = frozenset({"||", "&&", ";"})


@dataclass(frozen=True, slots=True)
class BootImage:
    """The three files' paths; ``name`` is the base's last part, as used in URLs and messages."""

    base: Path

    @property
    def name(self) -> str:
        """The base's last part."""
        return self.base.name

    @property
    def kernel(self) -> Path:
        """The kernel's file."""
        return self.base.with_name(self.base.name + "-kernel")

    @property
    def initrd(self) -> Path:
        """The initial RAM disk's file."""
        return self.base.with_name(self.base.name + "-initrd.img")

    @property
    def cmdline(self) -> Path:
        """The file with the kernel's command line."""
        return self.base.with_name(self.base.name + "-cmdline")

    def check(self) -> None:
        """Raise NotFoundError naming the first file that is not there, InputError for a bad command line."""
        for path in (self.kernel, self.initrd):
            if not path.is_file():
                raise NotFoundError(f"image {self.base}: {path} is not there",
                                    hint="provisioner build --format kernel+initrd writes it")
        self.read_cmdline()

    def read_cmdline(self) -> str:
        """Return the command line, checked, empty when it has no file; raise InputError or NotFoundError."""
        try:
            text = self.cmdline.read_text(encoding="utf-8").strip()
        except FileNotFoundError as error:
            if not self.kernel.is_file():
                raise NotFoundError(f"cannot read {self.kernel}: the image went away") from error
            return ""
        except (OSError, UnicodeDecodeError) as error:
            raise NotFoundError(f"cannot read {self.cmdline}: {error}") from error
        if problem := cmdline_problem(text):
            raise InputError(f"{self.cmdline}: {problem}")
        return text

    def arch(self) -> str:
        """Return OCI's name of the kernel's architecture as its header tells, ``""`` if it does not."""
        try:
            with self.kernel.open("rb") as file:
                head = file.read(0x210)
        except OSError:
            return ""
        if head[_X86_AT:_X86_AT + 4] == _X86_MAGIC:
            return "amd64"
        return "arm64" if head[_ARM64_AT:_ARM64_AT + 4] == _ARM64_MAGIC else ""


def cmdline_problem(text: str) -> str:
    """Say why a text cannot stand on a kernel command line that boot loaders carry; ``""`` if it can.

    A boot loader's script must not be steered by it: no line ends, no ``${…}`` that iPXE would expand, no word that
    iPXE takes for an operator or a comment, no backslash at the end.
    """
    if not text.isascii() or not text.isprintable():
        return "a kernel command line is one line of printable ASCII"
    if "${" in text:
        return "`${` would be expanded by the boot loader"
    words = text.split()
    if bad := next((word for word in words if word in _IPXE_OPERATORS or word.startswith("#")), ""):
        return f"the word `{bad}` would be taken for a command by the boot loader"
    return "a backslash at the end would join the next line" if text.endswith("\\") else ""
