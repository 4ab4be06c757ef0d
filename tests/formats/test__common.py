"""Names and progress that formats share."""

from __future__ import annotations

from pathlib import Path

from provisioner.archive.output import Outputs
from provisioner.formats._common import artifact, beside, suffixed
from provisioner.model.tree import Entry, Kind
from tests.formats.made import Place, tree


def test_a_suffix_is_appended_whatever_the_name() -> None:
    assert suffixed(Path("out/docker.v1"), "-kernel") == Path("out/docker.v1-kernel")


def test_what_boots_is_delivered_beside() -> None:
    assert beside(Entry("boot/kernel", Kind.FILE))
    assert not beside(Entry("boot", Kind.DIR))
    assert not beside(Entry("boot/other", Kind.FILE))


def test_progress_and_artifacts(tmp_path: Path) -> None:
    place = Place(tmp_path)
    with Outputs() as outputs:
        options = place.options(outputs)
        options.tell("step", "name", "detail", {"size": 3})
        file = outputs.create(tmp_path / "x")
        file.write(b"abc")
        made = artifact(file, "kernel", "f", tree())
    event, = place.events
    assert (event.source, event.stage, event.name, event.detail, event.data) == (
        "build", "step", "name", "detail", {"size": 3})
    assert (made.path, made.role, made.format, made.size, str(made.platform)) == (
        tmp_path / "x", "kernel", "f", 3, "linux/amd64")
