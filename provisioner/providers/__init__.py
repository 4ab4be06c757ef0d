"""One hypervisor or cloud per file; the file is the registration."""
