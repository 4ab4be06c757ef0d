"""``python -m provisioner`` and the installed program: the command line, deaf to no Ctrl-C.

The command line's modules are imported in here, not above, so that a Ctrl-C finds its handler before they are.
"""

from __future__ import annotations

import sys


def run() -> None:
    """Run the command line and exit with its code; 130 for an interrupt that came before or after its own handler."""
    try:
        from provisioner.cli.main import main

        main()
    except KeyboardInterrupt:
        sys.stderr.write("\ninterrupted\n")
        sys.exit(130)


if __name__ == "__main__":
    run()
