"""Settings from a file or for one image."""

from __future__ import annotations

from ipaddress import IPv4Interface
from pathlib import Path

import pytest

from provisioner.errors import InputError, NotFoundError
from provisioner.model.machine import Machine
from provisioner.netboot.config import SubnetConfig
from provisioner.netboot.network import Interface
from provisioner.netboot.settings import for_one_image, from_file, own_subnet, reload, subnets_of
from tests.netboot.conftest import ImageMaker


def test_one_image_for_everybody(make_image: ImageMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    base = make_image("docker")
    monkeypatch.chdir(base.parent)
    spec = for_one_image(Path("docker"), "quiet").decide(Machine("52:54:00:00:00:01", arch="amd64"))
    assert spec is not None
    assert (spec.image, spec.rule, spec.cmdline) == ("docker", "default", "console=ttyS0 quiet")
    assert spec.kernel == base.with_name("docker-kernel")


def test_an_image_that_is_not_there_or_an_append_that_cannot_be(make_image: ImageMaker, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="none-kernel is not there"):
        for_one_image(tmp_path / "none")
    with pytest.raises(InputError, match="--append"):
        for_one_image(make_image(), "a && b")


def test_reload_gives_the_new_decisions_or_what_is_wrong(tmp_path: Path, make_image: ImageMaker) -> None:
    make_image()
    file = tmp_path / "machines.yml"
    file.write_text("default: {image: docker}")
    assert from_file(file).config.default is not None
    assert reload(file)[1] == ""
    file.write_text("default: {imag: docker}")
    decider, problem = reload(file)
    assert decider is None
    assert f"{file}:1:11: unknown key `imag`" in problem


@pytest.mark.parametrize(("address", "low", "high"), [
    ("10.99.0.1/24", "10.99.0.128", "10.99.0.254"),
    ("192.168.1.1/29", "192.168.1.4", "192.168.1.6"),
    ("10.0.0.1/8", "10.128.0.0", "10.128.15.255"),
])
def test_an_interfaces_own_network(address: str, low: str, high: str) -> None:
    subnet = own_subnet(Interface("eth1", IPv4Interface(address), 1500))
    assert [(str(first), str(last)) for first, last in subnet.ranges] == [(low, high)]


def test_a_network_too_small() -> None:
    with pytest.raises(InputError, match="too small"):
        own_subnet(Interface("eth1", IPv4Interface("10.0.0.1/30"), 1500))


def test_configured_subnets() -> None:
    config = SubnetConfig.model_validate_json('{"network": "10.0.0.0/24", "ranges": ["10.0.0.5"], "lease": 99}')
    subnet, = subnets_of((config,))
    assert (str(subnet.network), str(subnet.ranges[0][1]), subnet.lease) == ("10.0.0.0/24", "10.0.0.5", 99)
