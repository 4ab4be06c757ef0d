"""How long a build takes cold and warm, and how much memory: ``python benchmarks/build.py [YAML]``.

Components are built and images fetched before anything is timed. Then, in one run:

* cold: no initrd segment is cached, every part is compressed;
* warm: one line below ``files:`` has changed since the cold build (a file is added when the YAML has none);
* same: nothing has changed.

Each is a fresh process of the command line, measured from start to end; its memory is the peak of its resident set
(``getrusage``). The warm figure is the best of three, for other work on the machine only ever adds. With ``--json``
the figures come as one object. Exits with 1 when warm takes more than a tenth of cold, or memory exceeds 250 MiB.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from provisioner import data

ROOT = Path(__file__).resolve().parents[1]
RATIO = 0.1
MEMORY = 250 << 20


def main() -> int:
    """Measure and print; return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("yaml", nargs="?", type=Path, default=ROOT / "examples" / "docker.yml")
    parser.add_argument("--arch", default="")
    parser.add_argument("--compress", default="gzip")
    parser.add_argument("--json", action="store_true", dest="as_json")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="provisioner-benchmark-") as scratch:
        figures = _measure(Path(scratch), chosen.yaml, chosen.arch, chosen.compress)
    if chosen.as_json:
        print(json.dumps(figures))
    else:
        _print(chosen.yaml, figures)
    return 0 if figures["ratio"] < RATIO and figures["peak_memory"] < MEMORY else 1


def _measure(scratch: Path, yaml: Path, arch: str, compress: str) -> dict[str, float]:
    command = ["--dir", str(scratch / "out"), "--name", "image", "--compress", compress]
    command += ["--arch", arch] if arch else []
    _build(scratch, [*command, str(yaml)])  # components, and Python's own caches
    text = yaml.read_text()
    (scratch / "cold.yml").write_text(_changed(text, 0))
    _separate_cache(scratch)
    cold = _build(scratch, [*command, str(scratch / "cold.yml")])
    same = _build(scratch, [*command, str(scratch / "cold.yml")])
    warm = []
    for number in range(1, 4):
        changed = scratch / "warm.yml"
        changed.write_text(_changed(text, number))
        warm.append(_build(scratch, [*command, str(changed)]))
    initrd = (scratch / "out" / "image-initrd.img").stat().st_size
    return {"cold": round(cold, 3), "same": round(same, 3), "warm": round(min(warm), 3),
            "ratio": round(min(warm) / cold, 4), "initrd": initrd,
            "peak_memory": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss << 10}


def _changed(text: str, number: int) -> str:
    """Return the YAML with one more file, whose one line of content differs by ``number``."""
    line = f"  - {{path: etc/benchmark, contents: 'edit {number}', mode: '0644'}}\n"
    head, found, tail = text.partition("\nfiles:\n")
    return f"{head}{found}{line}{tail}" if found else f"{text.rstrip()}\nfiles:\n{line}"


def _separate_cache(scratch: Path) -> None:
    """Share what the cache has, but for the segments."""
    cache = scratch / "cache"
    cache.mkdir(mode=0o700)
    for entry in data.cache_dir().iterdir():
        if entry.name != "segments":
            (cache / entry.name).symlink_to(entry)


def _build(scratch: Path, arguments: list[str]) -> float:
    """Run ``provisioner build`` to its end and return the seconds it took."""
    environment = dict(os.environ)
    if (scratch / "cache").exists():
        environment["PROVISIONER_CACHE"] = str(scratch / "cache")
    start = time.monotonic()
    subprocess.run([sys.executable, "-m", "provisioner", "--quiet", "build", *arguments], check=True, env=environment,
                   stdout=subprocess.DEVNULL)
    return time.monotonic() - start


def _print(yaml: Path, figures: dict[str, float]) -> None:
    print(f"{yaml.name}: initrd {figures['initrd'] / 1e6:.1f} MB")
    for name in ("cold", "warm", "same"):
        print(f"  {name:<5} {figures[name]:8.2f} s")
    print(f"  warm/cold {figures['ratio']:.3f} (aim: below {RATIO})")
    print(f"  peak memory {figures['peak_memory'] / (1 << 20):.0f} MiB (aim: below {MEMORY >> 20} MiB)")


if __name__ == "__main__":
    sys.exit(main())
