"""Runs verbs as the program does, with a cache of its own."""

from __future__ import annotations

import sys
from pathlib import Path

from click.testing import CliRunner

from provisioner.cli.main import _guarded


class Shell:
    """Call it with the words of a command line; ``stdout`` and ``stderr`` are then what was printed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self, *words: str, stdin: bytes | None = None, code: int = 0) -> str:
        environment = {"PROVISIONER_CACHE": str(self.folder / "cache"), "HOME": str(self.folder)}
        with CliRunner().isolation(stdin, environment) as (stdout, stderr, _):
            result = _guarded(list(words))
            sys.stdout.flush()
        self.stdout, self.stderr = stdout.getvalue(), stderr.getvalue().decode()
        assert result == code, self.stderr
        return self.stdout.decode(errors="replace")
