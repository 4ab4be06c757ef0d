"""YAML text to ImageSpec, errors with file:line:column."""
