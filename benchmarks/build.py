"""How long a build takes cold and warm, and how much memory: ``python benchmarks/build.py [YAML]``.

Components are built and images fetched before anything is timed. Then, in one run, ``--runs`` times in turn:

* cold: no initrd segment is cached, every part is compressed;
* warm: one line below ``files:`` has changed since (a file is added when the YAML has none);
* same: nothing has changed.

Each is a fresh process of the command line, measured from start to end, with the peak of its resident set
(``wait4``); the figures are medians. Then images of 100 MB and of 1 GB are made up and built to show that memory does
not grow with them (``--no-big`` leaves that out). With ``--json`` the figures come as one object. Exits with 1 when
warm takes more than a tenth of cold, or memory exceeds 250 MiB.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from provisioner import data

ROOT = Path(__file__).resolve().parents[1]
RATIO = 0.1
MEMORY = 250 << 20
BIG = {"100 MB": 100_000_000, "1 GB": 1_000_000_000}
KINDS = ("cold", "warm", "same")


def main() -> int:
    """Measure and print; return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("yaml", nargs="?", type=Path, default=ROOT / "examples" / "docker.yml")
    parser.add_argument("--arch", default="")
    parser.add_argument("--compress", default="gzip")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--no-big", action="store_false", dest="big")
    parser.add_argument("--json", action="store_true", dest="as_json")
    chosen = parser.parse_args()
    options = ["--compress", chosen.compress, *(["--arch", chosen.arch] if chosen.arch else [])]
    with tempfile.TemporaryDirectory(prefix="provisioner-benchmark-") as scratch:
        figures = _measure(Bench(Path(scratch), options), chosen.yaml, chosen.runs)
        if chosen.big:
            figures |= {f"peak {name}": _big(Path(scratch), name, size, options) for name, size in BIG.items()}
    if chosen.as_json:
        print(json.dumps(figures))
    else:
        _print(chosen.yaml, chosen.runs, figures)
    peak = max(size for name, size in figures.items() if name.startswith("peak"))
    return 0 if figures["ratio"] < RATIO and peak < MEMORY else 1


@dataclass
class Bench:
    """Builds into a scratch folder and keeps count; ``peak`` is in bytes."""

    scratch: Path
    options: list[str]
    peak: int = 0
    seconds: dict[str, list[float]] = field(default_factory=dict)

    @property
    def cache(self) -> Path:
        """The cache that is measured with."""
        return self.scratch / "cache"

    def build(self, kind: str, yaml: Path) -> None:
        """Run ``provisioner build`` to its end and note the seconds it took and its memory."""
        argv = [sys.executable, "-m", "provisioner", "--quiet", "build", *self.options, "--dir",
                str(self.scratch / "out"), "--name", "image", str(yaml)]
        start = time.monotonic()
        with tempfile.TemporaryFile("w+") as said:
            child = subprocess.Popen(argv, env={**os.environ, "PROVISIONER_CACHE": str(self.cache)},
                                     stdout=subprocess.DEVNULL, stderr=said)
            _, status, usage = os.wait4(child.pid, 0)
            self.seconds.setdefault(kind, []).append(time.monotonic() - start)
            child.returncode = os.waitstatus_to_exitcode(status)
            if child.returncode:
                said.seek(0)
                sys.exit(f"{' '.join(argv)} ended with {child.returncode}:\n{said.read()}")
        self.peak = max(self.peak, usage.ru_maxrss << 10)

    def median(self, kind: str) -> float:
        """Return the median of the seconds that builds of a kind took."""
        return statistics.median(self.seconds[kind])


def _measure(bench: Bench, yaml: Path, runs: int) -> dict[str, float]:
    _share_cache(bench)
    bench.build("ready", yaml)  # components, and Python's own caches
    bench.peak = 0
    changed = bench.scratch / "changed.yml"
    for number in range(runs):
        shutil.rmtree(bench.cache / "segments")
        changed.write_text(_changed(yaml.read_text(), 2 * number))
        bench.build("cold", changed)
        changed.write_text(_changed(yaml.read_text(), 2 * number + 1))
        bench.build("warm", changed)
        bench.build("same", changed)
    figures = {kind: round(bench.median(kind), 3) for kind in KINDS}
    initrd = (bench.scratch / "out" / "image-initrd.img").stat().st_size
    return figures | {"ratio": round(figures["warm"] / figures["cold"], 4), "initrd": initrd, "peak": bench.peak}


def _changed(text: str, number: int) -> str:
    """Return the YAML with one more file, whose one line of content differs by ``number``."""
    line = f"  - {{path: etc/benchmark, contents: 'edit {number}', mode: '0644'}}\n"
    head, found, tail = text.partition("\nfiles:\n")
    return f"{head}{found}{line}{tail}" if found else f"{text.rstrip()}\nfiles:\n{line}"


def _share_cache(bench: Bench) -> None:
    """Share what the cache has, but for the segments."""
    bench.cache.mkdir(mode=0o700)
    usual = data.cache_dir()
    usual.mkdir(parents=True, exist_ok=True)
    for name in ("oci", "debs", "apt"):
        (usual / name).mkdir(exist_ok=True)
        (bench.cache / name).symlink_to(usual / name)


def _big(scratch: Path, name: str, size: int, options: list[str]) -> int:
    """Build an image whose one layer has ``size`` bytes and return the peak of memory."""
    bench = Bench(scratch / name.replace(" ", "-"), [*options, "--arch", "amd64"])
    _image(bench.cache / "oci", size)
    yaml = bench.scratch / "big.yml"
    yaml.write_text("init: [acme/big:1]\n")
    bench.build("big", yaml)
    shutil.rmtree(bench.scratch)
    return bench.peak


def _image(layout: Path, size: int) -> None:
    """Write an OCI layout with an image ``acme/big:1``: ten files, half noise and half zeros."""
    blobs = layout / "blobs" / "sha256"
    blobs.mkdir(parents=True)
    with tempfile.TemporaryFile(dir=blobs) as part, (blobs / "layer").open("wb") as layer:
        noise = os.urandom(1 << 16) + bytes(1 << 16)
        for at in range(0, size // 10, len(noise)):
            part.write(noise[:size // 10 - at])
        with tarfile.open(fileobj=layer, mode="w") as archive:
            for number in range(10):
                part.seek(0)
                member = tarfile.TarInfo(f"big/{number}")
                member.size = size // 10
                archive.addfile(member, part)
    with (blobs / "layer").open("rb") as written:
        digest = hashlib.file_digest(written, "sha256").hexdigest()
    path = (blobs / "layer").rename(blobs / digest)

    def put(content: object) -> dict[str, object]:
        text = json.dumps(content).encode()
        (blobs / hashlib.sha256(text).hexdigest()).write_bytes(text)
        return {"digest": f"sha256:{hashlib.sha256(text).hexdigest()}", "size": len(text)}

    kind = "application/vnd.oci.image."
    config = put({"architecture": "amd64", "os": "linux", "config": {},
                  "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]}})
    manifest = put({"schemaVersion": 2, "mediaType": f"{kind}manifest.v1+json",
                    "config": {"mediaType": f"{kind}config.v1+json", **config},
                    "layers": [{"mediaType": f"{kind}layer.v1.tar", "digest": f"sha256:{digest}",
                                "size": path.stat().st_size}]})
    (layout / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
    (layout / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [
        {"mediaType": f"{kind}manifest.v1+json", **manifest,
         "annotations": {"org.opencontainers.image.ref.name": "docker.io/acme/big:1"}}]}))


def _print(yaml: Path, runs: int, figures: dict[str, float]) -> None:
    print(f"{yaml.name}: initrd {figures['initrd'] / 1e6:.1f} MB, median of {runs}")
    for name in KINDS:
        print(f"  {name:<10} {figures[name]:8.2f} s")
    print(f"  warm/cold  {figures['ratio']:8.3f}   (aim: below {RATIO})")
    for name, size in figures.items():
        if name.startswith("peak"):
            print(f"  {name:<10} {size / (1 << 20):8.0f} MiB (aim: below {MEMORY >> 20} MiB)")


if __name__ == "__main__":
    sys.exit(main())
