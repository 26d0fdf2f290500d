"""Building blocks of the page: HTML regions with scripts, and access to the visit of an event."""

from __future__ import annotations

from typing import Any

import gradio as gr

from metaembed_demo.app import theme
from metaembed_demo.app.server.gradio_uploads import said
from metaembed_demo.app.server.rate_limit import client_of
from metaembed_demo.app.server.visitor_cookie import visitor_of
from metaembed_demo.app.visitors.links import Link
from metaembed_demo.app.visitors.registry import Visits
from metaembed_demo.app.visitors.session import Full
from metaembed_demo.app.visitors.visitor import Visit
from metaembed_demo.core.budgets import Budget, Budgets

Updates = dict[Any, Any]  # component -> its new value
NO_COOKIE = (
    "This page needs one cookie, by which your pages are known as yours. "
    "Allow it for this address and reload."
)


class PageVisits:
    """Access to visits for the page's handlers, with errors shown to the visitor."""

    def __init__(self, visits: Visits) -> None:
        self.visits, self.tools = visits, visits.tools

    def of(self, request: gr.Request) -> Visit:
        """The visit of the tab that sent an event, at the view that the page's address names should the
        server have lost it. Raises gr.Error as `find`.
        """
        visit = self.find(request)
        if not visit.arrived:
            visit.arrive(Link.parse(dict(request.query_params)))
        return visit

    def find(self, request: gr.Request) -> Visit:
        """The visit of the tab that sent an event, which may be new.

        Raises:
            gr.Error: when there are too many sessions or the browser rejects the cookie; shown on the page.
        """
        visitor, tab = visitor_of(request.cookies), request.session_hash or "page"
        if visitor is None or self.visits.is_anothers(visitor, tab):
            raise gr.Error(NO_COOKIE, title="No cookie", print_exception=False)
        try:
            return self.visits.get(visitor, tab, client_of(request))
        except Full as full:
            raise gr.Error(str(full), title="Busy", print_exception=False) from full


def stop_of(event: gr.EventData, budgets: Budgets) -> Budget:
    """The stop of the dial that an event names by its number; the nearest one there is."""
    return budgets[min(max(int(said(event, "stop", 0)), 0), len(budgets) - 1)]


def html(name: str, value: str = "", script: str = "") -> gr.HTML:
    """A region of the page, with a script from web/."""
    return gr.HTML(
        value,
        elem_id=name,
        js_on_load=theme.script(script) if script else None,
        apply_default_css=False,
    )
