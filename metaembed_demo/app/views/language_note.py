"""Languages that the encoder in use does not read, with one click to the one that does."""

from __future__ import annotations

from collections.abc import Mapping

from metaembed_demo.core.languages import language_name
from metaembed_demo.core.text import plural

from .html import safe

MOST = 3  # languages that are named


def switch(reader: str) -> str:
    """The button that reads all pages with the encoder `reader`; "" where there is none to switch to."""
    if not reader:
        return ""
    return (
        f'<button type="button" class="do" data-action="reader" data-value="{safe(reader)}">'
        "Read all pages with the multilingual encoder</button>"
    )


def of_pages(encoder: str, unread: Mapping[str, int], reader: str) -> str:
    """What is said where the documents are listed; "" if every page is in a language that is read.

    unread: ISO 639-1 code -> number of pages.
    """
    if not unread:
        return ""
    named = [f"{language_name(code)} ({count:,})" for code, count in list(unread.items())[:MOST]]
    more = f" and {plural(len(unread) - MOST, 'other language')}" if len(unread) > MOST else ""
    count = sum(unread.values())
    are = "is in a language" if count == 1 else "are in languages"
    told = f"{plural(count, 'page')} {are} that {encoder} does not read"
    return (
        f'<div class="note" role="status"><p>{safe(told)}: {safe(", ".join(named))}{more}. '
        f"Their words are searched all the same.</p>{switch(reader)}</div>"
    )
