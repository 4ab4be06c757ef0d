"""machines.yml: everything that it may say, and every fault at its place."""

from __future__ import annotations

from pathlib import Path

import pytest

from provisioner.errors import InputError, NotFoundError
from provisioner.netboot import config
from tests.netboot.conftest import ImageMaker

FULL = """\
server:
  interface: [eth1, eth2]
  mode: full
  http_port: 8080
  tftp_root: tftp
  subnets:
    - network: 10.99.0.0/24
      ranges: [10.99.0.100-10.99.0.200, 10.99.0.50]
      router: 10.99.0.1
      dns: [10.99.0.1]
      lease: 600
default:
  image: docker
machines:
  - name: node1
    match: {mac: 52-54-00-00-00-AB}
    image: {amd64: docker, arm64: docker-arm64}
    append: console=ttyS1
    address: 10.99.0.51
  - match: {serial: SN 1*, arch: arm64}
    image: docker-arm64
"""


def read(path: Path, text: str) -> config.Config:
    file = path / "machines.yml"
    file.write_text(text)
    return config.load(file)


def problems(path: Path, text: str) -> list[str]:
    with pytest.raises(InputError) as error:
        read(path, text)
    return [str(problem).removeprefix(f"{path}/") for problem in error.value.problems]


def test_everything(tmp_path: Path, make_image: ImageMaker) -> None:
    make_image("docker")
    make_image("docker-arm64", arch="arm64")
    found = read(tmp_path, FULL)
    assert found.server.interfaces == ("eth1", "eth2")
    assert [(str(low), str(high)) for low, high in found.server.subnets[0].pairs()] == \
        [("10.99.0.100", "10.99.0.200"), ("10.99.0.50", "10.99.0.50")]
    assert found.machines[0].match.mac == "52:54:00:00:00:ab"
    assert dict(found.machines[0].bases()) == {"amd64": "docker", "arm64": "docker-arm64"}
    assert found.default is not None


def test_one_interface_by_its_name(tmp_path: Path, make_image: ImageMaker) -> None:
    make_image()
    assert read(tmp_path, "server: {interface: eth1}\ndefault: {image: docker}").server.interfaces == ("eth1",)


@pytest.mark.parametrize(("text", "expected"), [
    ("servr: {}", "machines.yml:1:1: unknown key `servr`"),
    ("server: {mode: fast}", "machines.yml:1:16: server.mode"),
    ("server: {http_port: 70000}", "machines.yml:1:21"),
    ("machines:\n  - match: {mac: nonsense}\n    image: docker", "machines.yml:2:18"),
    ("machines:\n  - match: {uuid: '12'}\n    image: docker", "is no UUID"),
    ("machines:\n  - match: {}\n    image: docker", "machines.yml:2:12"),
    ("machines:\n  - match: {mac: '*'}", "`image` is missing"),
    ("machines:\n  - match: {mac: '*'}\n    image: docker\n    address: 10.0.0.1", "one whole mac"),
    ("machines:\n  - name: a b\n    match: {mac: '*'}\n    image: docker", "machines.yml:2:11"),
    ("default: {image: docker, append: 'a ${b}'}", "would be expanded"),
    ("server: {subnets: [{network: 10.0.0.0/24, ranges: [10.0.1.1-10.0.1.9]}]}", "does not lie in 10.0.0.0/24"),
    ("server: {subnets: [{network: 10.0.0.0/24, ranges: [a-b]}]}", "is no range"),
    ("server: {subnets: [{network: 10.0.0.0/24, router: 10.9.0.1}]}", "router 10.9.0.1 does not lie"),
    ("server: {subnets: [{network: 10.0.0.0/24, lease: 5}]}", "machines.yml:1:50"),
])
def test_faults(tmp_path: Path, make_image: ImageMaker, text: str, expected: str) -> None:
    make_image()
    found = problems(tmp_path, text)
    assert any(expected in problem for problem in found), found


def test_twins_are_found_across_the_file(tmp_path: Path, make_image: ImageMaker) -> None:
    make_image()
    rule = "  - {{name: {0}, match: {{mac: '52:54:00:00:00:0{1}'}}, image: docker, address: 10.0.0.{2}}}\n"
    text = "machines:\n" + rule.format("a", 1, 9) + rule.format("a", 1, 8) + rule.format("b", 2, 9)
    found = problems(tmp_path, text)
    assert [problem.split(":")[1] for problem in found] == ["3", "3", "4"]
    assert "name a is used twice" in found[0]
    assert "same match" in found[1]
    assert "10.0.0.9 is given twice" in found[2]


def test_images_must_be_there_and_for_their_architecture(tmp_path: Path, make_image: ImageMaker) -> None:
    make_image()
    text = "default:\n  image: gone\nmachines:\n  - {match: {arch: arm64}, image: {arm64: docker}}"
    found = problems(tmp_path, text)
    assert found[0].startswith("machines.yml:2:10: image ")
    assert "gone-kernel is not there" in found[0]
    assert found[1].startswith("machines.yml:4:")
    assert "a kernel for amd64, not arm64" in found[1]


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"none\.yml"):
        config.load(tmp_path / "none.yml")
