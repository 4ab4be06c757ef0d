"""Runs a scenario of ``scenarios`` in a lab network of its own, in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def run_inside(scenario: str, *arguments: str, taps: int = 0) -> str:
    """Call ``scenarios.SCENARIO(*arguments)`` inside; fail with what it said if it fails, else return that."""
    code = f"import sys; from tests.netboot import scenarios; scenarios.{scenario}(*sys.argv[1:])"
    argv = [sys.executable, "-m", "provisioner.netboot.lab", "--taps", str(taps), sys.executable, "-c", code]
    done = subprocess.run([*argv, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
