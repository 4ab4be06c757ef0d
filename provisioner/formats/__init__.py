"""One output format per file; the file is the registration."""
