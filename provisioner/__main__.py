"""``python -m provisioner`` is the command line."""

from provisioner.cli.main import main

main()
