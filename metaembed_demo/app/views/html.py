"""Text and pictures made safe to stand in HTML."""

from __future__ import annotations

import base64
import json
from html import escape

from metaembed_demo.core.text import clean


def safe(text: str) -> str:
    """Text from files, names and queries, safe inside HTML and inside a quoted attribute."""
    return escape(clean(text), quote=True)


def attribute(data: object) -> str:
    """`data` as JSON inside a quoted attribute. Raises ValueError for NaN, which JSON does not have."""
    return safe(json.dumps(data, separators=(",", ":"), allow_nan=False, default=float))


def data_uri(jpeg: bytes) -> str:
    """A picture that travels inside the page itself: no file is served, so none can be guessed."""
    return "data:image/jpeg;base64," + base64.b64encode(jpeg).decode("ascii")
