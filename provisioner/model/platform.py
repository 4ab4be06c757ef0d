"""What a machine is: operating system, architecture and variant, spelled as OCI and Go spell them."""

from __future__ import annotations

import os
from dataclasses import dataclass

ALIASES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "armhf": "arm", "i686": "386", "i386": "386"}
DEBIAN = {"amd64": "amd64", "arm64": "arm64", "arm": "armhf", "386": "i386", "s390x": "s390x", "riscv64": "riscv64"}


@dataclass(frozen=True, slots=True, order=True)
class Platform:
    """An OCI platform (image-spec, image-index.md). ``variant`` is empty when it does not matter."""

    architecture: str
    os: str = "linux"
    variant: str = ""

    def __str__(self) -> str:
        return "/".join(part for part in (self.os, self.architecture, self.variant) if part)

    @classmethod
    def parse(cls, text: str) -> Platform:
        """Read ``arm64``, ``linux/arm64``, ``linux/arm/v7`` or a uname machine such as ``x86_64``."""
        parts = text.split("/")
        if len(parts) == 1:
            return cls(ALIASES.get(parts[0], parts[0]))
        return cls(ALIASES.get(parts[1], parts[1]), parts[0], parts[2] if len(parts) > 2 else "")

    @classmethod
    def host(cls) -> Platform:
        """Return the platform this program runs on."""
        return cls.parse(os.uname().machine)

    @property
    def debian(self) -> str:
        """Debian's name of the architecture."""
        return DEBIAN.get(self.architecture, self.architecture)

    def matches(self, wanted: Platform) -> bool:
        """Whether content for this platform serves ``wanted``; an empty variant on either side matches."""
        same = (self.os, self.architecture) == (wanted.os, wanted.architecture)
        return same and (not self.variant or not wanted.variant or self.variant == wanted.variant)
