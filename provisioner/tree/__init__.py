"""The image tree, one YAML section per file."""
