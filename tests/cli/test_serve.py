"""``provisioner serve``: what it needs to be told, what it prints, how it ends."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from provisioner.cli.output import Output
from provisioner.cli.serve import command, line
from provisioner.errors import InputError, NotFoundError, ProvisionerError, UsageError
from provisioner.model.event import Event
from tests.netboot.conftest import kernel
from tests.netboot.inside import run_inside


@pytest.fixture
def image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    (tmp_path / "docker-kernel").write_bytes(kernel("amd64"))
    (tmp_path / "docker-initrd.img").write_bytes(b"x")
    (tmp_path / "docker-cmdline").write_text("quiet\n")
    return tmp_path / "docker"


def failing(*argv: str) -> ProvisionerError:
    result = CliRunner().invoke(command, ["--loaders", ".", *argv], obj=Output())
    assert isinstance(result.exception, ProvisionerError), result.output
    return result.exception


@pytest.mark.parametrize(("argv", "kind", "message"), [
    ((), UsageError, "nothing to serve"),
    (("docker", "--config", "machines.yml"), UsageError, "not both"),
    (("--append", "quiet", "--config", "x"), UsageError, "belongs to an image"),
    (("none", "-i", "lo"), NotFoundError, "none-kernel is not there"),
    (("docker", "-i", "eth99"), NotFoundError, "no interface eth99"),
    (("docker", "-i", "lo", "--append", "a ; b"), InputError, "--append"),
    (("docker", "-i", "lo", "--pool", "a-b"), InputError, "is no range"),
    (("docker", "-i", "lo", "--pool", "10.0.0.1-10.0.0.9"), InputError, "none of the interfaces"),
    (("--config", "none.yml", "-i", "lo"), NotFoundError, r"none\.yml"),
])
def test_what_is_wrong_is_said(image: Path, argv: tuple[str, ...], kind: type[ProvisionerError],
                               message: str) -> None:
    error = failing(*argv)
    assert isinstance(error, kind)
    assert message.replace("\\", "") in error.message


def test_a_bad_configuration_is_told_with_its_place(image: Path) -> None:
    Path("machines.yml").write_text("default:\n  imag: docker\n")
    error = failing("-i", "lo")
    assert isinstance(error, InputError)
    assert "machines.yml:2:3: unknown key `imag`" in error.message


def test_lines_for_people() -> None:
    done = Event("tftp", "tftp", "done", "52:54:00:00:00:01", "", 0.0, 0.0,
                 {"file": "snponly.efi", "bytes": 284_672, "seconds": 0.02, "resent": 3, "address": "10.0.0.9"})
    assert line(done)[9:] == "52:54:00:00:00:01 tftp    done snponly.efi 284.7 kB in 0.02 s, 14.2 MB/s 3 resent"
    offer = Event("dhcp", "dhcp", "offer", "52:54:00:00:00:01", "10.0.0.9 undionly.kpxe")
    assert line(offer)[9:] == "52:54:00:00:00:01 dhcp    offer 10.0.0.9 undionly.kpxe"


@pytest.mark.tool
def test_an_interrupt_leaves_nothing(image: Path) -> None:
    run_inside("interrupted_server", str(image), str(image.parent))


@pytest.mark.tool
def test_a_busy_port_names_its_holder(image: Path) -> None:
    run_inside("busy_port", str(image), str(image.parent))
