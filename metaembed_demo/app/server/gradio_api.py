"""The API as named Gradio endpoints: uploads, token check, error messages."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import gradio as gr
from gradio.data_classes import FileData

from metaembed_demo.app.visitors.uploads import UploadedFiles
from metaembed_demo.collection.modes import BOTH
from metaembed_demo.core.budgets import OURS
from metaembed_demo.core.logs import plain
from metaembed_demo.core.types import Upload

from . import access
from .api import Api
from .gradio_compat import NOT_UPLOADED
from .gradio_uploads import uploaded
from .rate_limit import client_of

BUDGET = str(OURS.full)


class Endpoints:
    """The endpoints for `gradio_client` and plain HTTP, see docs/api.md."""

    def __init__(self, api: Api, secrets: Sequence[str] = ()) -> None:
        """secrets: accepted tokens; empty: callers need none."""
        self.api, self.secrets = api, secrets

    def wire(self, searching: dict[str, Any], indexing: dict[str, Any]) -> None:
        """Args: queue settings for searches and for indexing, as Gradio's keyword arguments."""

        def offer(fn: Callable[..., Any], queue: dict[str, Any]) -> None:
            gr.api(fn, api_name=fn.__name__, **queue)

        for fn in (
            self.search,
            self.explain,
            self.documents,
            self.delete,
            self.new_session,
            self.end_session,
        ):
            offer(fn, searching)
        offer(self.index, indexing)

    def search(
        self,
        query: str,
        budget: str = BUDGET,
        k: int = 10,
        session: str = "",
        image: FileData | None = None,
        language: str = "",
        mode: str = BOTH,
        steps: int = 0,
        complement: str = "",
        filter: str | dict[str, Any] = "",
        request: gr.Request | None = None,
    ) -> dict[str, Any]:
        """Search a session's pages, or the sample corpus, with words, a picture, or both.

        Args:
            query: What to look for. May be empty where there is a picture.
            budget: How many vectors to use, "r_q x r_c", for example "8x16"; or "auto": it sets itself.
            k: How many hits, at most 100.
            session: The token of a session. Empty: the sample corpus.
            image: A picture to ask with.
            language: ISO 639-1 code of the pages to search, for example "de". Empty: all pages.
            mode: What ranks the pages: "meaning", "words" or "both".
            steps: Steps that move the query towards the words, 0 to 50, in mode "both".
            complement: A loaded encoder towards which it is moved instead. Empty: the words.
            filter: The pages to search, as 'type:pdf pages:3-10', or its fields as an object. Empty: all.
        """
        with self._asked(request), self._picture(image) as picture:
            client = client_of(request)
            how = (language, client, mode, steps, complement, filter)
            return self.api.search(query, budget, k, session, picture, *how)

    def explain(
        self,
        page_id: str,
        query: str = "",
        budget: str = BUDGET,
        session: str = "",
        image: FileData | None = None,
        request: gr.Request | None = None,
    ) -> dict[str, Any]:
        """Explain why a page scores as it does: its alignment, and the share of each of its words.

        Args:
            page_id: The page_id of a hit.
            query: What was looked for. May be empty where there is a picture.
            budget: How many vectors to use, "r_q x r_c", for example "8x16".
            session: The token of a session. Empty: the sample corpus.
            image: The picture that was asked with.
        """
        with self._asked(request), self._picture(image) as picture:
            return self.api.explained(page_id, query, budget, session, picture, client_of(request)).answer

    def documents(self, session: str = "", request: gr.Request | None = None) -> dict[str, Any]:
        """List the documents of a session, or of the sample corpus.

        Args:
            session: The token of a session. Empty: the sample corpus.
        """
        with self._asked(request):
            return self.api.documents(session)

    def delete(self, source: str, session: str, request: gr.Request | None = None) -> dict[str, Any]:
        """Take a document out of a session.

        Args:
            source: The source of a document, as documents lists it.
            session: The token of the session.
        """
        with self._asked(request):
            return self.api.delete(source, session)

    def index(
        self, files: list[FileData], session: str = "", request: gr.Request | None = None
    ) -> dict[str, Any]:
        """Add PDFs, pictures or zips of them to a session, and report on each that could not be read.

        Args:
            files: The files, uploaded.
            session: The token of a session. Empty: a new one, whose token is in the answer.
        """
        with self._asked(request):
            return self.api.index(self._files(files), session, client_of(request))

    def new_session(self, request: gr.Request | None = None) -> dict[str, Any]:
        """Start a session, which holds the sample corpus. The token in the answer is all that opens it."""
        with self._asked(request):
            return self.api.new_session(client_of(request))

    def end_session(self, session: str, request: gr.Request | None = None) -> dict[str, Any]:
        """End a session. Its pages and files are removed.

        Args:
            session: The token of the session.
        """
        with self._asked(request):
            return self.api.end_session(session)

    # Request handling

    @contextmanager
    def _asked(self, request: gr.Request | None) -> Iterator[None]:
        """Check the caller's token, and turn errors into messages for the caller."""
        try:
            headers = request.headers if request is not None else {}
            check = access.check_of(request.request if request is not None else None)
            check(headers.get("authorization", ""), self.secrets)
            yield
        except (ValueError, access.Refused) as error:
            raise gr.Error(plain(str(error)), print_exception=False) from error
        finally:
            self.api.visits.called(request.session_hash if request is not None else None)

    def _files(self, files: Any) -> list[Upload]:
        given = files if isinstance(files, list) else [files]
        found = uploaded(given)
        if len(found) < len(given):
            raise ValueError(NOT_UPLOADED)
        return found

    @contextmanager
    def _picture(self, image: Any) -> Iterator[Upload | None]:
        """The query picture, removed afterwards."""
        if image is None:
            yield None
            return
        found = self._files([image])
        holder = UploadedFiles(self.api.visits.folder, self.api.limits)
        try:
            picture = holder.swap(None, found)
            if picture is None:
                raise ValueError(holder.refusals()[0].message)
            yield picture
        finally:
            holder.clear()
