"""``run qemu`` from the outside, on real QEMU with a kernel that is none: SeaBIOS is all the guest it needs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pexpect
import pytest

pytestmark = pytest.mark.tool


@pytest.fixture
def image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An image whose kernel halts at once: a real-mode setup sector with the magic that loaders look for."""
    monkeypatch.setenv("PROVISIONER_ACCEL", "tcg")
    kernel = bytearray(4096)
    kernel[0x1F1] = 1                       # one setup sector
    kernel[0x1FE:0x200] = b"\x55\xaa"
    kernel[0x202:0x206] = b"HdrS"
    kernel[0x206:0x208] = b"\x0c\x02"       # protocol 2.12
    kernel[0x211] = 1                       # loaded high
    kernel[0x200:0x202] = b"\xeb\xfe"       # jump to itself
    (tmp_path / "x-kernel").write_bytes(kernel)
    (tmp_path / "x-cmdline").write_text("console=ttyS0")
    return tmp_path / "x"


def argv(image: Path, *options: str) -> list[str]:
    return ["-m", "provisioner", "run", "qemu", str(image), "--mem", "64", "--networking", "none", *options]


def test_the_console_is_in_the_terminal_and_ctrl_a_x_leaves(image: Path) -> None:
    log = image.with_name("log")
    child = pexpect.spawn(sys.executable, argv(image, "--log", str(log)), encoding="latin-1", timeout=60)
    child.expect_exact("x: amd64, tcg (as asked for)")
    child.expect_exact("SeaBIOS (version")
    child.send("\x01x")
    child.expect_exact("left, and ended")
    child.expect(pexpect.EOF)
    child.wait()
    assert child.exitstatus == 0
    assert log.read_bytes().startswith(b"\x1bc\x1b[?7l\x1b[2J\x1b[0mSeaBIOS")


@pytest.mark.parametrize("how", ["stages", "json"])
def test_stages_instead_of_the_console_and_an_interrupt_leaves_nothing(image: Path, how: str, tmp_path: Path) -> None:
    command = [sys.executable, *argv(image)]
    command[3:3] = ["--json"] if how == "json" else []
    child = subprocess.Popen([*command, *(["--stages"] if how == "stages" else [])], stdin=subprocess.DEVNULL,
                             stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                             env=os.environ | {"TMPDIR": str(tmp_path), "PYTHONUNBUFFERED": "1"})
    assert child.stdout is not None
    lines = []
    while b"SeaBIOS" not in (line := child.stdout.readline()):
        lines.append(line)
        assert line
    child.terminate()
    rest = child.stdout.read()
    assert child.wait(60) == 130
    child.stdout.close()
    if how == "json":
        assert json.loads(line)["stage"] == "firmware"
    else:
        assert b"STAGE" in rest
        assert b"firmware" in rest
    assert list(tmp_path.glob("provisioner-*")) == []


def test_a_missing_image_is_said_with_exit_code_4(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, *argv(tmp_path / "none")], capture_output=True, text=True, check=False)
    assert done.returncode == 4
    assert "no image" in done.stderr
    assert "provisioner build" in done.stderr


def test_a_wrong_option_is_said_with_exit_code_2(image: Path) -> None:
    for option, word in (("--disk=", "--disk"), ("--publish=1", "HOST:GUEST"), ("--networking=vde", "unknown")):
        done = subprocess.run([sys.executable, *argv(image, option)], capture_output=True, text=True, check=False)
        assert done.returncode == 2, done.stderr
        assert word in done.stderr
