"""ELF headers, of files made by hand and of the program that runs the test."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from provisioner.components import elf
from provisioner.errors import InputError
from tests.fakes.debian import elf as make


def test_reads_what_the_dynamic_linker_reads() -> None:
    raw = make("arm64", ["libone.so.1", "libc.so.6"], "/lib/ld-linux-aarch64.so.1", "$ORIGIN/../lib:/opt/lib")
    found = elf.read(io.BytesIO(raw), "program")
    assert found == elf.Elf((64, "EM_AARCH64"), "/lib/ld-linux-aarch64.so.1", ("libone.so.1", "libc.so.6"),
                            ("$ORIGIN/../lib", "/opt/lib"))


def test_static_programs_need_nothing() -> None:
    assert elf.read(io.BytesIO(make()), "static") == elf.Elf((64, "EM_X86_64"))


@pytest.mark.parametrize("raw", [b"", b"#!", b"#!/bin/sh\n", b"\x7fEL"])
def test_other_files_are_no_elf(raw: bytes) -> None:
    assert elf.read(io.BytesIO(raw), "script") is None


@pytest.mark.parametrize("cut", [8, 40, 100, 200])
def test_names_a_broken_file(cut: int) -> None:
    raw = make("amd64", ["libc.so.6"], "/lib64/ld-linux-x86-64.so.2")
    with pytest.raises(InputError, match="usr/bin/cut"):
        elf.read(io.BytesIO(raw[:cut]), "usr/bin/cut")


def test_agrees_with_the_linker_of_this_machine() -> None:
    program = Path(sys.executable).resolve()
    with program.open("rb") as stream:
        found = elf.read(stream, str(program))
    assert found
    assert found.interpreter.startswith("/lib")
    # ld.so prints every library it loads, by the name it was asked for.
    loaded = subprocess.run([program, "-c", ""], env=os.environ | {"LD_TRACE_LOADED_OBJECTS": "1"}, check=True,
                            capture_output=True, text=True).stdout
    assert found.needed
    assert all(f"{name} =>" in loaded for name in found.needed)
