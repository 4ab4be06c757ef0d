"""What a machine prints, made harmless for the terminal of the one who watches.

Colours, cursor movement and clearing pass. What reaches beyond the screen does not: OSC (window title, clipboard by
OSC 52, colours, links), DCS, SOS, PM, APC strings, the full reset ``ESC c`` (wipes the scrollback; SeaBIOS sends it
at every start) and ``CSI ? 7 l`` (no line wrap), and window operations ``CSI … t``. Answers to what the machine asks
(``CSI 6 n``) are left to the terminal: a shell on the machine needs its size.
"""

from __future__ import annotations

import re

_SEQUENCE = re.compile(rb"\x1b(?:\[[0-?]{0,64}[ -/]{0,4}[@-~]|[ -/]{1,4}[0-~]|[0-OQ-WYZ\\`-~])")
_BEGUN = re.compile(rb"\x1b(?:\[[0-?]{0,64}[ -/]{0,4}|[ -/]{0,4})")
_DROPPED = re.compile(rb"\x1bc|\x1b\[\?7l|\x1b\[[0-?]*[ -/]*t")
# 8-bit forms of OSC, DCS, SOS, PM, APC (U+009D, U+0090, U+0098, U+009E, U+009F) in UTF-8.
_EIGHT = {b"\xc2\x9d", b"\xc2\x90", b"\xc2\x98", b"\xc2\x9e", b"\xc2\x9f"}
_INTEREST = re.compile(rb"\x1b|\xc2(?:[\x90\x98\x9d\x9e\x9f]|\Z)")
_STRING_END = re.compile(rb"\x07|\x1b\\|\xc2\x9c|[\r\n\x18\x1a]")
RESTORE = b"\x1b[0m\x1b[?7h\x1b[?25h"


class Filter:
    """A stream filter: give it pieces, get what may be written to a terminal. Holds no more than one sequence."""

    def __init__(self) -> None:
        self._held = b""
        self._in_string = False

    def feed(self, data: bytes) -> bytes:
        """Return the harmless part of ``data``; an unfinished sequence is kept for the next call."""
        data, self._held = self._held + data, b""
        kept, position = [], 0
        while position < len(data):
            if self._in_string:
                position = self._skip_string(data, position)
                continue
            found = _INTEREST.search(data, position)
            if found is None:
                kept.append(data[position:])
                break
            at = found.start()
            kept.append(data[position:at])
            position = self._sequence(data, at, kept)
        return b"".join(kept)

    def _sequence(self, data: bytes, at: int, kept: list[bytes]) -> int:
        """Deal with what may be a sequence at ``at``; return where to go on."""
        if sequence := _SEQUENCE.match(data, at):
            if not _DROPPED.fullmatch(sequence[0]):
                kept.append(sequence[0])
            return sequence.end()
        if data[at:at + 2] in _EIGHT or (data[at] == 0x1B and data[at + 1:at + 2] in (b"]", b"P", b"X", b"^", b"_")):
            self._in_string = True
            return at + 2
        if _BEGUN.fullmatch(data, at) or data[at:] == b"\xc2":
            self._held = data[at:]
            return len(data)
        # ESC before something that is no sequence: it would swallow what follows on the terminal.
        return at + 1

    def _skip_string(self, data: bytes, position: int) -> int:
        end = _STRING_END.search(data, position)
        if end is None:
            self._held = data[-1:] if data[-1:] in (b"\x1b", b"\xc2") else b""
            return len(data)
        self._in_string = False
        return end.start() if end[0] in b"\r\n" else end.end()
