"""Page pictures, token readings and the map's data by URL, for the visitor who owns the session only.

The URL is pictures/KEY/PAGE/NAME. The random key belongs to a session and works only with the visitor's
cookie, while the session is open. The content at a URL never changes.
"""

from __future__ import annotations

import hmac

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from metaembed_demo.app.views.search_tab import PICTURE, THUMBNAIL
from metaembed_demo.app.visitors.corpus_map import MAP
from metaembed_demo.app.visitors.registry import Visits
from metaembed_demo.app.visitors.session import Session

from .visitor_cookie import visitor_of

PATH = "/pictures/{key}/{page}/{name}"
KEPT = {"Cache-Control": "private, max-age=31536000, immutable"}
NOT_KEPT = {"Cache-Control": "no-store"}


class Pictures:
    """The endpoint."""

    def __init__(self, visits: Visits) -> None:
        self.visits = visits

    def route(self) -> Route:
        return Route(PATH, self.serve, methods=["GET"])

    async def serve(self, request: Request) -> Response:
        """200 with the picture, or 404 for everything else, so that others cannot learn which pages exist."""
        key, page, name = (request.path_params[each] for each in ("key", "page", "name"))
        session = self.visits.session_of(visitor_of(request.cookies))
        if session is None or not hmac.compare_digest(key.encode(), session.picture_key.encode()):
            return PlainTextResponse("Not found.", 404, headers=NOT_KEPT)
        found = await run_in_threadpool(self._find, session, page, name)
        return found or PlainTextResponse("Not found.", 404, headers=NOT_KEPT)

    def _find(self, session: Session, page_id: str, name: str) -> Response | None:
        if page_id == MAP:
            found = (visit.map.data(name) for visit in self.visits.tabs_of(session.id))
            data = next((each for each in found if each is not None), None)
            return None if data is None else Response(data, media_type="application/json", headers=KEPT)
        page = session.collection.pages.get(page_id)
        if page is None:
            return None
        if name == THUMBNAIL:
            return Response(page.thumbnail, media_type="image/jpeg", headers=KEPT)
        if name == PICTURE:
            return Response(page.picture, media_type="image/jpeg", headers=KEPT)
        for visit in self.visits.tabs_of(session.id):
            if (reading := visit.explanation_tabs.reading(page_id, name)) is not None:
                return Response(reading, media_type="application/json", headers=KEPT)
        return None
