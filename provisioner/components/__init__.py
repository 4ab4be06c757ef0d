"""component.yml and Debian packages to OCI images, without a daemon, root or foreign code."""
