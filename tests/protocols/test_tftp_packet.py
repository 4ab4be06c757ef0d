"""The TFTP codec, also against packets that break servers elsewhere."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioner.protocols.tftp_packet import (
    Code,
    Op,
    TftpError,
    ack_packet,
    block_of,
    data_packet,
    error_of,
    error_packet,
    oack_packet,
    opcode,
    read_request,
    write_request,
)


def test_request_round_trip() -> None:
    request = read_request(write_request("a/b.efi", {"BlkSize": "1428", "tsize": "0"}))
    assert (request.op, request.name, request.mode) == (Op.RRQ, "a/b.efi", "octet")
    assert request.options == {"blksize": "1428", "tsize": "0"}


def test_the_bytes_of_rfc_1350_and_2347() -> None:
    assert write_request("f", {"tsize": "0"}) == b"\0\1f\0octet\0tsize\x000\0"
    assert data_packet(65537, b"xy") == b"\0\3\0\1xy"
    assert ack_packet(65536) == b"\0\4\0\0"
    assert error_packet(Code.NOT_FOUND, "no") == b"\0\5\0\1no\0"
    assert oack_packet({"blksize": "8"}) == b"\0\6blksize\x008\0"


@pytest.mark.parametrize(("data", "message"), [
    (b"", "a request was expected"),
    (b"\0\4\0\0", "a request was expected"),
    (b"\0\1", "not terminated"),
    (b"\0\1name", "not terminated"),
    (b"\0\1name\0octet", "not terminated"),
    (b"\0\1name\0mail\0", "mode 'mail' is not served"),
    (b"\0\1n\xff\xfe\0octet\0", "not UTF-8"),
])
def test_malformed_requests(data: bytes, message: str) -> None:
    with pytest.raises(TftpError, match=message) as refused:
        read_request(data)
    assert refused.value.code == Code.ILLEGAL


def test_an_unterminated_option_is_dropped() -> None:
    assert read_request(b"\0\1f\0octet\0blksize\x001428").options == {}
    assert read_request(b"\0\1f\0OCTET\0a\0b\0c\0").options == {"a": "b"}


def test_short_packets() -> None:
    assert opcode(b"\0") == 0
    assert block_of(b"\0\4\1") is None
    assert error_of(b"\0\5") == (0, "")
    assert error_of(b"\0\5\0\1bad\x1bthing\0") == (1, "bad?thing")


@given(st.binary(max_size=600))
def test_noise_is_an_error_and_nothing_else(data: bytes) -> None:
    opcode(data), block_of(data), error_of(data)
    for attempt in (data, b"\0\1" + data, b"\0\2" + data):
        try:
            read_request(attempt)
        except TftpError:
            continue
