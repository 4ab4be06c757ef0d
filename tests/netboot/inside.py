"""Runs a scenario in a lab network of its own, in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def run_inside(scenario: str, *arguments: str, taps: int = 0, module: str = "tests.netboot.scenarios",
               timeout: float = 120) -> str:
    """Call ``MODULE.SCENARIO(*arguments)`` inside; fail with what it said if it fails, else return that."""
    code = f"import sys, {module}; {module}.{scenario}(*sys.argv[1:])"
    argv = [sys.executable, "-m", "provisioner.netboot.lab", "--taps", str(taps), sys.executable, "-c", code]
    done = subprocess.run([*argv, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=timeout, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
