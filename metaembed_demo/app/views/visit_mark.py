"""What the browser keeps of a visit in its session storage, see web/visit.js. Opens nothing by itself."""

from __future__ import annotations

from .html import json_attribute


def region(tab: str, session: str, own: int) -> str:
    """Args: tab, session: their marks; own: the number of the visitor's documents."""
    return f"<div hidden {json_attribute('visit', {'tab': tab, 'session': session, 'own': own})}></div>"
