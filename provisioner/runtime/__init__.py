"""Image config, label and YAML entry to an OCI runtime bundle."""
