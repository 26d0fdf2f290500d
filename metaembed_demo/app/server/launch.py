"""Launch options of the app: health endpoint, MCP, access guard, password."""

from __future__ import annotations

import hmac
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from metaembed_demo import __version__
from metaembed_demo.app import theme
from metaembed_demo.core.config import SPACE, Limits, Server

from . import mcp_server, plotly_script, share_card
from .access import CALL, MCP, Events, Guard
from .api import Api
from .connections import Connections
from .gradio_compat import user_of
from .kept_pages import KeptPages
from .pictures import Pictures
from .rate_limit import Addresses
from .visitor_cookie import VisitorCookie

ASK = "Any user name will do; the password is the one that was set for this server."


def options(
    api: Api,
    server: Server,
    limits: Limits,
    folder: Path,
    ready: Callable[[], bool],
    more: Sequence[Route] = (),
    events: Events | None = None,
) -> dict[str, Any]:
    """Launch options of `gradio_compat.Page`. The page loads nothing from elsewhere.

    Args:
        folder: the upload folder; ready: whether the server accepts requests; more: routes of the page;
            events: the page's.
    """
    routes = [*more, Route("/health", health(api, ready), methods=["GET", "HEAD"])]
    routes += [Pictures(api.visits).route(), plotly_script.route(), share_card.route()]
    lifespan: Callable[[Any], AbstractAsyncContextManager[None]] | None = None
    if mcp_server.AVAILABLE:
        tools = mcp_server.Toolbox(api)
        routes += [Route(path, tools.serve) for path in (MCP, MCP + "/")]
        routes.append(Route(f"{MCP}/schema", tools.schema, methods=["GET", "HEAD"]))
        lifespan = tools.lifespan
    addresses = Addresses(server.trusted_proxies, SPACE.here, server.proxy_addresses)
    guard = Middleware(
        Guard,
        limits=limits,
        folder=folder,
        secrets=secrets(server),
        addresses=addresses,
        events=events,
        user_of=user_of,
    )
    pages = Middleware(KeptPages, ready=ready, user_of=user_of)
    return {
        "connections": Connections(
            limits.max_connections, addresses.shared, (Guard, VisitorCookie, KeptPages)
        ),
        "theme": theme.theme(),
        "css": theme.css(),
        "head": plotly_script.META + theme.head(),
        "footer_links": [],
        "ssr_mode": False,
        "max_file_size": max(limits.max_file_bytes, limits.max_archive_bytes),
        "show_error": False,
        "mcp_server": False,  # Gradio's own fetches URLs and returns Python literals instead of JSON
        "tells_of_mcp": mcp_server.AVAILABLE,
        "enable_monitoring": False,
        "auth": _lets_in(server.password) if server.password else None,
        "auth_message": _ask(limits) if server.password else None,
        "app_kwargs": {
            "middleware": [guard, Middleware(VisitorCookie), pages],
            "routes": routes,
            "lifespan": lifespan,
            "openapi_url": None,
        },
    }


def secrets(server: Server) -> dict[str, list[str]]:
    """Accepted tokens by path, for MCP and the API. Gradio's password login does not cover MCP."""
    token = [server.token] if server.token else []
    return {MCP: token or ([server.password] if server.password else []), CALL: token}


def health(api: Api, ready: Callable[[], bool]) -> Callable[[Request], JSONResponse]:
    """The handler of GET and HEAD /health, without login and outside the queue."""

    def answer(request: Request) -> JSONResponse:
        well = ready()
        state = {
            "status": "ok" if well else "starting",
            "version": __version__,
            "encoder": api.visits.tools.encoder.name,
            "pages": len(api.base),
        }
        return JSONResponse(state, 200 if well else 503, {"Cache-Control": "no-store"})

    return answer


def _ask(limits: Limits) -> str:
    """The text on the login page. Gradio's page shows no message for status 429, so it is said beforehand."""
    if not limits.max_guesses:
        return ASK
    return f"{ASK} After {limits.max_guesses} wrong ones nothing happens for a minute, then for longer."


def _lets_in(password: str) -> Callable[[str, str], bool]:
    return lambda _, given: hmac.compare_digest(given.encode(), password.encode())
