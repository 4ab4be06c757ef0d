"""Router solicitations: answered with «no router», as scapy reads it."""

from __future__ import annotations

import struct

import pytest

from provisioner.netboot.solicitation import _only
from tests.netboot.inside import run_inside


def test_the_filter_lets_one_type_pass() -> None:
    words = struct.unpack("=8I", _only(133))
    passing = [kind for kind in range(256) if not words[kind >> 5] >> (kind & 31) & 1]
    assert passing == [133]


@pytest.mark.tool
def test_an_answer_on_the_wire() -> None:
    run_inside("solicitation")
