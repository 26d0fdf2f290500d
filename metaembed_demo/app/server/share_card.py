"""How a link to the page looks where it is shared: Open Graph and Twitter tags, and their picture.

They take the place of Gradio's. The picture is made by `python -m scripts.share_card`.
"""

from __future__ import annotations

import re
from functools import cache
from html import escape

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from metaembed_demo.core.config import PATHS

PATH = "/static/share-card.jpg"
SIZE = (1200, 630)  # pixels
TITLE = "MetaEmbed demo: one index, any budget"
TEXT = "Search pages by meaning, move a dial from 1×1 to 16×64 vectors, and see where each score comes from."
ALT = (
    "A search in the demo: the budget dial, the hits, and the open page with the words that its score is from"
)
KEPT = {"Cache-Control": "public, max-age=86400"}
OTHERS = re.compile(rb'<meta\s+(?:property="og:|name="twitter:)[^>]*>\s*')
HEAD = re.compile(rb"</head>")


def put(body: bytes, address: str) -> bytes:
    """The HTML page `body` with our tags in place of Gradio's. address: the page's, without the last "/"."""
    return HEAD.sub(tags(address).encode() + b"</head>", OTHERS.sub(b"", body), count=1)


def tags(address: str) -> str:
    """The tags of a page at `address`."""
    picture = {"image": address + PATH, "image:alt": ALT}
    size = dict(zip(("image:width", "image:height"), map(str, SIZE), strict=True))
    card = {"title": TITLE, "description": TEXT}
    graph = {"type": "website", "url": f"{address}/", **card, **picture, **size}
    told = [
        ("property", "og:", graph),
        ("name", "twitter:", {"card": "summary_large_image", **card, **picture}),
    ]
    return "".join(
        f'<meta {kind}="{prefix}{name}" content="{escape(value)}">'
        for kind, prefix, values in told
        for name, value in values.items()
    )


def route() -> Route:
    return Route(PATH, serve, methods=["GET", "HEAD"])


async def serve(request: Request) -> Response:
    return Response(_picture(), media_type="image/jpeg", headers=KEPT)


@cache
def _picture() -> bytes:
    return PATHS.share_card.read_bytes()
