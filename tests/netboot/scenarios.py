"""What happens inside a lab network: called by ``inside.run_inside``, in a namespace where all ports are free."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from provisioner.errors import NetworkError
from provisioner.model.event import Event
from provisioner.netboot.network import interface
from provisioner.netboot.server import BootServer, serving
from provisioner.netboot.settings import Settings, for_one_image

MAC = "52:54:00:00:00:01"


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True)


def until(true: Callable[[], bool], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def port_on_the_bridge() -> None:
    """Make ``v1``, a wire into the bridge from which packets can be sent and seen."""
    ip("link", "add", "v0", "type", "veth", "peer", "name", "v1")
    ip("link", "set", "v0", "master", "br0", "up")
    ip("link", "set", "v1", "up")


@contextlib.contextmanager
def dnsmasq(folder: Path, *options: str) -> Iterator[None]:
    """Run dnsmasq as 10.99.0.2 in a namespace of its own, on the bridge."""
    inner = ("read go; ip link set lo up; ip address add 10.99.0.2/24 dev d1; ip link set d1 up;"
             'exec dnsmasq --port=0 --no-ping --keep-in-foreground --log-facility=- --log-dhcp --interface=d1'
             ' --bind-interfaces --dhcp-range=10.99.0.100,10.99.0.120,1h --conf-file=/dev/null --user=root "$@"')
    argv = ["unshare", "-n", "sh", "-c", inner, "sh", f"--dhcp-leasefile={folder}/leases", "--pid-file", *options]
    log = folder / "dnsmasq.log"
    with log.open("w") as out, subprocess.Popen(argv, stdin=subprocess.PIPE, stderr=out) as child:
        try:
            ours = Path("/proc/self/ns/net").readlink()
            until(lambda: Path(f"/proc/{child.pid}/ns/net").readlink() != ours)
            ip("link", "add", "d0", "type", "veth", "peer", "name", "d1")
            ip("link", "set", "d0", "master", "br0", "up")
            ip("link", "set", "d1", "netns", str(child.pid))
            assert child.stdin is not None
            child.stdin.write(b"go\n")
            child.stdin.flush()
            until(lambda: "DHCP, IP range" in log.read_text())
            yield
        finally:
            child.kill()


def booting(base: str, folder: str, mode: str, events: list[Event]) -> BootServer:
    loaders = {name: Path(base + "-kernel") for name in ("undionly.kpxe", "snponly.efi", "ipxe.pxe")}
    settings = Settings(("br0",), loaders, mode, leases=Path(folder, "leases.db"))  # type: ignore[arg-type]  # a mode
    return BootServer(settings, for_one_image(Path(base)), events.append)


def ask(kind: str, *options: Any, mac: str = MAC, wait: float = 3.0) -> Any:
    """Send a DHCP message from ``v1`` with scapy and return the answer's (BOOTP layer, options), or None."""
    from scapy.layers.dhcp import BOOTP, DHCP
    from scapy.layers.inet import IP, UDP
    from scapy.layers.l2 import Ether
    from scapy.sendrecv import srp1

    hardware = bytes.fromhex(mac.replace(":", ""))
    packet = (Ether(src=mac, dst="ff:ff:ff:ff:ff:ff") / IP(src="0.0.0.0", dst="255.255.255.255")
              / UDP(sport=68, dport=67) / BOOTP(chaddr=hardware, xid=7, flags=0x8000)
              / DHCP(options=[("message-type", kind), *options, "end"]))
    from scapy.config import conf

    conf.checkIPaddr = False
    answer = srp1(packet, iface="v1", timeout=wait, verbose=False)
    if answer is None or BOOTP not in answer:
        return None
    return answer[BOOTP], dict(part for part in answer[DHCP].options if isinstance(part, tuple))


PXE = (("vendor_class_id", b"PXEClient:Arch:00000:UNDI:002001"), (93, b"\0\0"))


def full_dhcp(base: str, folder: str) -> None:
    port_on_the_bridge()
    events: list[Event] = []
    with serving(booting(base, folder, "full", events)):
        offer, options = ask("discover", *PXE)
        assert (offer.yiaddr, offer.siaddr, options["message-type"]) == ("10.99.0.128", "10.99.0.1", 2)
        assert offer.file.rstrip(b"\0") == b"undionly.kpxe"
        ack, options = ask("request", ("server_id", "10.99.0.1"), ("requested_addr", "10.99.0.128"), *PXE)
        assert (ack.yiaddr, options["message-type"], options["lease_time"]) == ("10.99.0.128", 5, 3600)
        other, _ = ask("discover", mac="52:54:00:00:00:02")
        assert other.yiaddr == "10.99.0.129"
        _, options = ask("request", ("requested_addr", "192.168.1.1"))
        assert options["message-type"] == 6
    assert [event.name for event in events if event.source == "dhcp"] == \
        ["discover", "offer", "ack", "discover", "offer", "nak"]


def proxy_beside_dnsmasq(base: str, folder: str, mode: str) -> None:
    port_on_the_bridge()
    events: list[Event] = []
    with dnsmasq(Path(folder)), serving(booting(base, folder, mode, events)):
        started = next(event for event in events if event.stage == "serve")
        if mode == "auto":
            assert "mode proxy beside the DHCP server 10.99.0.2" in started.detail
        from scapy.sendrecv import AsyncSniffer

        sniffer = AsyncSniffer(iface="v1", filter="udp dst port 68")
        sniffer.start()
        until(lambda: sniffer.running and getattr(sniffer, "stop_cb", None) is not None)
        ask("discover", *PXE)
        until(lambda: any(event.name == "proxy-offer" for event in events))
        time.sleep(0.3)
        offers = {packet["IP"].src: packet["BOOTP"] for packet in sniffer.stop() or []}
        assert set(offers) == {"10.99.0.1", "10.99.0.2"}, offers
        assert (offers["10.99.0.1"].yiaddr, offers["10.99.0.1"].siaddr) == ("0.0.0.0", "10.99.0.1")
        assert offers["10.99.0.2"].yiaddr != "0.0.0.0"


def nobody_else(base: str, folder: str) -> None:
    events: list[Event] = []
    with serving(booting(base, folder, "auto", events)):
        assert "mode full" in next(event for event in events if event.stage == "serve").detail


def killed_server(base: str, folder: str) -> None:
    port_on_the_bridge()
    argv = [sys.executable, "-m", "provisioner", "--json", "serve", base, "--interface", "br0", "--mode", "full",
            "--loaders", folder, "--leases", f"{folder}/leases.db"]
    given = []
    for round_ in range(2):
        with subprocess.Popen(argv, stdout=subprocess.PIPE) as child:
            assert child.stdout is not None
            assert json.loads(child.stdout.readline())["stage"] == "serve"
            mac = f"52:54:00:00:00:0{2 - round_}"
            offer, _ = ask("discover", mac=mac)
            ack, _ = ask("request", ("server_id", "10.99.0.1"), ("requested_addr", offer.yiaddr), mac=mac)
            given.append(ack.yiaddr)
            if round_:
                old, _ = ask("discover", mac="52:54:00:00:00:02")
                assert old.yiaddr == given[0]
            child.send_signal(signal.SIGKILL)
    assert len(set(given)) == 2, "the second server must not give the first one's address away"


def interrupted_server(base: str, folder: str) -> None:
    argv = [sys.executable, "-m", "provisioner", "serve", base, "--interface", "br0", "--loaders", folder]
    for signal_ in (signal.SIGINT, signal.SIGTERM):
        with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as child:
            assert child.stdout is not None
            assert b"br0 10.99.0.1/24, mode proxy" in child.stdout.readline()
            child.send_signal(signal_)
            _, errors = child.communicate(timeout=20)
            assert child.returncode == 130, errors
            assert errors.strip() == b"interrupted"
        for kind, port in ((socket.SOCK_DGRAM, 67), (socket.SOCK_DGRAM, 69), (socket.SOCK_STREAM, 80)):
            with socket.socket(socket.AF_INET, kind) as again:
                again.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                again.bind(("10.99.0.1", port))


def busy_port(base: str, folder: str) -> None:
    argv = [sys.executable, "-m", "provisioner", "serve", base, "--interface", "br0", "--loaders", folder]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as mine:
        mine.bind(("0.0.0.0", 67))
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 7
    name = Path("/proc/self/comm").read_text().strip()
    assert f"UDP port 67 is in use by {name} (pid {os.getpid()})" in done.stderr


def solicitation() -> None:
    from scapy.layers.inet6 import ICMPv6ND_RA, ICMPv6ND_RS, IPv6
    from scapy.layers.l2 import Ether
    from scapy.sendrecv import AsyncSniffer, sendp

    from provisioner.netboot.solicitation import open_port

    port_on_the_bridge()
    port = open_port("br0")
    until(lambda: "tentative" not in subprocess.run(["ip", "-6", "address", "show", "br0"], capture_output=True,
                                                    text=True, check=True).stdout)
    sniffer = AsyncSniffer(iface="v1", lfilter=lambda packet: ICMPv6ND_RA in packet, count=1)
    sniffer.start()
    until(lambda: sniffer.running and getattr(sniffer, "stop_cb", None) is not None)
    sendp(Ether(src=MAC, dst="33:33:00:00:00:02") / IPv6(src="fe80::5054:ff:fe00:1", dst="ff02::2", hlim=255)
          / ICMPv6ND_RS(), iface="v1", verbose=False)
    until(lambda: _readable(port.opened))
    port._readable()
    sniffer.join(timeout=20)
    answer = sniffer.results[0]
    assert (answer[IPv6].hlim, answer[IPv6].dst, answer[ICMPv6ND_RA].routerlifetime) == (255, "ff02::1", 0)
    port.opened.close()


def _readable(opened: socket.socket) -> bool:
    import select

    return bool(select.select([opened], [], [], 0)[0])


def the_lab_itself() -> None:
    names = {name for _index, name in socket.if_nameindex()}
    assert names == {"lo", "br0", "tap0", "tap1"}
    assert str(interface("br0").address) == "10.99.0.1/24"
    assert interface("lo").ip.is_loopback
    for name, trouble in (("tap0", "has no IPv4 address"), ("tap1", "is down")):
        if trouble == "is down":
            ip("link", "set", name, "down")
        try:
            interface(name)
        except NetworkError as error:
            assert trouble in error.message
            assert error.hint.startswith("ip ")
        else:
            raise AssertionError(name)


def answer_once(port: str) -> None:
    with socket.create_server(("10.99.0.1", int(port))) as server:
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        connection, _ = server.accept()
        with connection:
            data = b""
            while chunk := connection.recv(65_536):
                data += chunk
            connection.sendall(data.upper())
