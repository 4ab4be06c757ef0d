"""A component's layer is read back by tar."""

from __future__ import annotations

import io
import tarfile

from provisioner.components import layer
from provisioner.model.tree import Entry, Kind


def test_is_a_whole_archive() -> None:
    out = io.BytesIO()
    layer.write([Entry("usr", Kind.DIR, 0o755, mtime=7), Entry("usr/a", Kind.FILE, size=3, content=(b"ab", b"c")),
                 Entry("usr/l", Kind.SYMLINK, 0o777, target="a")], out)
    assert out.getvalue().endswith(bytes(1024))
    out.seek(0)
    with tarfile.open(fileobj=out) as archive:
        assert archive.getnames() == ["usr", "usr/a", "usr/l"]
        found = archive.extractfile("usr/l")
        assert found
        assert found.read() == b"abc"
        assert archive.getmember("usr").mtime == 7
