"""What the MCP server has as resources: a hit with its evidence, to look at, and the picture of a page.

By the extension MCP Apps (2026-01-26) a tool names the view of its results, `VIEW`: a page that draws the
card in a result's `_meta`. The same card is a resource by itself, for hosts that do without scripts. Both
are self-contained: a host's frame lets nothing be fetched.
"""

from __future__ import annotations

import base64
import io
import re
from dataclasses import dataclass
from functools import cache
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlencode

from PIL import Image

from metaembed_demo.app import theme
from metaembed_demo.app.views.evidence_card import card
from metaembed_demo.collection.stored_page import StoredPage
from metaembed_demo.index.maxsim import candidate_gains

from .api import FULL, Api, Explained
from .mcp_messages import MOST_URI

VIEW = "ui://metaembed-demo/explain"
CARD = VIEW + "/{session}/{page_id}{?query,budget}"
PICTURE = "metaembed-demo://picture/{session}/{page_id}"
SAMPLES = "samples"  # in place of a session
HTML = "text/html;profile=mcp-app"
JPEG = "image/jpeg"
KEY = "metaembed-demo/card"  # in a result's _meta; web/evidence_card.js knows it
NAMED = re.compile(
    rf"(?:(?P<card>{re.escape(VIEW)})|{re.escape(PICTURE.partition('/{')[0])})"
    r"/(?P<session>[^/?#]+)/(?P<page>[^/?#]+)(?:\?(?P<given>[^#]*))?"
)
FRAMED = {"ui": {"prefersBorder": True}}
SIDE = 900  # pixels of a card's picture
UNKNOWN = f"There is no such resource. There are {VIEW}, {CARD} and {PICTURE}; without a session: {SAMPLES}."


@dataclass(frozen=True)
class Asked:
    """What a URI names: a picture, or the evidence of a page at a budget for a query."""

    picture: bool
    session: str
    page_id: str
    query: str = ""
    budget: str = FULL

    @classmethod
    def parse(cls, uri: str) -> Asked:
        """From the URI of a resource. Raises ValueError, whose message is for the caller.

        >>> Asked.parse("ui://metaembed-demo/explain/samples/7f?query=wind%20%26%20sun&budget=4x8")
        Asked(picture=False, session='', page_id='7f', query='wind & sun', budget='4x8')
        >>> Asked.parse("metaembed-demo://picture/token/7f").session
        'token'
        """
        found = NAMED.fullmatch(uri)
        if found is None:
            raise ValueError(UNKNOWN)
        try:
            session, page_id = (unquote(found[name], errors="strict") for name in ("session", "page"))
            given = parse_qs(found["given"] or "", max_num_fields=2, errors="strict")
        except ValueError:
            raise ValueError(UNKNOWN) from None
        if not given.keys() <= {"query", "budget"}:
            raise ValueError(UNKNOWN)
        named = {name: values[-1] for name, values in given.items()}
        return cls(found["card"] is None, "" if session == SAMPLES else session, page_id, **named)


def card_uri(session: str, found: Explained) -> str:
    """The URI of a hit's card; "" where none names it, as with a picture in the query."""
    query = found.answer["query"]
    given = urlencode({"query": query["text"], "budget": str(found.trace.budget)}, quote_via=quote)
    uri = f"{VIEW}/{quote(session or SAMPLES, safe='')}/{quote(found.page.id, safe='')}?{given}"
    return "" if query["image"] or len(uri) > MOST_URI else uri


def picture_uri(session: str, page_id: str) -> str:
    """The URI of a page's picture."""
    return PICTURE.format(session=quote(session or SAMPLES, safe=""), page_id=quote(page_id, safe=""))


def read(api: Api, asked: Asked, client: str, here: str) -> tuple[str | bytes, str]:
    """The content of a resource, and its type. Raises ValueError as the API does.

    here: the address of the page, for the link to it.
    """
    if asked.picture:
        return api.page(asked.page_id, asked.session).picture, JPEG
    found = api.explained(asked.page_id, asked.query, asked.budget, asked.session, client=client)
    return view(drawn(found, asked.session, here)), HTML


def drawn(found: Explained, session: str, here: str) -> str:
    """The card of an explained hit."""
    trace, alignment = found.trace, found.trace.alignment
    assert alignment is not None
    return card(
        found.answer,
        _small(found.page),
        (trace.shown(found.answer["score"]), trace.similarity),
        [trace.shown(gain) for gain in candidate_gains(alignment, trace.budgets).tolist()],
        found.groups,
        trace.budgets,
        "" if session or trace.query_image else _link(found, here),
    )


def view(inside: str = "") -> str:
    """The HTML document around a card; without one it waits for that of a result."""
    return (
        '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>MetaEmbed: why this page</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{_style()}</style></head><body><main>{inside}</main>"
        f"<script>{theme.script('evidence_card.js')}</script></body></html>"
    )


@cache
def _style() -> str:
    pairs = list(zip(theme.SHADES_LIGHT, theme.SHADES_DARK, strict=True))
    shades = "".join(f"--shade-{at}:light-dark({light},{dark});" for at, (light, dark) in enumerate(pairs, 1))
    marks = "".join(f"--mark-{at}:{light};" for at, (light, _) in enumerate(pairs, 1))  # pages are light
    return f":root{{{shades}{marks}}}{(theme.WEB / 'evidence_card.css').read_text('utf-8')}"


def _link(found: Explained, here: str) -> str:
    """The search in the page. Only the samples are there for whoever follows it."""
    params: dict[str, Any] = {"q": found.answer["query"]["text"], "budget": found.trace.budget}
    return f"{here}/?{urlencode({**params, 'hit': found.page.id, 'tab': 'page-map'})}"


def _small(page: StoredPage) -> str:
    """The page's picture as a data URL, a third of the stored one's bytes."""
    image = Image.open(io.BytesIO(page.picture)).convert("RGB")
    image.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    file = io.BytesIO()
    image.save(file, "WEBP", quality=70, method=2)
    return f"data:image/webp;base64,{base64.b64encode(file.getvalue()).decode()}"
