"""The demo's command line: what it refuses, and how it starts itself again in a process without threads."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from provisioner import process
from provisioner.cli import demo
from provisioner.cli.output import Output
from provisioner.errors import UsageError
from provisioner.model.event import Event


def invoke(*arguments: str) -> None:
    CliRunner().invoke(demo.command, arguments, obj=Output(quiet=True), catch_exceptions=False)


def test_an_image_or_a_yaml() -> None:
    with pytest.raises(UsageError, match="not both"):
        invoke("a.yml", "--image", "b")


@pytest.mark.parametrize(("arguments", "message"), [
    (("--publish", "x"), "--publish x: expected HOST:PORT"),
    (("--probe", "x/y"), "--probe x/y: expected PORT/PATH"),
    (("--disk", "none"), "'none' is no size"),
])
def test_bad_values_are_named(arguments: tuple[str, ...], message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "_loaders", lambda _output: {})
    with pytest.raises(UsageError, match=message):
        invoke("--image", "x", *arguments)


def test_it_starts_again_with_what_it_built(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import provisioner.build

    class BecameError(Exception):
        pass

    def become(argv: list[str]) -> None:
        raise BecameError(*argv)

    built: list[Any] = []
    monkeypatch.setenv("PROVISIONER_CACHE", str(tmp_path))
    monkeypatch.setattr(process, "become", become)
    monkeypatch.setattr(provisioner.build, "build", lambda _spec, options: built.append(options))
    monkeypatch.setattr(demo, "_loaders", lambda _output: {})
    monkeypatch.setattr(sys, "argv", ["provisioner", "--json", "demo", "--keep"])
    with pytest.raises(BecameError) as caught:
        invoke("--keep")
    assert (built[0].name, str(built[0].platforms[0])) == ("docker", "linux/amd64")
    assert caught.value.args[3:] == ("--json", "demo", "--keep", "--probe", "2375/info", "--publish", "2375:2375",
                                     "--image", str(tmp_path / "demo/docker"))


def test_notes_wait_for_the_start_of_a_line(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    screen = demo.Screen(Output())
    screen.event(Event("dhcp", "dhcp", "offer", detail="10.99.0.100"))
    screen.console(b"Booting")
    screen.event(Event("http", "http", "kernel", detail="sent"))
    screen.event(Event("console", "kernel", "Linux"))
    screen.console(b" docker\r\n\x1b]52;c;aGFjaw==\x07login")
    screen.event(Event("demo", "healthy", "2375"))
    screen.restore()
    assert capfdbinary.readouterr().out == (
        b"-- dhcp offer 10.99.0.100\r\nBooting docker\r\n-- http kernel sent\r\nlogin\r\n-- demo 2375\r\n")
