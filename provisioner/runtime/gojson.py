"""JSON text as Go's ``encoding/json`` writes it with MarshalIndent and four spaces."""

from __future__ import annotations

import json
from typing import Any

_ESCAPES = {ord("<"): "\\u003c", ord(">"): "\\u003e", ord("&"): "\\u0026", 0x2028: "\\u2028", 0x2029: "\\u2029"}


def to_json(data: Any) -> str:
    """Return ``data`` as Go's text: Unicode as it is but for ``<``, ``>``, ``&`` and two line separators.

    These stand only inside strings of JSON, so they can be replaced in the whole text. No newline at the end.
    """
    return json.dumps(data, indent=4, ensure_ascii=False).translate(_ESCAPES)
