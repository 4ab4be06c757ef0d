"""What of the demo needs no machine; tests/system/test_demo.py boots one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from provisioner.demo import Plan, Probe, Rack
from provisioner.errors import NotFoundError
from provisioner.model.event import discard
from provisioner.netboot import lab


def test_a_probe_is_a_port_and_a_path() -> None:
    assert Probe.parse("2375/info") == Probe(2375, "/info")
    assert Probe.parse("9100") == Probe(9100, "/")
    with pytest.raises(ValueError, match="invalid literal"):
        Probe.parse("info")


def test_a_missing_image_is_found_before_anything_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    left = []

    @contextmanager
    def entered(plan: lab.Lab) -> Iterator[lab.Entered]:
        try:
            yield lab.Entered(plan, {})
        finally:
            left.append("lab")

    monkeypatch.setattr(lab, "entered", entered)
    rack = Rack(Plan(tmp_path / "none", {}), lambda _: None, discard)
    with pytest.raises(NotFoundError, match="none-kernel is not there"):
        rack.__enter__()
    assert left == ["lab"]
