"""What is read out of the options of real firmware (captured from QEMU) and of nonsense."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from provisioner.protocols.dhcp_client import Client, describe
from provisioner.protocols.dhcp_packet import Option, Packet

MAC = bytes.fromhex("525400000001")
# Sent by the ROM of QEMU 7.2 (iPXE of 2019) and by EDK2 2022.11, with -uuid 00112233-4455-6677-8899-aabbccddeeff.
IPXE_175 = bytes.fromhex("b105011af41000eb03010000170101220101130101110101"
                         "270101190101290101100102210101150101180101120101")
UUID_97 = bytes.fromhex("0033221100554477668899aabbccddeeff")


def client(**options: bytes) -> Client:
    codes = {"vendor": Option.VENDOR_CLASS, "user": Option.USER_CLASS, "arch": Option.CLIENT_ARCH,
             "uuid": Option.CLIENT_UUID, "ipxe": Option.IPXE, "host": Option.HOST_NAME,
             "wants": Option.PARAMETER_LIST}
    return describe(Packet(1, 1, MAC, {codes[name]: value for name, value in options.items()}))


def test_ipxe_rom() -> None:
    found = client(vendor=b"PXEClient:Arch:00000:UNDI:002001", user=b"iPXE", arch=b"\0\0", ipxe=IPXE_175,
                   wants=bytes([1, 3, 6]))
    assert (found.kind, found.arches, found.user_classes, found.ipxe) == ("PXEClient", (0,), ("iPXE",), (1, 0, 0))
    assert found.boots
    assert found.wants == {1, 3, 6}


def test_uefi() -> None:
    found = client(vendor=b"PXEClient:Arch:00007:UNDI:003000", arch=b"\0\7", uuid=UUID_97)
    assert (found.kind, found.arches, found.ipxe) == ("PXEClient", (7,), ())
    assert found.uuid == "00112233-4455-6677-8899-aabbccddeeff"


def test_uefi_http_boot() -> None:
    assert client(vendor=b"HTTPClient:Arch:00016:UNDI:003000", arch=b"\0\x10").kind == "HTTPClient"


def test_an_operating_system_does_not_boot() -> None:
    found = client(vendor=b"dhcpcd-9.4.1:Linux", host=b"node1")
    assert not found.boots
    assert found.hostname == "node1"


def test_user_classes_of_rfc_3004_and_raw() -> None:
    assert client(user=b"\4iPXE\3abc").user_classes == ("iPXE", "abc")
    assert client(user=b"\4iPXE").ipxe == (0,)
    assert client(user=b"iPXE").user_classes == ("iPXE",)
    assert client(user=b"").user_classes == ()


def test_odd_uuids_and_lists_are_absent() -> None:
    assert client(uuid=b"\1" + bytes(16)).uuid == ""
    assert client(uuid=bytes(17)).uuid == ""
    assert client(uuid=b"\0abc").uuid == ""
    assert client(arch=b"\0\7\0").arches == (7,)
    assert client(arch=b"").arches == ()


def test_names_cannot_carry_control_characters() -> None:
    assert client(host=b"a\x1b[31m\nb\xff").hostname == "a?[31m?b?"


@given(st.dictionaries(st.integers(1, 254), st.binary(max_size=255)))
def test_nothing_raises(options: dict[int, bytes]) -> None:
    assert describe(Packet(1, 1, MAC, options)).mac == "52:54:00:00:00:01"
