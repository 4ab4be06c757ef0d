"""Debian's archive through a private apt root: any suite and architecture, as any user, the host's apt untouched.

The mirror is the one that the host itself uses (``/etc/apt/sources.list`` and ``sources.list.d``), or what
``PROVISIONER_DEBIAN_MIRROR`` names: the URL of the archive and, after a space, the URL of its security archive.
Indexes are verified by apt against ``PROVISIONER_DEBIAN_KEYRING`` or the host's debian-archive-keyring.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

from provisioner import data, process
from provisioner.errors import NetworkError, NotFoundError, ProvisionerError
from provisioner.model.event import Event, Sink, discard

KEYRINGS = ("/usr/share/keyrings/debian-archive-keyring.gpg", "/usr/share/keyrings/debian-archive-keyring.pgp")
ARCHIVES = ("debian", "debian-security")
_SYNC = re.compile(r"Mirror sync in progress|Hash Sum mismatch|has unexpected size", re.IGNORECASE)
_URI = re.compile(r"^'(?P<uri>[^']+)' (?P<file>\S+) (?P<size>\d+) SHA256:(?P<sha256>[0-9a-f]{64})$")
_FRESH = 6 * 3600
_PAUSES = (3.0, 10.0, 30.0)


@dataclass(frozen=True, slots=True, order=True)
class Package:
    """One .deb: ``path`` starts with ``debian/`` or ``debian-security/`` and is relative to the mirror."""

    name: str
    version: str
    path: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Mirror:
    """Where the archive and its security updates are; ``security`` may be empty."""

    main: str
    security: str = ""

    def url(self, path: str) -> str:
        """Return the URL of a lock file's ``path``; raise NotFoundError when its archive has no mirror."""
        archive, _, rest = path.partition("/")
        base = self.security if archive == "debian-security" else self.main
        if not base:
            raise NotFoundError(f"no mirror for {path}",
                                hint="name the security archive after a space in PROVISIONER_DEBIAN_MIRROR")
        return f"{base}/{rest}"

    def path(self, url: str) -> str:
        """Return a URL as a lock file's path."""
        plain = re.sub(r"^file:/+", "file:///", unquote(url))      # apt writes file: with one slash
        bases = [(self.security, ARCHIVES[1]), (self.main, ARCHIVES[0])]
        for base, archive in sorted(bases, key=lambda pair: len(pair[0]), reverse=True):
            if base and plain.startswith(base + "/"):
                return archive + plain[len(base):]
        raise NetworkError(f"apt named {url}, which is not on the mirror {self.main}")


def mirror(*, etc: Path = Path("/etc/apt")) -> Mirror:
    """Return the mirror to use; raise NotFoundError when the host has none and none is named."""
    if named := os.environ.get("PROVISIONER_DEBIAN_MIRROR", "").split():
        return Mirror(named[0].rstrip("/"), named[1].rstrip("/") if len(named) > 1 else "")
    main = security = ""
    for url, suite, parts in sources(etc):
        if "main" not in parts or not re.search(r"debian[^/]*$", url):
            continue            # somebody else's repository
        if suite.endswith(("-security", "/updates")):
            security = security or url
        elif re.fullmatch(r"[a-z]+", suite):
            main = main or url
    if not main:
        raise NotFoundError("no Debian mirror is known: this machine's apt sources name none",
                            hint="set PROVISIONER_DEBIAN_MIRROR='URL [SECURITY-URL]'")
    return Mirror(main, security)


def sources(etc: Path) -> Iterator[tuple[str, str, list[str]]]:
    """Yield (URL, suite, areas such as main) of every binary source below ``etc``, in both of apt's formats."""
    files = [etc / "sources.list", *sorted((etc / "sources.list.d").glob("*"))]
    for path in files:
        if not path.is_file():
            continue
        text = path.read_text(errors="replace")
        if path.suffix == ".list":
            yield from _one_line(text)
        elif path.suffix == ".sources":
            yield from _deb822(text)


def _one_line(text: str) -> Iterator[tuple[str, str, list[str]]]:
    for line in text.splitlines():
        match = re.match(r"\s*deb\s+(?:\[[^\]]*\]\s*)?(\S+)\s+(\S+)([^#]*)", line)
        if match:
            yield match[1].rstrip("/"), match[2], match[3].split()


def _deb822(text: str) -> Iterator[tuple[str, str, list[str]]]:
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    for stanza in re.split(r"\n\s*\n", "\n".join(lines)):
        fields = {key.lower(): value.split() for key, value in
                  re.findall(r"^([A-Za-z-]+):[ \t]*(.*(?:\n[ \t]+.*)*)", stanza, re.MULTILINE)}
        if "deb" not in fields.get("types", []) or fields.get("enabled", ["yes"])[0].lower() in ("no", "false"):
            continue
        for url in fields.get("uris", []):
            for suite in fields.get("suites", []):
                yield url.rstrip("/"), suite, fields.get("components", [])


def keyring() -> Path:
    """Return the keyring that signs the archive."""
    if chosen := os.environ.get("PROVISIONER_DEBIAN_KEYRING"):
        return Path(chosen)
    for path in map(Path, KEYRINGS):
        if path.exists():
            return path
    raise NotFoundError("the keyring of Debian's archive is not installed",
                        hint="apt-get install debian-archive-keyring, or set PROVISIONER_DEBIAN_KEYRING")


class AptRoot:
    """apt's state for one suite and architecture, in the cache; two processes may use it at once."""

    def __init__(self, suite: str, arch: str, *, source: Mirror | None = None, sink: Sink = discard,
                 sleep: Callable[[float], None] = time.sleep) -> None:
        self.suite, self.arch, self.sink = suite, arch, sink
        self.mirror = source or mirror()
        self.root = data.cache_dir() / "apt" / f"{suite}-{arch}"
        self._sleep = sleep

    def resolve(self, packages: Sequence[str], *, fresh: bool = False) -> list[Package]:
        """Return ``packages`` and all they depend on (Recommends left out), by name.

        ``fresh`` fetches the index even when the one at hand is young. Raises NetworkError when the mirror cannot be
        used, NotFoundError when a package is not in the suite.
        """
        with self._locked():
            self._update(fresh=fresh)
            done = process.run(["apt-get", "install", "--print-uris", "-qq", "-y", *packages],
                               env=self._environment(), check=False)
        if done.returncode:
            raise _unresolved(self, packages, done.stderr.decode(errors="replace"))
        found = [match for line in done.text.splitlines() if (match := _URI.match(line))]
        return sorted(self._package(match) for match in found)

    def _package(self, match: re.Match[str]) -> Package:
        name, version, _ = unquote(match["file"]).split("_")
        return Package(name, version, self.mirror.path(match["uri"]), int(match["size"]), match["sha256"])

    def _update(self, *, fresh: bool) -> None:
        self._write()
        stamp = self.root / "updated"
        marker = f"{self.mirror.main} {self.mirror.security}\n"
        young = stamp.exists() and time.time() - stamp.stat().st_mtime < _FRESH and stamp.read_text() == marker
        if young and not fresh:
            return
        self.sink(Event("components", "index", f"{self.suite}/{self.arch}", detail="fetching the package index"))
        for pause in (*_PAUSES, None):
            done = process.run(["apt-get", "update", "-qq"], env=self._environment(), check=False)
            words = done.stderr.decode(errors="replace")
            if not done.returncode and not re.search(r"^[EW]: Failed to fetch", words, re.MULTILINE):
                stamp.write_text(marker)
                return
            if pause is None or not _SYNC.search(words):
                raise _unusable(self, words)
            self.sink(Event("components", "index", f"{self.suite}/{self.arch}",
                            detail=f"the mirror is being synchronised, trying again in {pause:g} s"))
            self._sleep(pause)

    def _write(self) -> None:
        for name in ("lists/partial", "archives/partial", "sources", "none"):
            (self.root / name).mkdir(parents=True, exist_ok=True)
        (self.root / "status").touch()
        (self.root / "apt.conf").write_text(_host_settings() + _configuration(self.root, self.arch))
        (self.root / "sources" / "debian.sources").write_text(_stanzas(self.mirror, self.suite, keyring()))

    def _environment(self) -> dict[str, str]:
        kept = {key: value for key, value in os.environ.items() if key.lower().endswith("_proxy") or key == "PATH"}
        return kept | {"APT_CONFIG": str(self.root / "apt.conf"), "LC_ALL": "C.UTF-8", "HOME": str(self.root)}

    @contextmanager
    def _locked(self) -> Iterator[None]:
        self.root.mkdir(parents=True, exist_ok=True)
        with (self.root / "lock").open("w") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield


def _configuration(root: Path, arch: str) -> str:
    settings = {
        "APT::Architecture": arch,
        "APT::Install-Recommends": "0",
        "APT::Sandbox::User": "root",            # the cache is the user's: apt's own user could not read it
        "Dir::State": str(root),
        "Dir::State::status": str(root / "status"),   # empty: nothing is installed, so every dependency is named
        "Dir::State::lists": str(root / "lists"),
        "Dir::Cache": str(root),
        "Dir::Cache::pkgcache": "",              # 60 MB that one run does not pay back
        "Dir::Cache::srcpkgcache": "",
        "Dir::Etc": str(root),
        "Dir::Etc::sourcelist": "/dev/null",
        "Dir::Etc::sourceparts": str(root / "sources"),
        "Dir::Etc::parts": str(root / "none"),
        "Dir::Etc::preferences": "/dev/null",
        "Dir::Etc::preferencesparts": str(root / "none"),
        "Acquire::Languages": "none",
        "Acquire::ForceHash": "SHA256",          # print-uris would name MD5 only
        "Acquire::GzipIndexes": "true",
        "Acquire::Retries": "3",
    }
    lines = [f'{key} "{value}";\n' for key, value in settings.items()]
    return "".join(lines) + f'#clear APT::Architectures;\nAPT::Architectures {{ "{arch}"; }};\n'


def _host_settings() -> str:
    # How this machine reaches a mirror (proxies, certificates) is told in its own apt.conf, which a private root
    # does not read.
    done = process.run(["apt-config", "dump", "--format", '%F "%v";%n', "Acquire"], check=False)
    wanted = re.compile(r"Acquire::(?:https?|ftp)::")
    return "".join(f"{line}\n" for line in done.text.splitlines() if wanted.match(line))


def _stanzas(source: Mirror, suite: str, signer: Path) -> str:
    rows = [(source.main, f"{suite} {suite}-updates"), (source.security, f"{suite}-security")]
    if os.environ.get("PROVISIONER_DEBIAN_MIRROR"):
        rows[0] = (source.main, suite)      # a mirror that somebody made need not have the updates suite
    return "".join(f"Types: deb\nURIs: {url}\nSuites: {suites}\nComponents: main\nSigned-By: {signer}\n\n"
                   for url, suites in rows if url)


def _unusable(root: AptRoot, words: str) -> ProvisionerError:
    lines = [line for line in words.splitlines() if line.startswith(("E:", "W:"))][:6]
    if _SYNC.search(words):
        return NetworkError(f"the mirror's index of {root.suite}/{root.arch} is in the middle of a synchronisation: "
                            + " ".join(lines), hint="try again later; nothing is wrong on this machine")
    if "NO_PUBKEY" in words or "not signed" in words:
        return NetworkError(f"the index of {root.suite} is not signed by a key of {keyring()}: " + " ".join(lines),
                            hint="update debian-archive-keyring, or name a keyring in PROVISIONER_DEBIAN_KEYRING")
    if "No space left" in words or shutil.disk_usage(root.root).free < 2**20:
        return ProvisionerError(f"no space for the package index in {root.root}", hint="provisioner cache prune")
    return NetworkError(f"the package index of {root.suite}/{root.arch} cannot be fetched: "
                        + (" ".join(lines) or words.strip()),
                        hint="check the network and the mirror; PROVISIONER_DEBIAN_MIRROR names another one")


def _unresolved(root: AptRoot, packages: Sequence[str], words: str) -> ProvisionerError:
    missing = re.findall(r"Unable to locate package (\S+)|Package '?(\S+?)'? has no installation candidate", words)
    if missing:
        gone = ", ".join(sorted({name for pair in missing for name in pair if name}))
        return NotFoundError(f"{root.suite}/{root.arch} has no package {gone}",
                             hint="look at the recipe's packages, or try again later if the mirror is being "
                                  "synchronised")
    return ProvisionerError(f"apt cannot resolve {' '.join(packages)} for {root.suite}/{root.arch}: "
                            + " ".join(words.split()))
