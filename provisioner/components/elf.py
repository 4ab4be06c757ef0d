"""What an ELF file asks of the dynamic linker, for any architecture; nothing is run (ELF gABI, chapter 5)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import BinaryIO

from elftools.common.exceptions import ELFError
from elftools.elf.dynamic import DynamicSegment
from elftools.elf.elffile import ELFFile
from elftools.elf.segments import InterpSegment

from provisioner.errors import InputError

MAGIC = b"\x7fELF"


@dataclass(frozen=True, slots=True)
class Elf:
    """``kind`` is (class, machine), such as (64, "EM_X86_64"); ``interpreter`` is PT_INTERP or empty.

    ``needed`` are the DT_NEEDED names, ``search`` the folders of DT_RUNPATH or DT_RPATH as they stand.
    """

    kind: tuple[int, str]
    interpreter: str = ""
    needed: tuple[str, ...] = ()
    search: tuple[str, ...] = ()


def read(stream: BinaryIO, name: str) -> Elf | None:
    """Read the headers of a seekable stream; None when it is no ELF file. Raises InputError for a bad one."""
    if stream.read(4) != MAGIC:
        return None
    stream.seek(0)
    try:
        return _parse(ELFFile(stream))
    except (ELFError, UnicodeDecodeError, ValueError, OverflowError, AssertionError) as broken:
        raise InputError(f"{name} is a broken ELF file: {broken}") from broken


def _parse(elf: ELFFile) -> Elf:
    interpreter = ""
    needed: list[str] = []
    search: list[str] = []
    for segment in elf.iter_segments():
        if isinstance(segment, InterpSegment):
            interpreter = segment.get_interp_name()
        elif isinstance(segment, DynamicSegment):
            for tag in segment.iter_tags():
                if tag.entry.d_tag == "DT_NEEDED":
                    needed.append(tag.needed)
                elif tag.entry.d_tag in ("DT_RPATH", "DT_RUNPATH"):
                    text = tag.rpath if tag.entry.d_tag == "DT_RPATH" else tag.runpath
                    search += [folder for folder in text.split(":") if folder]
    return Elf((elf.elfclass, elf["e_machine"]), interpreter, tuple(needed), tuple(search))
