"""The host's network: interfaces, ports and who holds them."""

from __future__ import annotations

import errno
import os
import socket
from pathlib import Path

import pytest

from provisioner.errors import DeviceError, NetworkError, NotFoundError, PrivilegeError
from provisioner.netboot.network import bind_error, interface, neighbour, port_holder, udp_socket


def test_loopback() -> None:
    found = interface("lo")
    assert (found.name, str(found.address), str(found.ip)) == ("lo", "127.0.0.1/8", "127.0.0.1")
    assert found.mtu >= 1500


def test_a_missing_interface_names_those_there_are() -> None:
    with pytest.raises(NotFoundError, match="no interface eth99") as error:
        interface("eth99")
    assert "lo" in error.value.hint


def test_a_port_in_use_names_the_process() -> None:
    with udp_socket(0, "", "127.0.0.1") as first:
        port = first.getsockname()[1]
        with pytest.raises(NetworkError, match=rf"UDP port {port} is in use by .+ \(pid {os.getpid()}\)") as error:
            udp_socket(port, "", "127.0.0.1")
        assert "stop that program" in error.value.hint


def test_tcp_ports_count_when_they_listen() -> None:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port = listening.getsockname()[1]
        assert port_holder("tcp", port) == ""
        listening.listen()
        assert port_holder("tcp", port).endswith(f"(pid {os.getpid()})")


def test_no_privilege_names_the_capability_and_two_ways() -> None:
    error = bind_error(PermissionError(errno.EACCES, "Permission denied"), "udp", 67)
    assert isinstance(error, PrivilegeError)
    assert "CAP_NET_BIND_SERVICE" in error.message
    assert "setcap" in error.hint
    assert "systemd/provisioner.service" in error.hint


def test_other_trouble_is_told_as_it_is() -> None:
    error = bind_error(OSError(errno.EADDRNOTAVAIL, "Cannot assign requested address"), "tcp", 80)
    assert isinstance(error, DeviceError)
    assert "Cannot assign" in error.message


def test_the_holder_is_found_in_proc(tmp_path: Path) -> None:
    (tmp_path / "net").mkdir()
    head = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
    row = "  1: 00000000:0043 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 4711 2 0 0\n"
    (tmp_path / "net" / "udp").write_text(head + row)
    assert port_holder("udp", 67, tmp_path) == ""
    folder = tmp_path / "123" / "fd"
    folder.mkdir(parents=True)
    (folder / "3").symlink_to("socket:[4711]")
    (tmp_path / "123" / "comm").write_text("dnsmasq\n")
    assert port_holder("udp", 67, tmp_path) == "dnsmasq (pid 123)"
    assert port_holder("udp", 69, tmp_path) == ""


def test_neighbours(tmp_path: Path) -> None:
    (tmp_path / "net").mkdir()
    (tmp_path / "net" / "arp").write_text(
        "IP address       HW type     Flags       HW address            Mask     Device\n"
        "10.99.0.128      0x1         0x2         52:54:00:00:00:01     *        br0\n"
        "10.99.0.129      0x1         0x0         00:00:00:00:00:00     *        br0\n")
    assert neighbour("10.99.0.128", tmp_path) == "52:54:00:00:00:01"
    assert neighbour("10.99.0.129", tmp_path) == ""
    assert neighbour("10.99.0.130", tmp_path) == ""
    assert neighbour("10.99.0.128", tmp_path / "none") == ""
