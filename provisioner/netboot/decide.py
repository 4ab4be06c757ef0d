"""The one seam that decides what a machine boots: ``decide(machine) -> BootSpec | None``.

DHCP, TFTP, iPXE and HTTP only carry this answer, so that no two of them can disagree. Of the rules that fit, the one
with most whole identities (mac, uuid, serial without `*`) wins, then the one with more fields, then the one with more
letters that are no `*`, then the first in the file; a machine that fits none gets the default, or nothing.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from ipaddress import IPv4Address
from pathlib import Path

from provisioner.model.machine import BootSpec, Machine
from provisioner.netboot.config import Choice, Config, MachineRule, Match
from provisioner.netboot.images import BootImage

_FIELDS = ("mac", "uuid", "serial", "arch", "name")


@dataclass(frozen=True, slots=True)
class Decider:
    """Decides by a configuration whose image paths are relative to ``folder``."""

    config: Config
    folder: Path
    _images: dict[str, BootImage] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Give every image a name of its own for URLs."""
        for choice in _choices(self.config):
            for _arch, base in choice.bases():
                self._name(BootImage(self.folder / base))

    @property
    def images(self) -> Mapping[str, BootImage]:
        """All images by the name that their URLs have."""
        return self._images

    def decide(self, machine: Machine) -> BootSpec | None:
        """Return what the machine boots, None for nothing; raises NotFoundError or InputError for a broken image."""
        rule = self.rule(machine)
        choice = rule or self.config.default
        if choice is None:
            return None
        image = self._image(choice, machine)
        if image is None:
            return None
        cmdline = " ".join(part for part in (image.read_cmdline(), choice.append) if part)
        return BootSpec(image.kernel, (image.initrd,), cmdline, self._name(image), _spell(rule))

    def rule(self, machine: Machine) -> MachineRule | None:
        """Return the most specific rule that fits."""
        fitting = [rule for rule in self.config.machines if fits(rule.match, machine)]
        return max(fitting, key=lambda rule: _weight(rule.match), default=None)

    def may_boot(self, machine: Machine) -> bool:
        """Whether some rule could fit once more is known: DHCP does not tell the serial number."""
        choices = [rule for rule in self.config.machines if fits(rule.match, machine, unknown=True)]
        candidates: list[Choice] = [*choices, *([self.config.default] if self.config.default else [])]
        return any(self._image(choice, machine) is not None for choice in candidates)

    def refusal(self, machine: Machine) -> str:
        """Say why a machine boots nothing."""
        choice = self.rule(machine) or self.config.default
        if choice is None:
            return "no rule fits it"
        kernels = {BootImage(self.folder / base).arch() or "?" for _arch, base in choice.bases()}
        return f"the image that it would get is for {', '.join(sorted(kernels))}, the machine is {machine.arch}"

    def reservations(self) -> dict[str, IPv4Address]:
        """Return the addresses kept for machines, by MAC."""
        return {rule.match.mac: rule.address for rule in self.config.machines if rule.address}

    def _image(self, choice: Choice, machine: Machine) -> BootImage | None:
        bases = dict(choice.bases())
        base = bases.get(machine.arch) or bases.get("") or (None if machine.arch else next(iter(bases.values())))
        if base is None:
            return None
        image = BootImage(self.folder / base)
        fitting = not machine.arch or image.arch() in ("", machine.arch)
        return image if fitting else None

    def _name(self, image: BootImage) -> str:
        for name, known in self._images.items():
            if known.base == image.base:
                return name
        name, number = image.name, 2
        while name in self._images:
            name, number = f"{image.name}-{number}", number + 1
        self._images[name] = image
        return name


def fits(match: Match, machine: Machine, *, unknown: bool = False) -> bool:
    """Whether every field of the match fits; with ``unknown`` a field that the machine has not told fits, too."""
    for name in _FIELDS:
        wanted, told = getattr(match, name), getattr(machine, name)
        if not wanted or (unknown and not told):
            continue
        texts = _spellings(told) if name == "uuid" else {told}
        if not any(fnmatchcase(text, wanted.replace("[", "[[]").replace("?", "[?]")) for text in texts):
            return False
    return True


def _spellings(text: str) -> set[str]:
    # SMBIOS keeps half of a UUID in little-endian order and firmware does not agree on what to send.
    try:
        value = uuid.UUID(text)
    except ValueError:
        return {text}
    return {str(value), str(uuid.UUID(bytes=value.bytes_le))}


def _weight(match: Match) -> tuple[int, int, int]:
    texts = {name: getattr(match, name) for name in _FIELDS if getattr(match, name)}
    whole = sum("*" not in texts.get(name, "*") for name in ("mac", "uuid", "serial"))
    return whole, len(texts), sum(len(text.replace("*", "")) for text in texts.values())


def _spell(rule: MachineRule | None) -> str:
    if rule is None:
        return "default"
    return rule.name or " ".join(f"{name}={value}" for name in _FIELDS if (value := getattr(rule.match, name)))


def _choices(config: Config) -> Iterable[Choice]:
    return (*config.machines, *([config.default] if config.default else []))
