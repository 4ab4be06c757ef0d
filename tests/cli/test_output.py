"""Results go to standard output, progress to standard error, everything as JSON on request."""

from __future__ import annotations

import json

import pytest

from provisioner.cli.output import Output, human
from provisioner.model.event import Event


def test_tables_for_people_and_programs(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [("a", 1), ("longer", 22)]
    Output().table(("Name", "File size"), rows)
    assert capsys.readouterr().out == "Name    File size\na       1\nlonger  22\n"
    Output(as_json=True).table(("Name", "File size"), rows)
    assert json.loads(capsys.readouterr().out)[1] == {"name": "longer", "file_size": 22}


def test_progress_is_silent_when_asked(capsys: pytest.CaptureFixture[str]) -> None:
    Output(quiet=True).info("x")
    Output(as_json=True).info("x")
    Output().warn("careful")
    got = capsys.readouterr()
    assert (got.out, got.err) == ("", "warning: careful\n")


def test_events_are_lines(capsys: pytest.CaptureFixture[str]) -> None:
    event = Event("dhcp", "offer", machine="52:54:00:00:00:01", detail="10.0.0.5", data={"lease": 60})
    Output().event(event)
    assert capsys.readouterr().err == "dhcp 52:54:00:00:00:01 offer 10.0.0.5\n"
    Output(as_json=True).event(event)
    assert json.loads(capsys.readouterr().out)["data"] == {"lease": 60}


@pytest.mark.parametrize(("size", "text"), [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (18_400_000, "18.4 MB"),
                                            (2_000_000_000_000, "2000.0 GB")])
def test_sizes_read_well(size: int, text: str) -> None:
    assert human(size) == text
