"""component.yml and Debian packages to OCI images, without a daemon, root or foreign code.

    build("runc", platform, store) -> Descriptor     the image for one platform; at once when it was built before
    exists("runc") -> bool                           whether there is such a component
    listing() -> {name: summary}                     all of them
    bootloaders(store) -> {name: path}               iPXE's first stages, as files
"""

from provisioner.components.api import bootloaders, build, exists, listing, update

__all__ = ["bootloaders", "build", "exists", "listing", "update"]
