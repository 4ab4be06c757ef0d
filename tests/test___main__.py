"""The program's start: an interrupt before the command line is there is no traceback."""

from __future__ import annotations

import subprocess
import sys


def test_an_interrupt_during_the_imports_is_a_clean_end() -> None:
    code = ("import sys\n"
            "class Interrupting:\n"
            "    def find_spec(self, name, path=None, target=None):\n"
            "        if name == 'click':\n            raise KeyboardInterrupt\n"
            "sys.meta_path.insert(0, Interrupting())\n"
            "from provisioner.__main__ import run\nrun()")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (130, "\ninterrupted\n")
