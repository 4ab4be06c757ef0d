"""Initrds from segments: what is reused, what is repaired, and what the kernel needs."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from provisioner.archive.initrd import Segment, segments
from provisioner.archive.output import Outputs
from provisioner.archive.segments import SegmentStore
from provisioner.errors import DigestError, InputError
from provisioner.formats._initrd import Initrd, note
from provisioner.model.tree import Entry, Kind, Part
from tests.formats.made import Place, Source, sources, tree


def write(place: Place, parts: list[Source], **more: object) -> bytes:
    with Outputs() as outputs, Initrd(tree(parts), place.options(outputs, **more)) as initrd:
        file = outputs.create(place.target)
        initrd.write(file)
        outputs.commit()
    return place.target.read_bytes()


def read(data: bytes) -> list[tuple[Segment, list[str]]]:
    with_ucode = data.removeprefix(b"UCODE\0\0\0")
    path = Path("/dev/null")
    assert path
    import io

    found = segments(io.BytesIO(with_ucode), "x")
    return [(segment, [entry.path for entry in entries]) for segment, entries in found]


def test_the_chain_of_a_tree(tmp_path: Path) -> None:
    found = read(write(Place(tmp_path), sources()))
    assert [names for _, names in found] == [
        ["lib", "lib/modules", "lib/modules/6.1"],
        ["boot", "lib/modules/6.1/a.ko"],
        ["bin", "etc", "bin/sh"],
        ["containers", "containers/onboot", "containers/onboot/000-a"],
        ["containers/onboot/000-a/config.json", "etc/motd", "etc/issue"],
        [],
    ]


def test_every_directory_is_there_before_it_is_needed(tmp_path: Path) -> None:
    for method in ("gzip", "none"):
        seen: set[str] = set()
        for _, names in read(write(Place(tmp_path), sources(), compress=method)):
            for name in names:
                parent = name.rpartition("/")[0]
                assert not parent or parent in seen, name
                seen.add(name)


def test_microcode_comes_first_and_uncompressed(tmp_path: Path) -> None:
    assert write(Place(tmp_path), sources()).startswith(b"UCODE\0\0\0\x1f\x8b")


def test_only_what_changed_is_read_and_compressed_again(tmp_path: Path) -> None:
    place = Place(tmp_path)
    first, second = sources(), sources()
    before = write(place, first)
    second[3] = Source("files[0]", ("etc/motd", b"changed"))
    place.events.clear()
    after = write(place, second)
    assert [source.reads for source in first] == [1, 1, 1, 1, 1]
    assert [source.reads for source in second] == [0, 0, 1, 1, 1]
    assert place.details("segment") == ["init[0] unchanged", "kernel unchanged", "onboot[0] … files[1] compressed"]
    assert before != after
    assert write(place, sources()) == before


def test_the_cache_does_not_show_in_the_bytes(tmp_path: Path) -> None:
    one, other = Place(tmp_path / "one"), Place(tmp_path / "other")
    assert write(one, sources()) == write(other, sources(), jobs=1) == write(one, sources())


@pytest.mark.parametrize("name", ["segment", "taken"])
def test_a_damaged_cache_is_made_again(tmp_path: Path, name: str) -> None:
    place = Place(tmp_path)
    good = write(place, sources())
    for folder in (tmp_path / "cache" / "segments").iterdir():
        for path in folder.glob(f"{name}*"):
            path.write_bytes(bytes(path.stat().st_size))
    assert write(place, sources()) == good
    assert write(place, sources()) == good


def test_a_cache_that_cannot_be_mended_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("provisioner.formats._initrd.copy", lambda *_args, **_more: False)
    with pytest.raises(DigestError, match="damaged again and again"):
        write(Place(tmp_path), sources())


def test_a_segment_that_another_process_removed_is_made_again(tmp_path: Path) -> None:
    place = Place(tmp_path)
    good = write(place, sources())
    with Outputs() as outputs, Initrd(tree(sources()), place.options(outputs)) as initrd:
        SegmentStore(tmp_path / "cache" / "segments", "gzip").forget("init")
        initrd.write(outputs.create(place.target))
        outputs.commit()
    assert place.target.read_bytes() == good


def test_nothing_but_segments_stays_in_the_cache(tmp_path: Path) -> None:
    place = Place(tmp_path)
    write(place, sources())
    folders = list((tmp_path / "cache" / "segments").iterdir())
    assert len(folders) == 2
    assert not [folder for folder in folders if folder.name.startswith(".")]


def test_a_failing_part_stops_the_others_and_leaves_nothing(tmp_path: Path) -> None:
    started = threading.Event()

    def endless() -> Iterator[Entry]:
        started.set()
        for number in iter(int, 1):
            yield Entry(f"d{number}", Kind.DIR)
            yield Entry("f", Kind.FILE, size=1 << 20, content=iter(lambda: bytes(1 << 10), None))

    def broken() -> Iterator[Entry]:
        started.wait(30)
        yield Entry("a", Kind.DIR)
        raise InputError("the layer is broken")

    place = Place(tmp_path)
    parts = [Part("init[0]", endless, key="endless"), Part("init[1]", broken, key="broken")]
    image = tree()
    with Outputs() as outputs, pytest.raises(InputError):
        Initrd(type(image)(image.name, image.platform, "", tuple(parts)), place.options(outputs)).__enter__()
    assert list((tmp_path / "cache" / "segments").iterdir()) == []


def test_what_was_taken_and_how_much_there_is(tmp_path: Path) -> None:
    place = Place(tmp_path)
    with Outputs() as outputs, Initrd(tree(sources()), place.options(outputs)) as initrd:
        assert initrd.has("boot/kernel")
        assert not initrd.has("boot/missing")
        assert initrd.entries == 2 + 3 + 3
        file = outputs.create(place.target)
        initrd.copy_taken("boot/kernel", file)
        assert file.size == 6


def test_attributes_that_are_lost_are_said_once(tmp_path: Path) -> None:
    place = Place(tmp_path)
    entry = Entry("usr/bin/ping", Kind.FILE, xattrs=(("security.capability", b"x"),))
    for _ in range(2):
        place.events.clear()
        write(place, [Source("init[0]", entry, key="caps")])
        assert len(place.details("warning")) == 1


def test_the_last_segment_tells_where_everything_came_from(tmp_path: Path) -> None:
    (segment, names) = read(write(Place(tmp_path), sources()))[-1]
    assert names == []
    facts = json.loads(segment.notes[0])
    assert facts["cmdline"] == "console=ttyS0"
    assert facts["platform"] == "linux/amd64"
    assert [(part["location"], part["source"]) for part in facts["parts"]] == [
        ("kernel", "acme/kernel:1"), ("init[0]", "acme/init:1"), ("onboot[0]", "acme/a:1")]
    assert segment.notes[0] == note(tree())
