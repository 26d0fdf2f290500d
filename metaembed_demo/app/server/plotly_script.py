"""plotly.js by URL, from the Python package: the page fetches it from here when it draws its first chart.

The file has 4.8 MB. It is packed once, when it is first asked for; its URL names the version, so that
browsers keep it.
"""

from __future__ import annotations

import gzip
import threading
from functools import cache
from importlib.metadata import version
from importlib.resources import files

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

PATH = f"/static/plotly-{version('plotly')}.min.js"
META = f'<meta name="plotly" content="{PATH[1:]}">'  # relative, as the page may be below a path
PACKING = threading.Lock()
KEPT = {"Cache-Control": "public, max-age=31536000, immutable", "Vary": "Accept-Encoding"}


def route() -> Route:
    return Route(PATH, serve, methods=["GET"])


async def serve(request: Request) -> Response:
    packs = "gzip" in request.headers.get("accept-encoding", "")
    body = await run_in_threadpool(packed if packs else plain)
    headers = {**KEPT, "Content-Encoding": "gzip"} if packs else KEPT
    return Response(body, media_type="text/javascript", headers=headers)


def packed() -> bytes:
    with PACKING:  # two first requests that meet pack once
        return _packed()


@cache
def _packed() -> bytes:
    return gzip.compress(plain(), 9)


def plain() -> bytes:
    return (files("plotly") / "package_data" / "plotly.min.js").read_bytes()
