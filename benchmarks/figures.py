"""Build every example for amd64 and arm64 and write the sizes into README.md, between its figures markers.

Run it as ``script/figures``; ``--print`` only prints the table.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BEGIN, END = "<!-- figures -->", "<!-- /figures -->"
ARCHITECTURES = ("amd64", "arm64")


def sizes(example: Path, arch: str, folder: str) -> dict[str, int]:
    """Build ``example`` and return bytes by role (kernel, initrd)."""
    command = [sys.executable, "-m", "provisioner", "--json", "build", "--arch", arch, "--dir", folder, str(example)]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    return {row["role"]: row["size"] for row in json.loads(done.stdout)["artifacts"]}


def table() -> str:
    """Return the Markdown table over all examples."""
    rows = ["| example | " + " | ".join(f"{arch} kernel | {arch} initrd" for arch in ARCHITECTURES) + " |",
            "|---|" + "---:|" * (2 * len(ARCHITECTURES))]
    with tempfile.TemporaryDirectory() as folder:
        for example in sorted((ROOT / "examples").glob("*.yml")):
            cells = []
            for arch in ARCHITECTURES:
                found = sizes(example, arch, folder)
                cells += [f"{found[role] / 1e6:.1f} MB" for role in ("kernel", "initrd")]
            rows.append(f"| `{example.name}` | " + " | ".join(cells) + " |")
    return "\n".join(rows)


def main() -> None:
    """Print the table, or put it into README.md."""
    text = table()
    print(text)
    if "--print" in sys.argv:
        return
    readme = ROOT / "README.md"
    before, rest = readme.read_text().split(BEGIN)
    after = rest.split(END)[1]
    temporary = readme.with_suffix(".new")
    temporary.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}")
    temporary.replace(readme)


if __name__ == "__main__":
    main()
