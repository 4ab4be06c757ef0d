"""A console's bytes as lines of plain text, whatever comes and however it is cut into pieces.

Escape sequences (ECMA-48) are taken out; those that move the cursor elsewhere end the line, as do CR and LF. Invalid
UTF-8 becomes U+FFFD. A line without an end is given out in pieces of LONGEST characters, so memory stays bounded.
"""

from __future__ import annotations

import codecs
import re

LONGEST = 4096
_COMPLETE = re.compile(r"\x1b(?:\[[0-?]{0,40}[ -/]{0,4}(?P<csi>[@-~])|[ -/]{1,4}[0-~]|(?P<two>[0-OQ-WYZ\\`-~]))")
_BEGUN = re.compile(r"\x1b(?:\[[0-?]{0,40}[ -/]{0,4}|[ -/]{0,4})")
_STRING = "]PX^_"  # OSC, DCS, SOS, PM, APC: text up to ST or BEL
_STRING_END = re.compile(r"\x07|\x1b\\|\x9c|[\r\n\x18\x1a]")
_ENDS = re.compile(r"[\r\n\x0b\x0c]+")
_CONTROL = {code: None for code in (*range(32), 127) if chr(code) not in "\t\n\r\x0b\x0c"}


class Lines:
    """Feed it bytes, get lines. ``partial`` is the text of the line that is not ended yet."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._held = ""
        self._in_string = False
        self.partial = ""

    def feed(self, data: bytes) -> list[str]:
        """Return the lines that ``data`` completes, without their ends; empty lines are left out."""
        text = self.partial + self._plain(self._held + self._decoder.decode(data)).translate(_CONTROL)
        *whole, self.partial = _ENDS.split(text)
        while len(self.partial) > LONGEST:
            whole.append(self.partial[:LONGEST])
            self.partial = self.partial[LONGEST:]
        return [piece for line in whole if line for piece in _pieces(line)]

    def _plain(self, text: str) -> str:
        """Take the escape sequences out; one that is not complete is held for the next piece."""
        self._held = ""
        kept, position = [], 0
        while position < len(text):
            if self._in_string:
                position = self._skip_string(text, position)
                continue
            escape = text.find("\x1b", position)
            if escape < 0:
                kept.append(text[position:])
                break
            kept.append(text[position:escape])
            if found := _COMPLETE.match(text, escape):
                kept.append(_meaning(found))
                position = found.end()
            elif text[escape + 1:escape + 2] in _STRING and escape + 1 < len(text):
                self._in_string = True
                position = escape + 2
            elif _BEGUN.fullmatch(text, escape):
                self._held = text[escape:]
                break
            else:
                position = escape + 1
        return "".join(kept)

    def _skip_string(self, text: str, position: int) -> int:
        end = _STRING_END.search(text, position)
        if end is None:
            # ESC at the very end may be the first half of ST.
            self._held = "\x1b" if text.endswith("\x1b") else ""
            return len(text)
        self._in_string = False
        return end.start() if end[0] in "\r\n" else end.end()


def _meaning(found: re.Match[str]) -> str:
    """Return what a sequence means to a reader of lines: a new place on the screen is a new line."""
    if found["csi"] in ("H", "f", "J", "E", "F", "d") or found["two"] in ("c", "D", "E"):
        return "\n"
    return " " if found["csi"] in ("C", "G") else ""


def _pieces(line: str) -> list[str]:
    return [line[at:at + LONGEST] for at in range(0, len(line), LONGEST)]
