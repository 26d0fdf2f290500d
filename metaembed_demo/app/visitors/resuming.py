"""What a tab finds again after a reload or a lost connection, beyond what its link names."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace

from .links import picture_name
from .visitor import Visit

MOST = 400  # characters of what a page tells


@dataclass(frozen=True)
class Kept:
    """What the browser kept of a tab: the mark it had, and the name of the picture in its query."""

    tab: str = ""
    picture: str = ""

    @classmethod
    def parse(cls, told: object) -> Kept:
        """From the page's JSON. What is malformed is ignored.

        >>> Kept.parse('{"tab": "t1", "picture": 3}'), Kept.parse("{"), Kept.parse(None)
        (Kept(tab='t1', picture=''), Kept(tab='', picture=''), Kept(tab='', picture=''))
        """
        try:
            found = json.loads(told) if isinstance(told, str) and len(told) <= MOST else {}
        except ValueError:
            found = {}
        values = found if isinstance(found, dict) else {}
        tab, picture = (values.get(name) for name in ("tab", "picture"))
        return cls(tab if isinstance(tab, str) else "", picture if isinstance(picture, str) else "")


def resume(visit: Visit, before: Visit, picture: str) -> None:
    """Give a tab that has just loaded what `before`, the same tab until then, held.

    That is the pinned comparison, the history, the measurements, and the query picture if its name is
    `picture`. `before` keeps them, because the browser may have copied the tab.
    """
    if picture and before.picture is not None and picture_name(before.picture) == picture:
        visit.picture = visit.session.files.share(before.picture)
    if before.tools is not visit.tools:
        return  # vectors of another encoder
    mine, theirs = visit.explanation_tabs, before.explanation_tabs
    mine.pinned, mine.other, mine.queries = theirs.pinned, theirs.other, list(theirs.queries)
    mine.past.extend(theirs.past)
    visit.study = replace(before.study, stop=visit.study.stop, asking="", measuring="", reading="")
