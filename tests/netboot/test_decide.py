"""The most specific rule wins, whatever the order, and what nobody fits boots nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from provisioner.errors import NotFoundError
from provisioner.model.machine import Machine
from provisioner.netboot.decide import Decider
from provisioner.netboot.settings import from_file
from tests.netboot.conftest import ImageMaker

RULES = """\
default: {image: default}
machines:
  - {name: rack, match: {mac: "52:54:00:*"}, image: rack}
  - {name: row, match: {mac: "52:54:00:00:*"}, image: row}
  - {name: arm, match: {arch: arm64}, image: {arm64: arm}}
  - {name: rack-arm, match: {mac: "52:54:00:*", arch: arm64}, image: {arm64: rack-arm}}
  - {name: one, match: {mac: "52:54:00:00:00:01"}, image: one, append: quiet}
  - {name: board, match: {uuid: 00112233-4455-6677-8899-aabbccddeeff}, image: board}
  - {name: sn, match: {serial: SN42}, image: sn}
  - {name: called, match: {name: web*}, image: called}
"""
Deciding = Callable[[str], Decider]


@pytest.fixture
def deciding(tmp_path: Path, make_image: ImageMaker) -> Deciding:
    for name in ("default", "rack", "row", "one", "board", "sn", "called"):
        make_image(name)
    for name in ("arm", "rack-arm"):
        make_image(name, arch="arm64")

    def decide(text: str = RULES) -> Decider:
        (tmp_path / "machines.yml").write_text(text)
        return from_file(tmp_path / "machines.yml")
    return decide


@pytest.mark.parametrize(("machine", "rule"), [
    (Machine("52:54:00:00:00:01", arch="amd64"), "one"),
    (Machine("52:54:00:00:00:02", arch="amd64"), "row"),
    (Machine("52:54:00:99:00:02", arch="amd64"), "rack"),
    (Machine("52:54:00:99:00:02", arch="arm64"), "rack-arm"),
    (Machine("aa:00:00:00:00:01", arch="arm64"), "arm"),
    (Machine("aa:00:00:00:00:01", arch="amd64"), "default"),
    (Machine("aa:00:00:00:00:01", arch="amd64", name="web7"), "called"),
    (Machine("52:54:00:99:00:02", serial="SN42", arch="amd64"), "sn"),
    (Machine("aa:00:00:00:00:01", uuid="00112233-4455-6677-8899-aabbccddeeff"), "board"),
    (Machine("aa:00:00:00:00:01", uuid="33221100-5544-7766-8899-aabbccddeeff"), "board"),
    (Machine("aa:00:00:00:00:01", uuid="not-a-uuid"), "default"),
])
def test_the_most_specific_rule_wins(deciding: Deciding, machine: Machine, rule: str) -> None:
    spec = deciding(RULES).decide(machine)
    assert spec is not None
    assert spec.rule == rule


def test_the_answer(deciding: Deciding, tmp_path: Path) -> None:
    spec = deciding(RULES).decide(Machine("52:54:00:00:00:01"))
    assert spec is not None
    assert (spec.image, spec.cmdline) == ("one", "console=ttyS0 quiet")
    assert (spec.kernel, spec.initrd) == (tmp_path / "one-kernel", (tmp_path / "one-initrd.img",))


def test_wildcards_are_only_stars(deciding: Deciding, make_image: ImageMaker) -> None:
    decider = deciding("machines:\n  - {match: {serial: 'A[1]?'}, image: one}")
    assert decider.decide(Machine(serial="A[1]?")) is not None
    assert decider.decide(Machine(serial="A1x")) is None


def test_no_default_no_boot_and_a_reason(deciding: Deciding) -> None:
    decider = deciding("machines:\n  - {match: {arch: amd64}, image: one}")
    stranger = Machine("aa:00:00:00:00:01", arch="arm64")
    assert decider.decide(stranger) is None
    assert decider.refusal(stranger) == "no rule fits it"


def test_an_image_of_another_architecture_is_not_given(deciding: Deciding) -> None:
    decider = deciding("default: {image: one}")
    machine = Machine("aa:00:00:00:00:01", arch="arm64")
    assert decider.decide(machine) is None
    assert "is for amd64, the machine is arm64" in decider.refusal(machine)
    assert not decider.may_boot(machine)


def test_before_the_serial_number_is_known_a_rule_by_serial_may_still_fit(deciding: Deciding) -> None:
    decider = deciding("machines:\n  - {match: {serial: SN42}, image: one}")
    assert decider.may_boot(Machine("aa:00:00:00:00:01", arch="amd64"))
    assert not decider.may_boot(Machine("aa:00:00:00:00:01", arch="amd64", serial="SN1"))


def test_images_of_one_name_get_names_of_their_own(deciding: Deciding, make_image: ImageMaker) -> None:
    make_image("a/docker")
    make_image("b/docker")
    decider = deciding("default: {image: a/docker}\nmachines:\n  - {match: {arch: amd64}, image: b/docker}")
    assert {name: str(image.base)[-8:] for name, image in decider.images.items()} == \
        {"docker": "b/docker", "docker-2": "a/docker"}
    spec = decider.decide(Machine(arch="amd64"))
    assert spec is not None
    assert spec.image == "docker"


def test_an_image_that_went_away_is_an_error(deciding: Deciding, tmp_path: Path) -> None:
    decider = deciding("default: {image: one}")
    (tmp_path / "one-cmdline").unlink()
    (tmp_path / "one-kernel").unlink()
    with pytest.raises(NotFoundError, match="one-kernel"):
        decider.decide(Machine())


def test_reservations(deciding: Deciding) -> None:
    rule = "machines:\n  - {match: {mac: 'AA:00:00:00:00:01'}, image: one, address: 10.0.0.9}"
    assert {mac: str(address) for mac, address in deciding(rule).reservations().items()} == \
        {"aa:00:00:00:00:01": "10.0.0.9"}
