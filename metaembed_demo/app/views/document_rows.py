"""The list of documents: the visitor's own first, and an opened one as a row of pages. Pure functions."""

from __future__ import annotations

from collections.abc import Collection as Sized
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from metaembed_demo.core.moments import spot
from metaembed_demo.core.text import plural

from .documents_tab import ShownDocument
from .html import safe
from .open_page import lightbox
from .search_tab import PICTURE, THUMBNAIL, Action, Address, ShownPage, state

OWN, SAMPLES = "Yours", "Samples"


@dataclass(frozen=True)
class Opened:
    """A document that is shown as a row of pages. numbers: of its pages in it."""

    source: str
    pages: Sequence[ShownPage]
    numbers: Sequence[int]
    address: Address


def listing(
    documents: Sequence[ShownDocument],
    pages: int,
    samples: bool = True,
    own: Sized[str] = (),
    opened: Opened | None = None,
) -> str:
    """The documents with page counts, and for each a button to search it and one to remove it.

    Args:
        pages: in the index; samples: whether there is a sample corpus to restore.
        own: names of those that the visitor added; they come first. opened: one of them with its pages.
    """
    if not documents:
        text = "Drop files to begin; they stay in this browser session only."
        action = Action("Restore the sample corpus", "restore") if samples else None
        return state("empty", "No documents", text, action)
    mine = [document for document in documents if document.source in own]
    others = [document for document in documents if document.source not in own]
    restore = '<button type="button" data-action="restore">Restore samples</button>'
    return (
        '<section class="listing" aria-label="Documents"><div class="section-head">'
        f"<h2>{plural(len(documents), 'document')}, {plural(pages, 'page')}</h2>"
        f'<p class="tools">{restore if samples else ""}'
        f'<button type="button" data-action="clear" data-sure="Really remove {len(documents)}?">'
        f"Clear all</button></p></div>{_group(mine, OWN if others else '', opened, True)}"
        f"{_group(others, SAMPLES if mine else '', opened, False)}</section>"
    )


def _group(documents: Sequence[ShownDocument], name: str, opened: Opened | None, mine: bool) -> str:
    if not documents:
        return ""
    every = '<button type="button" data-action="own">Search all of these</button>' if mine else ""
    count = plural(sum(document.pages for document in documents), "page")
    head = f'<div class="group-head"><h3>{name} <span class="hint num">{count}</span></h3>{every}</div>'
    rows = "".join(_row(document, opened) for document in documents)
    return f"{head if name or mine else ''}<ul>{rows}</ul>"


def _row(document: ShownDocument, opened: Opened | None) -> str:
    name = safe(document.source)
    is_open = opened is not None and opened.source == document.source
    return (
        f'<li><span class="kind">{safe(_kind(document))}</span>'
        f'<button type="button" class="file" title="{name}" data-open="{name}" '
        f'aria-expanded="{"true" if is_open else "false"}">{name}</button>'
        f'<span class="num count">{plural(document.pages, "page")}</span>'
        f'<span class="ways"><button type="button" data-action="document" data-value="{name}" '
        f'aria-label="Search {name} alone">Search these</button>'
        f'<button type="button" data-remove="{name}" aria-label="Remove {name}">Remove</button></span>'
        f"{_strip(opened) if opened and is_open else ''}</li>"
    )


def _strip(opened: Opened) -> str:
    """The pages side by side; web/documents.js opens one at full size in the dialog."""
    pages = "".join(
        f'<li><button type="button" data-picture="{opened.address(page.id, PICTURE)}" '
        f'aria-label="{spot(opened.source, number, "Page ")}: {safe(page.title)}">'
        f'<img src="{opened.address(page.id, THUMBNAIL)}" alt="" loading="lazy" width="{page.width}" '
        f'height="{page.height}"></button>'
        f'<span class="num" aria-hidden="true">{spot(opened.source, number, "")}</span></li>'
        for page, number in zip(opened.pages, opened.numbers, strict=True)
    )
    return (
        f'<div class="strip page" role="group" aria-label="Pages of {safe(opened.source)}"><ol>{pages}</ol>'
        f'<span class="picture" hidden><span class="sheet"><img alt=""></span></span>'
        f"{lightbox(opened.source)}</div>"
    )


def _kind(document: ShownDocument) -> str:
    suffix = PurePosixPath(document.source).suffix.lstrip(".").upper()
    return suffix[:4] or document.kind.upper()[:4]
