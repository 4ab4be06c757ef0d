"""The entry point: help without heavy imports, errors as messages and codes, Ctrl-C and SIGTERM as clean ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import click
import pytest

from provisioner.cli import main as cli_main
from provisioner.errors import DigestError, InputError, Problem

ROOT = Path(__file__).resolve().parents[2]
PROVISIONER = (sys.executable, "-m", "provisioner")


def run(*args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*PROVISIONER, *args], capture_output=True, text=True, check=False)


def test_help_lists_every_verb_and_every_verb_has_its_file() -> None:
    done = run("--help")
    assert done.returncode == 0
    for verb, line in cli_main.VERBS.items():
        assert verb in done.stdout
        assert (ROOT / "provisioner/cli" / f"{verb}.py").is_file(), verb
        assert line.endswith(".")


@pytest.mark.parametrize("verb", sorted(cli_main.VERBS))
def test_every_verb_explains_itself(verb: str) -> None:
    done = run(verb, "--help")
    assert done.returncode == 0, done.stderr
    assert cli_main.VERBS[verb].rstrip(".") in " ".join(done.stdout.split())


def test_help_imports_nothing_heavy() -> None:
    code = ("import sys\nfrom provisioner.cli.main import cli\n"
            "cli.main(['--help'], standalone_mode=False)\n"
            "heavy = {'requests', 'rich', 'pydantic', 'aiohttp', 'docker', 'jinja2', 'yaml'} & set(sys.modules)\n"
            "sys.exit(' '.join(sorted(heavy)) or 0)")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_wrong_verb_names_the_near_one() -> None:
    done = run("biuld")
    assert done.returncode == 2
    assert done.stderr == "error: no such command: biuld\n  hint: did you mean build?\n"


def test_a_wrong_option_is_a_usage_error() -> None:
    done = run("build", "--no-such-option")
    assert done.returncode == 2
    assert "--no-such-option" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("args", [("build", "--no-such-option"), ("build",), ("--no-such-option",), ("biuld",)])
def test_a_wrong_command_line_is_json_too(args: tuple[str, ...]) -> None:
    done = run("--json", *args)
    assert (done.returncode, done.stderr) == (2, "")
    told = json.loads(done.stdout)
    assert (told["error"], told["exit_code"]) == ("usage", 2)


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> list[BaseException]:
    """Make the command line raise what the test puts into the list."""
    raised: list[BaseException] = []

    def command(self: click.Group, *args: object, **kwargs: object) -> None:
        raise raised[0]

    monkeypatch.setattr(type(cli_main.cli), "main", command)
    return raised


def guarded(argv: list[str]) -> int:
    return cli_main._guarded(argv)


def test_errors_have_stable_codes_and_json(failing: list[BaseException], capsys: pytest.CaptureFixture[str]) -> None:
    failing.append(DigestError("blob differs", hint="fetch it again"))
    assert guarded([]) == 6
    assert capsys.readouterr().err == "error: blob differs\n  hint: fetch it again\n"
    assert guarded(["--json"]) == 6
    assert json.loads(capsys.readouterr().out) == {
        "error": "digest", "message": "blob differs", "hint": "fetch it again", "exit_code": 6}


def test_problems_keep_their_places(failing: list[BaseException], capsys: pytest.CaptureFixture[str]) -> None:
    failing.append(InputError(problems=[Problem("a.yml", 2, 5, "second"), Problem("a.yml", 1, 3, "first", "try x")]))
    assert guarded([]) == 3
    assert capsys.readouterr().err == "error: a.yml:1:3: first (try x)\na.yml:2:5: second\n"
    guarded(["--json"])
    problems = json.loads(capsys.readouterr().out)["problems"]
    assert [(p["line"], p["column"], p["message"]) for p in problems] == [(1, 3, "first"), (2, 5, "second")]


def test_interrupts_end_with_130(failing: list[BaseException]) -> None:
    failing.append(KeyboardInterrupt())
    assert guarded([]) == 130


def test_an_interrupt_is_json_too(failing: list[BaseException], capsys: pytest.CaptureFixture[str]) -> None:
    failing.append(KeyboardInterrupt())
    assert guarded(["--json"]) == 130
    assert json.loads(capsys.readouterr().out)["error"] == "interrupted"


@pytest.mark.parametrize(("error", "code", "kind"), [
    (OSError(28, "No space left on device", "x"), 8, "device"),
    (PermissionError(13, "Permission denied", "x"), 10, "privilege"),
])
def test_what_the_kernel_refuses_is_no_traceback(failing: list[BaseException], capsys: pytest.CaptureFixture[str],
                                                 error: OSError, code: int, kind: str) -> None:
    failing.append(error)
    assert guarded(["--json"]) == code
    assert json.loads(capsys.readouterr().out)["error"] == kind
    assert guarded([]) == code
    assert "x" in capsys.readouterr().err


@pytest.mark.parametrize("options", [(), ("--json",)])
def test_a_full_standard_output_is_told_on_standard_error(options: tuple[str, ...]) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run([*PROVISIONER, *options, "component", "ls"], stdout=full, stderr=subprocess.PIPE,
                              text=True, check=False)
    assert done.returncode == 8
    assert "No space left" in done.stderr
    assert "Traceback" not in done.stderr


def test_sigterm_takes_the_same_way_out() -> None:
    code = ("import time, provisioner.cli.main as m\n"
            "def wait(*a, **k):\n    try:\n        print('up', flush=True)\n        time.sleep(60)\n"
            "    finally:\n        print('cleaned', flush=True)\n"
            "type(m.cli).main = wait\nm.main()")
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"up\n"
        os.kill(child.pid, signal.SIGTERM)
        assert child.stdout.read() == b"cleaned\n"
    assert child.returncode == 130
