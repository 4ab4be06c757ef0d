"""Debian packages, ELF files and kernel modules, small, made by hand from their specifications."""

from __future__ import annotations

import gzip
import hashlib
import io
import lzma
import struct
import subprocess
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import zstandard

from provisioner.components.apt import Package

MACHINES = {"amd64": 62, "arm64": 183, "armhf": 40}
PACKERS = {"xz": lzma.compress, "gz": lambda data: gzip.compress(data, mtime=0), "zst": zstandard.compress,
           "": bytes}


@dataclass(frozen=True)
class Link:
    """A symlink in a package."""

    target: str


@dataclass(frozen=True)
class Hard:
    """A hard link in a package, by the path it leads to."""

    target: str


Content = bytes | Link | Hard | None  # None is a directory


def elf(arch: str = "amd64", needed: Sequence[str] = (), interpreter: str = "", runpath: str = "") -> bytes:
    """Return a 64-bit ELF file with nothing but what the dynamic linker reads (gABI chapter 5)."""
    strings = b"\0"
    places = []
    for text in [*needed, runpath]:
        places.append(len(strings))
        strings += text.encode() + b"\0"
    headers = 3 if interpreter else 2
    start = 64 + headers * 56
    interp = interpreter.encode() + b"\0" if interpreter else b""
    strtab = start + len(interp)
    dynamic = strtab + len(strings)
    tags = [(1, place) for place in places[:-1]] + ([(29, places[-1])] if runpath else [])
    tags += [(5, strtab), (10, len(strings)), (0, 0)]
    body = interp + strings + b"".join(struct.pack("<QQ", *tag) for tag in tags)
    total = start + len(body)
    segments = [struct.pack("<IIQQQQQQ", 1, 5, 0, 0, 0, total, total, 4096)]
    if interpreter:
        segments.append(struct.pack("<IIQQQQQQ", 3, 4, start, start, start, len(interp), len(interp), 1))
    size = len(tags) * 16
    segments.append(struct.pack("<IIQQQQQQ", 2, 4, dynamic, dynamic, dynamic, size, size, 8))
    ident = b"\x7fELF\x02\x01\x01" + bytes(9)
    head = struct.pack("<HHIQQQIHHHHHH", 3, MACHINES[arch], 1, 0, 64, 0, 0, 64, 56, headers, 64, 0, 0)
    return ident + head + b"".join(segments) + body


def module(**info: str | Sequence[str]) -> bytes:
    """Return a relocatable ELF file with a ``.modinfo`` section of ``key=value`` strings."""
    pairs = [(key, text) for key, value in info.items() for text in ([value] if isinstance(value, str) else value)]
    modinfo = b"".join(f"{key}={text}".encode() + b"\0" for key, text in pairs)
    names = b"\0.modinfo\0.shstrtab\0"
    sections = 64 + len(modinfo) + len(names)
    rows = [bytes(64),
            struct.pack("<IIQQQQIIQQ", 1, 1, 2, 0, 64, len(modinfo), 0, 0, 1, 0),
            struct.pack("<IIQQQQIIQQ", 10, 3, 0, 0, 64 + len(modinfo), len(names), 0, 0, 1, 0)]
    head = struct.pack("<HHIQQQIHHHHHH", 1, 62, 1, 0, 0, sections, 0, 64, 0, 0, 64, 3, 2)
    return b"\x7fELF\x02\x01\x01" + bytes(9) + head + modinfo + names + b"".join(rows)


def deb(name: str, files: Mapping[str, Content], *, version: str = "1.0", arch: str = "amd64", depends: str = "",
        packer: str = "xz") -> bytes:
    """Return a binary package (deb(5))."""
    fields = f"Package: {name}\nVersion: {version}\nArchitecture: {arch}\nMaintainer: Nobody\n"
    fields += (f"Depends: {depends}\n" if depends else "") + "Description: made for a test\n"
    suffix = f".{packer}" if packer else ""
    papers: dict[str, Content] = {f"usr/share/doc/{name}/copyright": f"licence of {name}\n".encode()}
    parts = [("debian-binary", b"2.0\n"),
             (f"control.tar{suffix}", PACKERS[packer](_tar({"control": fields.encode()}))),
             (f"data.tar{suffix}", PACKERS[packer](_tar({**papers, **files})))]
    out = b"!<arch>\n"
    for member, data in parts:
        head = f"{member:<16}{0:<12}{0:<6}{0:<6}{'100644':<8}{len(data):<10}`\n"
        out += head.encode() + data + b"\n" * (len(data) % 2)
    return out


def _tar(files: Mapping[str, Content]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for path, content in files.items():
            entry = tarfile.TarInfo(f"./{path}")
            entry.mtime = 1_700_000_000
            match content:
                case bytes():
                    entry.size, entry.mode = len(content), 0o4755 if content[:4] == b"\x7fELF" else 0o644
                    archive.addfile(entry, io.BytesIO(content))
                    continue
                case Link(target):
                    entry.type, entry.linkname = tarfile.SYMTYPE, target
                case Hard(target):
                    entry.type, entry.linkname = tarfile.LNKTYPE, f"./{target}"
                case None:
                    entry.type, entry.mode = tarfile.DIRTYPE, 0o755
            archive.addfile(entry)
    return out.getvalue()


@dataclass
class Archive:
    """A Debian archive in a folder: packages below ``pool``, and signed indexes when asked for."""

    root: Path
    suite: str = "trixie"
    packages: dict[tuple[str, str], Package] = field(default_factory=dict)
    depends: dict[str, str] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return f"file://{self.root}"

    def add(self, name: str, files: Mapping[str, Content], *, version: str = "1.0", arch: str = "amd64",
            depends: str = "") -> Package:
        """Put a package into the pool; it takes the place of an older version, as on a real mirror."""
        data = deb(name, files, version=version, arch=arch, depends=depends)
        path = f"pool/{name}_{version}_{arch}.deb"
        self.remove(name, arch)
        (self.root / "pool").mkdir(parents=True, exist_ok=True)
        (self.root / path).write_bytes(data)
        made = Package(name, version, f"debian/{path}", len(data), hashlib.sha256(data).hexdigest())
        self.packages[name, arch] = made
        self.depends[name] = depends
        return made

    def remove(self, name: str, arch: str = "amd64") -> None:
        if old := self.packages.pop((name, arch), None):
            (self.root / old.path.removeprefix("debian/")).unlink()

    def resolve(self, packages: Sequence[str], *, fresh: bool = False) -> list[Package]:
        """Be a `components.build.Index` without apt: every package of the archive is a dependency."""
        return sorted(package for (_, arch), package in self.packages.items() if arch == "amd64")

    def index(self, home: Path) -> Path:
        """Write Packages, Release and InRelease for every architecture and return the keyring that signed it."""
        dist = self.root / "dists" / self.suite
        arches = sorted({arch for _, arch in self.packages} | {"amd64", "arm64"})
        sums = []
        for arch in arches:
            folder = dist / "main" / f"binary-{arch}"
            folder.mkdir(parents=True, exist_ok=True)
            text = "".join(self._stanza(package, arch) for (_, made), package in sorted(self.packages.items())
                           if made == arch).encode()
            (folder / "Packages").write_bytes(text)
            sums.append(f" {hashlib.sha256(text).hexdigest()} {len(text)} main/binary-{arch}/Packages\n")
        release = (f"Origin: Debian\nLabel: Debian\nSuite: {self.suite}\nCodename: {self.suite}\n"
                   f"Date: Sat, 01 Nov 2025 00:00:00 UTC\nArchitectures: {' '.join(arches)}\nComponents: main\n"
                   f"SHA256:\n{''.join(sums)}")
        (dist / "Release").write_text(release)
        return self._sign(dist, home)

    def _stanza(self, package: Package, arch: str) -> str:
        fields = {"Package": package.name, "Version": package.version, "Architecture": arch, "Maintainer": "Nobody",
                  "Filename": package.path.removeprefix("debian/"), "Size": package.size, "SHA256": package.sha256,
                  "Depends": self.depends.get(package.name), "Description": "made for a test"}
        return "".join(f"{key}: {value}\n" for key, value in fields.items() if value) + "\n"

    def _sign(self, dist: Path, home: Path) -> Path:
        keyring = home / "keyring.gpg"
        base = ["gpg", "--homedir", str(home), "--batch", "--quiet", "--yes"]
        if not keyring.exists():
            home.mkdir(mode=0o700, exist_ok=True)
            key = ["--passphrase", "", "--quick-gen-key", "test@invalid", "ed25519", "sign"]
            subprocess.run([*base, *key], check=True)
            subprocess.run([*base, "--output", str(keyring), "--export"], check=True)
        subprocess.run([*base, "--clearsign", "--output", str(dist / "InRelease"), str(dist / "Release")], check=True)
        return keyring
