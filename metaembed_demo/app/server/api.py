"""The API: index, search, explain, documents, delete, each in a session. Independent of Gradio.

Answers are JSON types as in api.schema.json. Errors are ValueErrors whose message is for the caller.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from metaembed_demo.app.views.page_map import spread
from metaembed_demo.app.visitors import jobs
from metaembed_demo.app.visitors.auto_choice import auto_of
from metaembed_demo.app.visitors.links import explanation_json, strongest
from metaembed_demo.app.visitors.registry import Visits
from metaembed_demo.app.visitors.session import Full
from metaembed_demo.app.visitors.tools import Tools
from metaembed_demo.app.visitors.visitor import Visit
from metaembed_demo.collection.calibration import AUTO, Auto
from metaembed_demo.collection.collection import Collection
from metaembed_demo.collection.filters import PageFilter
from metaembed_demo.collection.modes import BOTH
from metaembed_demo.collection.ranker import How
from metaembed_demo.collection.search import explain_hit, search, searched
from metaembed_demo.collection.second_encoder import SecondEncoder
from metaembed_demo.collection.stored_page import StoredPage
from metaembed_demo.core.budgets import Budget
from metaembed_demo.core.config import LIMITS, Limits
from metaembed_demo.core.moments import as_json
from metaembed_demo.core.text import check_length, clean
from metaembed_demo.core.types import Query, Trace, Upload
from metaembed_demo.explain.explainer import Explanation

VERSION = 1
MOST_HITS = 100
UNKNOWN = (
    "There is no such session: it has ended, or never was. Call new_session, or index without a session, "
    "for another."
)
NO_PAGE = "There is no page with this page_id. Take one from a search's hits."
Answer = dict[str, Any]

FULL = "full"  # in place of a budget


@dataclass(frozen=True)
class Explained:
    """An explained hit: `answer` as `Api.explain` gives it, and what draws it.

    trace: with the alignment of `page`. groups: of each word of the answer, the index of the nested group of
    page tokens that it mainly counts through.
    """

    answer: Answer
    page: StoredPage
    trace: Trace
    groups: tuple[int, ...]


class Api:
    """The functions behind Gradio's endpoints and the MCP tools. A session is identified by its token.

    `client` is the caller's address, to whose share a new session and the reading of a picture count.
    """

    def __init__(self, visits: Visits, base: Collection, limits: Limits = LIMITS) -> None:
        self.visits, self.base, self.limits = visits, base, limits

    # Sessions

    def new_session(self, client: str = "") -> Answer:
        """Start a session with a copy of the sample corpus."""
        visit = self._open(client)
        return {
            "version": VERSION,
            "session": visit.session.id,
            "pages": len(visit.collection),
            "encoder": visit.tools.encoder.name,
            "ends_after_seconds": self.limits.session_ttl_s,
        }

    def end_session(self, session: Any) -> Answer:
        """End a session and remove its pages and files."""
        visit = self._visit(session)
        self.visits.close(visit.session.id)
        return {"version": VERSION, "ended": True}

    def _open(self, client: str) -> Visit:
        try:
            return self.visits.open(client)
        except Full as full:
            raise ValueError(str(full)) from full

    def _visit(self, session: Any) -> Visit:
        if not isinstance(session, str) or not session:
            raise ValueError("session is to be the token that new_session or index gave.")
        try:
            return self.visits.known(session)
        except KeyError:
            raise ValueError(UNKNOWN) from None

    def _place(self, session: Any) -> tuple[Collection, Tools]:
        """The collection and tools of a session; of the sample corpus if `session` is empty."""
        if session is None or session == "":
            return self.base, self.visits.tools
        visit = self._visit(session)
        return visit.collection, visit.tools

    # Pages

    def index(self, files: Sequence[Upload], session: Any = "", client: str = "") -> Answer:
        """Add files to a session, or to a new one if `session` is empty. Unreadable files are reported."""
        if not files:
            raise ValueError("There are no files to index. Give at least one.")
        visit = self._visit(session) if session else self._open(client)
        taken = visit.session.files.take(files)
        refused, collection = visit.session.files.refusals(), visit.collection
        run = jobs.index(visit.session, visit.tools.encoder, taken, refused, visit.stop, self.limits)
        try:
            with visit.session.at_work():
                ended = next(at for at in run if isinstance(at, jobs.Indexed))
        finally:
            visit.session.files.release(taken)
        report = ended.report
        return {
            "version": VERSION,
            "session": visit.session.id,
            "added": report.added,
            "blank": report.blank,
            "duplicates": list(report.duplicates),
            "problems": [{"source": each.source, "message": each.message} for each in report.problems],
            "notices": [
                {"source": each.source, "page": each.page, "message": each.message} for each in report.notices
            ],
            "stopped": ended.error or ("The session ended meanwhile." if ended.cancelled else None),
            "seconds": round(report.seconds, 3),
            "pages": len(collection),
        }

    def documents(self, session: Any = "") -> Answer:
        """The documents of a session, or of the sample corpus."""
        collection, _ = self._place(session)
        found = [
            {"source": each.source, "pages": each.pages, "kind": each.kind, "shared": each.shared}
            for each in collection.documents()
        ]
        return {"version": VERSION, "documents": found, "pages": len(collection)}

    def delete(self, source: Any, session: Any) -> Answer:
        """Remove a document from a session."""
        visit, name = self._visit(session), _text(source, "source")
        try:
            removed = visit.collection.remove(name)
        except KeyError:
            raise ValueError(
                f"There is no document called {clean(name[:200])!r} in this session. Ask documents for those "
                "there are."
            ) from None
        return {"version": VERSION, "removed": removed, "pages": len(visit.collection)}

    # Searching

    def search(
        self,
        query: Any,
        budget: Any,
        k: Any,
        session: Any = "",
        picture: Upload | None = None,
        language: Any = "",
        client: str = "",
        mode: Any = BOTH,
        steps: Any = 0,
        complement: Any = "",
        only: Any = "",
    ) -> Answer:
        """The best `k` pages of a session, or of the sample corpus, for text, a picture, or both.

        budget: "8x16" and the like, "full": the encoder's largest, or "auto": it sets itself. language:
        ISO 639-1 code of the pages to search, "" for all. mode, steps: as of `ranker.How`. complement: the
        name of a loaded encoder that refines, "" for the words. only: a filter as `PageFilter.of` takes it.
        """
        collection, tools = self._place(session)
        asked, wanted = self._asked(query, picture, client), _text(budget, "budget").strip().lower()
        auto = self._auto(session) if wanted == AUTO else None
        stop = auto.full if auto else _stop(wanted, tools)
        spoken, most = _text(language, "language").lower(), min(max(_whole(k, "k"), 1), MOST_HITS)
        how = How(
            only=PageFilter.of("" if only is None else only, spoken),
            mode=_text(mode, "mode").lower(),
            steps=_whole(steps, "steps"),
            auto=auto,
            complement=_complement(_text(complement, "complement"), tools),
        )
        trace = search(collection, tools.encoder, asked, stop, most, how)
        for step in self.visits.shares.jobs.each(client, searched(collection, trace, most, how)):
            trace = step if isinstance(step, Trace) else trace
        answer = {"version": VERSION, **trace.as_json()}
        with collection.lock:  # pages deleted meanwhile are left out
            pages = {hit.page_id: collection.pages.get(hit.page_id) for hit in trace.hits}
        answer["hits"] = [
            {**hit, **_named(page)} for hit in answer["hits"] if (page := pages[hit["page_id"]])
        ]
        return answer

    def _auto(self, session: Any) -> Auto:
        """How the budget sets itself in a session, or for the sample corpus."""
        if session is None or session == "":
            return Auto.of_pages(self.base.index, self.base.calibrations)
        visit = self._visit(session)
        return auto_of(visit.session, visit.tools.encoder)

    def explained(
        self,
        page_id: Any,
        query: Any,
        budget: Any,
        session: Any = "",
        picture: Upload | None = None,
        client: str = "",
    ) -> Explained:
        """A page's score: its alignment and, if the encoder gives evidence, its words' shares.

        With the page, and what its evidence is drawn from.
        """
        collection, tools = self._place(session)
        asked, stop = self._asked(query, picture, client), _stop(_text(budget, "budget"), tools)
        trace = search(collection, tools.encoder, asked, stop, 1, evidence=True)
        page = self.page(page_id, session)
        try:
            with collection.lock:
                trace = explain_hit(collection, trace, page.id)
        except KeyError:
            raise ValueError(NO_PAGE) from None
        assert trace.alignment is not None
        found = _explanation(tools, trace, page)
        plain = trace.as_json()
        answer = {
            "version": VERSION,
            "query": plain["query"],
            "budget": plain["budget"],
            "page": {"page_id": page.id, **_named(page), "reading": list(page.reading)},
            "score": round(float(trace.alignment.gains.sum()), 5),
            "storage": plain["storage"],
            "alignment": plain["alignment"],
            "explanation": found and _parts(found, trace),
        }
        return Explained(answer, page, trace, _groups(found, trace) if found else ())

    def page(self, page_id: Any, session: Any = "") -> StoredPage:
        """A page of a session, or of the sample corpus."""
        collection, _ = self._place(session)
        with collection.lock:
            page = collection.pages.get(_text(page_id, "page_id"))
        if page is None:
            raise ValueError(NO_PAGE)
        return page

    def _asked(self, query: Any, picture: Upload | None, client: str) -> Query:
        text = clean(_text("" if query is None else query, "query"))
        check_length(text, self.limits.max_query_characters)
        if not text.strip() and picture is None:
            raise ValueError("The query is empty. Give words, a picture, or both.")
        turns = self.visits.shares.pictures
        return Query(text.strip(), jobs.picture(picture, turns, client, self.limits) if picture else None)


def _stop(budget: str, tools: Tools) -> Budget:
    """The budget of a call, or the encoder's largest."""
    return tools.encoder.budgets.full if budget.strip().lower() == FULL else Budget.parse(budget)


def _complement(name: str, tools: Tools) -> SecondEncoder | None:
    found = tools.complements.get(name, tools.encoder)
    if name and found is None:
        names = ", ".join(tools.complements.names(tools.encoder)) or "none is"
        raise ValueError(
            f"No loaded encoder {clean(name[:100])!r} can refine here; loaded: {names}. An encoder is loaded "
            "when it is first chosen in the page's Documents tab."
        )
    return found


def _explanation(tools: Tools, trace: Trace, page: StoredPage) -> Explanation | None:
    if tools.explainer is None or trace.alignment is None:
        return None
    return tools.explainer.explain(page, trace.query_evidence, trace.query_vectors, trace.alignment)


def _parts(found: Explanation, trace: Trace) -> Answer:
    """The parts of a score as in `links.explanation_json`, each with its share of the total or score."""
    assert trace.alignment is not None
    parts = explanation_json(found, trace.by_full_vectors)
    whole = float((found.total if found.adds_up else trace.alignment.gains).sum())
    for word in parts["words"]:
        word["share"] = round(word["part"] / whole, 4) if whole else 0.0
    return parts


def _groups(found: Explanation, trace: Trace) -> tuple[int, ...]:
    """The group of each word of `explanation_json`, in its order."""
    assert trace.alignment is not None
    _, groups = spread(found, trace.alignment, trace.budgets)
    return tuple(groups[strongest(found)].tolist())


def _named(page: StoredPage) -> Answer:
    about = {"source": page.source, "page": page.number, **as_json(page.source, page.number)}
    return {**about, "title": page.title, "language": page.language}


def _text(value: Any, name: str) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{name} is to be text, not {type(value).__name__}.")
    return value


def _whole(value: Any, name: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value // 1:
        raise ValueError(f"{name} is to be a whole number, not {str(value)[:40]!r}.")
    return int(value)
