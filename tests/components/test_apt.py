"""The host's mirror, apt's private root, and apt's words made into errors; the real apt against a signed archive."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest

from provisioner import process
from provisioner.components import apt
from provisioner.components.apt import AptRoot, Mirror, Package
from provisioner.errors import NetworkError, NotFoundError, ProvisionerError
from provisioner.model.event import Event
from tests.fakes.debian import Archive

DEB822 = """\
Types: deb
# a comment in between
URIs: http://mirror.example/debian/
Suites: bookworm
 bookworm-updates
Components: main contrib
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: https://security.example/debian-security
Suites: bookworm-security
Components: main

Types: deb
Enabled: no
URIs: http://off.example/debian
Suites: bookworm
Components: main
"""
ONE_LINE = """\
# deb http://comment.example/debian bookworm main
deb-src http://source.example/debian bookworm main
deb [signed-by=/k.gpg arch=amd64] http://mirror.example/debian bookworm main # mine
deb http://mirror.example/debian bookworm-updates main
deb https://security.example/debian-security bookworm-security main
"""
OTHERS = "deb https://other.example/linux/debian bookworm stable\ndeb https://node.example/node_20.x nodistro main\n"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROVISIONER_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("PROVISIONER_DEBIAN_MIRROR", raising=False)
    monkeypatch.delenv("PROVISIONER_DEBIAN_KEYRING", raising=False)


@pytest.mark.parametrize("files", [{"debian.sources": DEB822}, {"a.list": OTHERS, "b.list": ONE_LINE}])
def test_the_mirror_is_the_hosts_own(tmp_path: Path, files: dict[str, str]) -> None:
    (tmp_path / "sources.list.d").mkdir()
    for name, text in files.items():
        (tmp_path / "sources.list.d" / name).write_text(text)
    assert apt.mirror(etc=tmp_path) == Mirror("http://mirror.example/debian",
                                              "https://security.example/debian-security")


def test_the_environment_names_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROVISIONER_DEBIAN_MIRROR", "file:///srv/debian/ http://s.example/debian-security/")
    assert apt.mirror() == Mirror("file:///srv/debian", "http://s.example/debian-security")


def test_no_mirror_is_said_with_the_way_out(tmp_path: Path) -> None:
    (tmp_path / "sources.list").write_text(OTHERS)
    with pytest.raises(NotFoundError, match="no Debian mirror") as caught:
        apt.mirror(etc=tmp_path)
    assert "PROVISIONER_DEBIAN_MIRROR" in caught.value.hint


def test_paths_name_no_mirror() -> None:
    mirror = Mirror("http://m.example/debian", "http://m.example/debian-security")
    for url in ("http://m.example/debian/pool/a_1%3a2.deb", "http://m.example/debian-security/pool/b.deb"):
        path = mirror.path(url)
        assert "example" not in path
        assert mirror.url(path) == url.replace("%3a", ":")
    with pytest.raises(NetworkError, match="not on the mirror"):
        mirror.path("http://elsewhere.example/debian/pool/a.deb")
    with pytest.raises(NotFoundError, match="no mirror for debian-security"):
        Mirror("http://m.example/debian").url("debian-security/pool/b.deb")


class FakeApt:
    """Stands for apt-get: answers of `update` in turn, one of `install`."""

    def __init__(self, updates: Sequence[tuple[int, str]], install: tuple[int, str, str] = (0, "", "")) -> None:
        self.updates, self.answer, self.calls = list(updates), install, 0

    def __call__(self, argv: Sequence[str], *, env: Mapping[str, str] | None = None, check: bool = True,
                 **_rest: object) -> process.Completed:
        if argv[0] == "apt-config":
            dump = b'Acquire::http::Proxy "http://proxy.example:3142";\nAcquire::cdrom "";\n'
            return process.Completed(0, dump, b"")
        assert env
        assert Path(env["APT_CONFIG"]).is_file()
        if argv[1] == "update":
            self.calls += 1
            code, words = self.updates.pop(0)
            return process.Completed(code, b"", words.encode())
        code, out, words = self.answer
        return process.Completed(code, out.encode(), words.encode())


Root = Callable[[FakeApt], AptRoot]


@pytest.fixture
def root(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Root:
    (tmp_path / "key.gpg").write_bytes(b"key")
    monkeypatch.setenv("PROVISIONER_DEBIAN_KEYRING", str(tmp_path / "key.gpg"))

    def make(fake: FakeApt) -> AptRoot:
        monkeypatch.setattr(process, "run", fake)
        return AptRoot("trixie", "arm64", source=Mirror("http://m.example/debian", "http://m.example/debian-security"),
                       sleep=lambda _seconds: None)

    return make


def test_reads_what_apt_would_install(root: Root) -> None:
    name = "tool_1%3a2_arm64.deb"
    line = f"'http://m.example/debian/pool/main/t/tool/{name}' {name} 77 SHA256:{'a' * 64}\n"
    made = root(FakeApt([(0, "")], (0, line + "noise\n", "")))
    assert made.resolve(["tool"]) == [
        Package("tool", "1:2", "debian/pool/main/t/tool/tool_1:2_arm64.deb", 77, "a" * 64)]
    text = (made.root / "apt.conf").read_text()
    assert 'APT::Architectures { "arm64"; };' in text
    assert "proxy.example" in text
    assert "cdrom" not in text
    stanza = (made.root / "sources/debian.sources").read_text()
    assert "Suites: trixie trixie-updates\n" in stanza
    assert "Suites: trixie-security\n" in stanza


def test_a_young_index_is_not_fetched_again(root: Root) -> None:
    fake = FakeApt([(0, ""), (0, "")])
    made = root(fake)
    made.resolve(["tool"])
    made.resolve(["tool"])
    assert fake.calls == 1
    made.resolve(["tool"], fresh=True)
    assert fake.calls == 2


SYNC = "E: Failed to fetch http://m.example/dists/x  File has unexpected size (1 != 2). Mirror sync in progress?"


def test_a_synchronising_mirror_is_tried_again(root: Root) -> None:
    fake = FakeApt([(100, SYNC), (0, f"W: {SYNC[3:]}"), (0, "")])
    made, seen = root(fake), list[Event]()
    made.sink = seen.append
    made.resolve(["tool"])
    assert fake.calls == 3
    assert sum("synchronised" in event.detail for event in seen) == 2


@pytest.mark.parametrize(("words", "error", "message", "hint"), [
    (SYNC, NetworkError, "middle of a synchronisation", "later"),
    ("E: Failed to fetch x  Temporary failure resolving 'm.example'", NetworkError, "cannot be fetched", "MIRROR"),
    ("E: The repository 'x' is not signed.\nW: NO_PUBKEY 0E98404D386FA1D9", NetworkError, "not signed by", "KEYRING"),
    ("E: Write error - write (28: No space left on device)", ProvisionerError, "no space", "prune"),
])
def test_an_index_that_cannot_be_had(root: Root, words: str, error: type[ProvisionerError], message: str,
                                     hint: str) -> None:
    with pytest.raises(error, match=message) as caught:
        root(FakeApt([(100, words)] * 4)).resolve(["tool"])
    assert hint in caught.value.hint


@pytest.mark.parametrize(("words", "message"), [
    ("E: Unable to locate package nosuch", "trixie/arm64 has no package nosuch"),
    ("E: Package 'old' has no installation candidate", "trixie/arm64 has no package old"),
    ("E: Unable to correct problems, you have held broken packages.", "cannot resolve tool"),
])
def test_packages_that_cannot_be_had(root: Root, words: str, message: str) -> None:
    with pytest.raises(ProvisionerError, match=message):
        root(FakeApt([(0, "")], (100, "", words))).resolve(["tool"])


@pytest.mark.tool
def test_the_real_apt_against_a_signed_archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = Archive(tmp_path / "mirror")
    archive.add("tool", {}, arch="arm64", depends="libx")
    archive.add("libx", {}, version="2:1.0+b1", arch="arm64")
    archive.add("other", {}, arch="arm64")
    monkeypatch.setenv("PROVISIONER_DEBIAN_KEYRING", str(archive.index(tmp_path / "gnupg")))
    made = AptRoot("trixie", "arm64", source=Mirror(archive.url))
    monkeypatch.setenv("PROVISIONER_DEBIAN_MIRROR", archive.url)
    assert made.resolve(["tool"]) == sorted([archive.packages["tool", "arm64"], archive.packages["libx", "arm64"]])
    with pytest.raises(NotFoundError, match="no package nosuch"):
        made.resolve(["nosuch"])

    release = archive.root / "dists/trixie/InRelease"
    release.write_text(release.read_text().replace("Label: Debian", "Label: Forged"))
    with pytest.raises(NetworkError):
        made.resolve(["tool"], fresh=True)
