"""``doctor``: what is looked at, what it says to do, and its exit code."""

from __future__ import annotations

import json
import shutil
import socket
from collections import namedtuple
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from provisioner import process
from provisioner.cli import doctor
from provisioner.cli.main import VERBS
from provisioner.cli.output import Output
from provisioner.errors import UsageError
from provisioner.netboot import network
from provisioner.providers.qemu import accel, firmware


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROVISIONER_ACCEL", "tcg")


def ask(*arguments: str) -> Result:
    return CliRunner().invoke(doctor.command, list(arguments), obj=Output(), standalone_mode=False)


def findings(*verbs: str) -> dict[str, doctor.Finding]:
    return {finding.name: finding for finding in doctor.examine(verbs)}


def test_every_verb_can_be_asked_for() -> None:
    assert set(doctor.CHECKS) == set(VERBS) - {"doctor"}


def test_json_has_each_finding_with_its_remedy() -> None:
    result = ask("console", "--json")
    answer = json.loads(result.stdout)
    assert answer["ok"] is True
    assert result.return_value == 0
    python = next(f for f in answer["findings"] if f["name"] == "Python")
    assert set(python) == {"name", "ok", "detail", "fix", "needed", "verbs"}
    assert python["verbs"] == ["console"]


def test_a_missing_tool_is_named_with_its_package_and_makes_exit_code_4(tmp_path: Path,
                                                                         monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(process, "_SEARCH", ())
    result = ask("run")
    assert result.return_value == 4
    assert "MISSING  qemu-img" in result.stdout
    assert "  apt-get install qemu-utils" in result.stdout
    assert "nothing that is needed" not in result.stdout


def test_what_only_limits_a_verb_is_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(firmware, "_PAIRS", {})
    monkeypatch.setattr(doctor, "CHECKS", {"run": (doctor._firmware, doctor._kvm)})
    result = ask("run")
    assert result.return_value == 0
    assert "limited" in result.stdout
    assert "apt-get install ovmf" in result.stdout
    assert "nothing that is needed is missing" in result.stdout


def test_a_thing_that_several_verbs_need_is_looked_at_once() -> None:
    python = [finding for finding in doctor.examine(("run", "console", "cache")) if finding.name == "Python"]
    assert [finding.verbs for finding in python] == [("run", "console", "cache")]


def test_an_unknown_verb_is_refused() -> None:
    with pytest.raises(UsageError, match="no such verb: fly"):
        click.Context(doctor.command, obj=Output()).invoke(doctor.command, verbs=("fly",), as_json=False)


def test_a_taken_port_is_named_with_its_process(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as held, socket.create_server(("127.0.0.1", 0)) as served:
        held.bind(("127.0.0.1", 0))
        assert doctor._bound("udp", held.getsockname()[1])
        assert doctor._bound("tcp", served.getsockname()[1])
        number = held.getsockname()[1]
    assert not doctor._bound("udp", number)
    monkeypatch.setattr(doctor, "_bound", lambda protocol, port: port == 69)
    monkeypatch.setattr(network, "port_holder", lambda protocol, port: "")
    port = {finding.name: finding for finding in doctor._ports()}["port 69/udp"]
    assert not port.ok
    assert "another user" in port.detail
    assert "stop" in port.fix


def test_little_space_is_said_with_the_way_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")  # noqa: PYI024 - what shutil returns
    monkeypatch.setenv("PROVISIONER_CACHE", str(tmp_path / "not" / "there" / "yet"))
    monkeypatch.setattr(shutil, "disk_usage", lambda place: usage(10, 9, 1))
    cache = findings("build")["space for cache"]
    assert not cache.ok
    assert str(tmp_path) in cache.detail
    assert "PROVISIONER_CACHE" in cache.fix


def test_kvm_without_permission_says_which_group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accel, "choose", lambda options: accel.Accel("tcg", "emulation: no permission for /dev/kvm"))
    monkeypatch.setattr(process, "available", lambda tool: True)
    (kvm,) = doctor._kvm()
    assert (kvm.ok, kvm.needed) == (False, False)
    assert "usermod -aG kvm" in kvm.fix


def test_tun_missing_or_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_TUN", tmp_path / "tun")
    (absent,) = doctor._tun()
    assert (absent.ok, absent.fix) == (False, "sudo modprobe tun")
    (tmp_path / "tun").write_bytes(b"")
    (there,) = doctor._tun()
    assert there.ok
