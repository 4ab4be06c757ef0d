"""Looking for another DHCP server: dnsmasq is found, an empty wire is found empty."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.netboot.conftest import ImageMaker
from tests.netboot.inside import run_inside


@pytest.mark.tool
@pytest.mark.parametrize("mode", ["proxy", "auto"])
def test_beside_dnsmasq_we_only_name_files(tmp_path: Path, make_image: ImageMaker, mode: str) -> None:
    run_inside("proxy_beside_dnsmasq", str(make_image()), str(tmp_path), mode)


@pytest.mark.tool
def test_alone_on_the_wire_we_give_addresses(tmp_path: Path, make_image: ImageMaker) -> None:
    run_inside("nobody_else", str(make_image()), str(tmp_path))
