"""Escaping for HTML."""

from __future__ import annotations

import json
from html import escape

from metaembed_demo.core.text import clean


def safe(text: str) -> str:
    """Escape untrusted text for HTML content and quoted attributes."""
    return escape(clean(text), quote=True)


def json_attribute(name: str, data: object) -> str:
    """`data-NAME` with `data` as JSON in single quotes, so that JSON's double quotes need no escaping.

    Raises:
        ValueError: for NaN, which JSON cannot represent.

    >>> print(json_attribute("map", {"word": "l'ami <b>"}))
    data-map='{"word":"l&#x27;ami &lt;b>"}'
    """
    text = clean(json.dumps(data, separators=(",", ":"), allow_nan=False, default=float, ensure_ascii=False))
    return f"data-{name}='{text.replace('&', '&amp;').replace('<', '&lt;').replace(chr(39), '&#x27;')}'"
