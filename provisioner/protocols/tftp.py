"""A TFTP read server (RFC 1350, 2347, 2348, 2349, 7440) that stays fast when packets get lost.

A state machine without sockets, files or clock: `TftpServer.receive` takes what comes to port 69 and makes a
`Transfer`, which takes what comes to its own port. Retransmission follows the measured round-trip time (RFC 6298 with
a 15 ms floor and Karn's rule) instead of a fixed second, happens on timeout only and never on a duplicate ACK
(RFC 1123 section 4.2.3.1). Until its first ACK a peer gets one datagram per retry, so that forged requests buy
nothing. Writing is refused. Times are seconds of a monotonic clock.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from provisioner.model.event import Event
from provisioner.protocols.commands import Burst, Command, Send
from provisioner.protocols.tftp_packet import (
    Code,
    Op,
    Request,
    TftpError,
    block_of,
    data_packet,
    error_of,
    error_packet,
    oack_packet,
    opcode,
    read_request,
)

Peer = tuple[str, int]
DEFAULT_BLOCK = 512
NETASCII_MAXIMUM = 1 << 20
QUICK_TRIES = 7  # about two seconds from the floor
PATIENCE = 6.0


class Content(Protocol):
    """An open file: its ``size`` in bytes and its bytes."""

    @property
    def size(self) -> int:
        """Bytes in all."""

    def read(self, offset: int, length: int) -> bytes:
        """Return ``length`` bytes from ``offset``, fewer at the end only."""

    def close(self) -> None:
        """Let go of it."""


Opener = Callable[[str, str], Content]
"""Opens (clean path, client's address) or raises TftpError."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What the server grants at most; ``silence`` is how many seconds without progress end a transfer."""

    block: int = 1468  # an Ethernet frame less IP, UDP and TFTP headers
    window: int = 64
    transfers: int = 1024
    per_client: int = 64
    offers: int = 5
    silence: float = 30.0


@dataclass(slots=True)
class RoundTrip:
    """RFC 6298's estimator, in seconds, for networks much faster than the Internet."""

    floor: float = 0.015
    ceiling: float = 1.0
    timeout: float = 0.3
    _smooth: float = 0.0
    _spread: float = 0.0

    @property
    def smooth(self) -> float:
        """The smoothed round-trip time; 0 before the first sample."""
        return self._smooth

    def sample(self, seconds: float) -> None:
        """Take a measurement of something that was sent once."""
        if self._smooth:
            self._spread += (abs(self._smooth - seconds) - self._spread) / 4
            self._smooth += (seconds - self._smooth) / 8
        else:
            self._smooth, self._spread = seconds, seconds / 2
        self.settle()

    def settle(self) -> None:
        """Undo the doubling, if the round trip is known."""
        if self._smooth:
            self.timeout = min(self.ceiling, max(self.floor, self._smooth + 4 * self._spread))

    def back_off(self) -> None:
        """Double the timeout."""
        self.timeout = min(self.ceiling, self.timeout * 2)


@dataclass(slots=True)
class Transfer:
    """One file on its way to one peer. Blocks are counted from 1 without wrapping; the wire has them modulo 65536."""

    peer: Peer
    request: Request
    content: Content
    limits: Limits
    started: float
    finished: bool = False
    block: int = DEFAULT_BLOCK
    window: int = 1
    resent: int = 0
    _granted: dict[str, str] = field(default_factory=dict)
    _trip: RoundTrip = field(default_factory=RoundTrip)
    _base: int = 1  # the first block not acknowledged
    _top: int = 0  # the last block sent
    _confirmed: bool = False  # whether the peer has answered at all
    _clean: bool = True  # whether nothing of what is outstanding was sent twice
    _sent: float = 0.0
    _first: float = 0.0  # when what is outstanding was sent for the first time
    _doubt: float = 0.0  # how long the last thing sent twice took since then
    _progress: float = 0.0
    _tries: int = 0

    def __post_init__(self) -> None:
        """Negotiate the options (RFC 2347: answer only what was asked and understood)."""
        self._progress = self.started
        asked = self.request.options
        if (size := _number(asked.get("blksize"), 8, 65464)) is not None:
            self.block = min(size, self.limits.block)
            self._granted["blksize"] = str(self.block)
        if (seconds := _number(asked.get("timeout"), 1, 255)) is not None:
            self._trip.ceiling = float(seconds)
            self._granted["timeout"] = asked["timeout"]
        if "tsize" in asked:
            self._granted["tsize"] = str(self.content.size)
        if (blocks := _number(asked.get("windowsize"), 1, 65535)) is not None:
            self.window = min(blocks, self.limits.window)
            self._granted["windowsize"] = str(self.window)

    @property
    def last(self) -> int:
        """The number of the last block; it is short, and empty when the size is a multiple of the block size."""
        return self.content.size // self.block + 1

    @property
    def deadline(self) -> float:
        """When `tick` is due."""
        # Some clients (atftp) take no notice of a block that comes again but begin to wait their five seconds anew
        # before they repeat their ACK: who goes on repeating waits for ever. So quick tries end, and silence follows.
        patient = self._confirmed and self._tries > QUICK_TRIES
        return self._sent + (max(PATIENCE, self._trip.ceiling + 1) if patient else self._trip.timeout)

    def start(self, now: float) -> list[Command]:
        """Send the OACK, or the first block to a peer that asked for no option."""
        return [self._event("start", f"{self.content.size} bytes"), *self._send(now)]

    def receive(self, data: bytes, now: float) -> list[Command]:
        """Take a packet of the peer. Never raises, whatever the bytes."""
        kind = opcode(data)
        if self.finished:
            return []
        if kind == Op.ERROR:
            return self._aborted(data, now)
        block = block_of(data)
        if kind != Op.ACK or block is None:
            return []
        return self._acknowledged(block, now)

    def repeat(self, now: float) -> list[Command]:
        """The peer repeated its request: what was sent first got lost, unless it is still on its way."""
        if self._confirmed or self.finished or now < self.deadline:
            return []
        return self.tick(now)

    def tick(self, now: float) -> list[Command]:
        """Send again what is overdue, or give up."""
        if self.finished or now < self.deadline:
            return []
        silent = now - self._progress
        whole = self._confirmed and self._top == self.last
        unheard = not self._confirmed and self._tries >= self.limits.offers
        # Nobody acknowledges the end twice: after the quick tries the client has it, or is gone.
        if unheard or silent > self.limits.silence or (whole and self._tries > QUICK_TRIES):
            return self._finish(now, "unconfirmed" if whole else "lost",
                                f"no answer for {silent:.0f} s at block {self._base} of {self.last}")
        self._trip.back_off()
        self._top = self._base - 1
        return self._send(now, again=True)

    def _acknowledged(self, block: int, now: float) -> list[Command]:
        ahead = (block - (self._base - 1)) & 0xFFFF
        opening = bool(self._granted) and not self._confirmed  # the answer to an OACK is ACK 0
        if ahead > max(self._top - self._base + 1, 0) or (opening and ahead):
            return []  # of a block not outstanding: old, or nonsense
        if ahead == 0 and not opening:
            return self._stalled(now)
        self._measure(now, whole=self._base - 1 + ahead == self._top)
        self._confirmed = True
        self._base += ahead
        # An ACK inside the window says that the next block was lost (RFC 7440 section 4): go on from there.
        lost = self._top - self._base + 1
        self._progress, self._tries, self._clean = now, 0, lost <= 0
        if self._base > self.last:
            return self._finish(now, "done")
        self.resent += max(lost, 0)
        self._top = self._base - 1
        return self._send(now)

    def _measure(self, now: float, *, whole: bool) -> None:
        """Learn the round trip (Karn's rule: not from what was sent twice, unless the peer shows which it got)."""
        self._doubt = now - self._first if whole and not self._clean else 0.0
        if whole and self._clean:
            self._trip.sample(max(now - self._sent, 1e-6))
        else:
            self._trip.settle()

    def _stalled(self, now: float) -> list[Command]:
        """Take an ACK of what was acknowledged before. In lock-step it means nothing and must not be answered.

        In a window it may say that the window's first block was lost; once per round trip that is believed. If what
        it acknowledges was sent twice, both have arrived: the first was slow, not lost, and so is the round trip.
        """
        if self._doubt:
            self._trip.sample(self._doubt)
            self._doubt = 0.0
        if self.window == 1 or self._top < self._base or now - self._sent < max(self._trip.smooth, 0.001):
            return []
        self._top = self._base - 1
        return self._send(now, again=True)

    def _send(self, now: float, *, again: bool = False) -> list[Command]:
        self._sent, self._tries = now, self._tries + 1
        if again:
            self._clean = False
            self.resent += 1
        else:
            self._first = now
        if self._granted and not self._confirmed:
            return [Send(oack_packet(self._granted), *self.peer)]
        blocks = self.window if self._confirmed else 1
        first, final = self._top + 1, min(self._base + blocks - 1, self.last)
        payload = self.content.read((first - 1) * self.block, (final - first + 1) * self.block)
        if len(payload) < min(self.content.size - (first - 1) * self.block, (final - first + 1) * self.block):
            text = "the file changed while it was read"
            return [Send(error_packet(Code.UNDEFINED, text), *self.peer), *self._finish(now, "failed", text)]
        self._top = final
        packets = tuple(data_packet(number, payload[at:at + self.block]) for at, number in
                        zip(range(0, (final - first + 1) * self.block, self.block), range(first, final + 1),
                            strict=True))
        return [Send(packets[0], *self.peer) if len(packets) == 1 else Burst(packets, *self.peer)]

    def _aborted(self, data: bytes, now: float) -> list[Command]:
        code, text = error_of(data)
        # Firmware asks for the size and then declines the transfer, with code 8 or 0: all is well.
        if "tsize" in self._granted and self._base == 1:
            return self._finish(now, "probe", f"{self.content.size} bytes")
        return self._finish(now, "aborted", f"client says: {text or 'nothing'} (error {code})")

    def _finish(self, now: float, name: str, detail: str = "") -> list[Command]:
        self.finished = True
        self.content.close()
        seconds = max(now - self.started, 1e-6)
        figures = {"bytes": min((self._base - 1) * self.block, self.content.size), "seconds": round(seconds, 3),
                   "resent": self.resent}
        return [self._event(name, detail, **figures)]

    def _event(self, name: str, detail: str = "", **figures: float) -> Event:
        return Event("tftp", "tftp", name, detail=detail,
                     data={"address": self.peer[0], "file": self.request.name} | figures)


@dataclass(slots=True)
class TftpServer:
    """Takes requests; ``transfers`` are the running ones by their peer's address and port."""

    open: Opener
    limits: Limits = field(default_factory=Limits)
    transfers: dict[Peer, Transfer] = field(default_factory=dict)

    def receive(self, data: bytes, source: Peer, now: float) -> list[Command]:
        """Take a datagram that came to port 69. Never raises, whatever the bytes.

        If there is a transfer of this source afterwards, the commands go out from that transfer's own port.
        """
        if opcode(data) not in (Op.RRQ, Op.WRQ):
            return []  # never answer an error or a stray packet: two servers would play ping-pong
        name = ""
        try:
            request = read_request(data)
            name = request.name
            running = self.transfers.get(source)
            if running is not None and running.request == request:
                return running.repeat(now)
            if self._crowded(source):
                return [_refusal(source, name, "busy", "too many transfers")]
            transfer = self._begin(request, source, now)
        except TftpError as error:
            return [Send(error_packet(error.code, str(error)), *source),
                    _refusal(source, name, "refused", str(error))]
        if running is not None:
            running.content.close()
        self.transfers[source] = transfer
        return transfer.start(now)

    def stray(self, source: Peer) -> list[Command]:
        """Answer a packet that came to a transfer's port from somebody else (RFC 1350 section 4)."""
        return [Send(error_packet(Code.UNKNOWN_TID, "unknown transfer"), *source)]

    def tick(self, now: float) -> list[tuple[Peer, list[Command]]]:
        """Return what is due, by transfer."""
        due = [peer for peer, transfer in self.transfers.items() if transfer.deadline <= now]
        return [(peer, self.transfers[peer].tick(now)) for peer in due]

    def forget(self, peer: Peer) -> None:
        """Drop a finished transfer."""
        self.transfers.pop(peer, None)

    def _begin(self, request: Request, source: Peer, now: float) -> Transfer:
        if request.op == Op.WRQ:
            raise TftpError(Code.ACCESS, "this server takes no files")
        content = self.open(clean_name(request.name), source[0])
        if request.mode == "netascii":
            content = _netascii(content)
        return Transfer(source, request, content, self.limits, now)

    def _crowded(self, source: Peer) -> bool:
        if len(self.transfers) >= self.limits.transfers:
            return True
        return sum(peer[0] == source[0] for peer in self.transfers) >= self.limits.per_client


def clean_name(name: str) -> str:
    """Return the path that a client means, relative and without tricks; raise TftpError for one that leads out."""
    parts = [part for part in name.replace("\\", "/").split("/") if part not in ("", ".")]
    if not parts or ".." in parts or not name.isprintable() or len(name) > 512:
        raise TftpError(Code.ACCESS, "no such name can be served")
    return "/".join(parts)


@dataclass(slots=True)
class Text:
    """Content that is in memory."""

    data: bytes

    @property
    def size(self) -> int:
        """Bytes in all."""
        return len(self.data)

    def read(self, offset: int, length: int) -> bytes:
        """Return a slice."""
        return self.data[offset:offset + length]

    def close(self) -> None:
        """Nothing to let go of."""


def _netascii(content: Content) -> Text:
    """Translate line ends as RFC 764 wants them for mode netascii."""
    try:
        if content.size > NETASCII_MAXIMUM:
            raise TftpError(Code.ILLEGAL, "too large for mode netascii, ask for octet")
        raw = content.read(0, content.size)
    finally:
        content.close()
    return Text(raw.replace(b"\r", b"\r\0").replace(b"\n", b"\r\n"))


def _number(text: str | None, low: int, high: int) -> int | None:
    # Malformed or out of range: as if it had not been asked for. RFC 2348 and 7440 say so by omission from the OACK.
    if text is None or not text.isascii() or not text.isdigit() or len(text) > 9:
        return None
    return int(text) if low <= int(text) <= high else None


def _refusal(source: Peer, file: str, name: str, detail: str) -> Event:
    return Event("tftp", "tftp", name, detail=detail, data={"address": source[0], "file": file})
