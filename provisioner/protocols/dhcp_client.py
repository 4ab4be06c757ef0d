"""What a DHCP client says about itself: options 60, 61, 77, 93, 94, 97 and 175 (RFC 4578, RFC 3004, iPXE).

Firmware is careless, so nothing here is required and nothing malformed is an error: what cannot be read is absent.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass

from provisioner.protocols.dhcp_packet import Option, Packet, suboptions

IPXE_VERSION = 0xEB
_KINDS = ("PXEClient", "HTTPClient")


@dataclass(frozen=True, slots=True)
class Client:
    """A client as its packet describes it.

    ``kind`` is PXEClient, HTTPClient or empty. ``arches`` are the codes of option 93 in the client's order.
    ``ipxe`` is iPXE's version, ``(0,)`` where iPXE does not say one, ``()`` for everything that is not iPXE.
    ``wants`` are the codes of the options that it asks for.
    """

    mac: str
    kind: str = ""
    uuid: str = ""
    arches: tuple[int, ...] = ()
    vendor_class: str = ""
    user_classes: tuple[str, ...] = ()
    ipxe: tuple[int, ...] = ()
    hostname: str = ""
    wants: frozenset[int] = frozenset()

    @property
    def boots(self) -> bool:
        """Whether the client asks for something to boot: firmware or iPXE, rather than a running system."""
        return bool(self.kind or self.ipxe)


def describe(packet: Packet) -> Client:
    """Read what the packet says about its sender."""
    options = packet.options
    vendor_class = _text(options.get(Option.VENDOR_CLASS, b""))
    classes = _user_classes(options.get(Option.USER_CLASS, b""))
    codes = options.get(Option.CLIENT_ARCH, b"")
    return Client(
        mac=packet.mac,
        kind=next((kind for kind in _KINDS if vendor_class.startswith(kind)), ""),
        uuid=_uuid(options.get(Option.CLIENT_UUID, b"")),
        arches=tuple(int.from_bytes(codes[at:at + 2], "big") for at in range(0, len(codes) - 1, 2)),
        vendor_class=vendor_class,
        user_classes=classes,
        ipxe=_ipxe(classes, options.get(Option.IPXE, b"")),
        hostname=_text(options.get(Option.HOST_NAME, b"")),
        wants=frozenset(options.get(Option.PARAMETER_LIST, b"")),
    )


def _text(value: bytes) -> str:
    text = value.rstrip(b"\0").decode("ascii", "replace")
    return "".join(char if char.isascii() and char.isprintable() else "?" for char in text)


def _uuid(value: bytes) -> str:
    # RFC 4578 section 2.3: type 0 and 16 bytes, which EDK2 and iPXE take from SMBIOS with its little-endian fields.
    if len(value) != 17 or value[0] != 0 or not any(value[1:]):
        return ""
    return str(uuid.UUID(bytes_le=value[1:]))


def _user_classes(value: bytes) -> tuple[str, ...]:
    """Read option 77: RFC 3004's list of length-prefixed classes, or the raw text that iPXE sends."""
    parts, at = [], 0
    while at < len(value) and value[at] and at + 1 + value[at] <= len(value):
        parts.append(_text(value[at + 1:at + 1 + value[at]]))
        at += 1 + value[at]
    return tuple(parts) if value and at == len(value) else tuple(filter(None, [_text(value)]))


def _ipxe(classes: tuple[str, ...], encapsulated: bytes) -> tuple[int, ...]:
    features = suboptions(encapsulated)
    if version := features.get(IPXE_VERSION):
        return tuple(version)
    return (0,) if "iPXE" in classes or "gPXE" in classes or features else ()
