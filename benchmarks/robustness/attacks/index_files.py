"""Points 1 and 2: index files that bear another page's id, and small ones that ask for much."""

from __future__ import annotations

from . import files
from .attack import attack
from .client import OWN, PICTURE, Field, Tab

SECRET = "zanzibar quokka heliotrope marmalade"
QUESTION = "harmless words"


def _words_of(text: str, words: str) -> int:
    """How many of the words stand in the text."""
    return sum(word in text for word in words.split())


@attack(1, "an index file with the id of another visitor's page, which is open, and of one that is deleted")
def anothers_id(field: Field) -> None:
    victim = field.visitor("127.0.0.2")
    session = victim.call("new_session")["session"]
    ids = {}
    for name in ("open", "deleted"):
        given = victim.upload(f"{name}.pdf", files.text_pdf(f"{SECRET} {name}"))
        victim.call("index", [given], session)
        hits = victim.call("search", f"{SECRET} {name}", "16x64", 3, session, None)["hits"]
        ids[name] = hits[0]["page_id"]
        victim.call("explain", ids[name], SECRET, "16x64", session, None)
    victim.call("delete", "deleted.pdf", session)
    seen = 0
    for name, page_id in ids.items():
        tab = field.tab()
        field.note(**{f"told_{name}": tab.open_index(field.own_index().with_id(page_id))})
        shown = tab.evidence(page_id, QUESTION)
        words = _words_of(shown, SECRET)
        seen += words > 0
        # If the own words are not shown either, nothing was looked at.
        field.note(**{f"words_of_{name}_page": words, f"own_words_{name}": _words_of(shown, OWN)})
        field.note(others_pages=seen)


@attack(1, "an index file with a sample's id, explained before anybody else explains that sample")
def samples_id(field: Field) -> None:
    other = field.visitor("127.0.0.3")
    hit = other.call("search", "How do I descale the machine?", "16x64", 3, "", None)["hits"][0]
    tab = field.tab()
    field.note(told=tab.open_index(field.own_index().with_id(hit["page_id"])))
    field.note(own_words=_words_of(tab.evidence(hit["page_id"], QUESTION), OWN))
    shown = other.call("explain", hit["page_id"], QUESTION, "16x64", "", None)
    words = [word["text"] for word in (shown["explanation"] or {"words": []})["words"]]
    field.note(attackers_words_shown_to_another=sum(word in OWN.split() for word in words))


def _open(field: Field, data: bytes) -> Tab:
    tab = field.tab()
    field.note(bytes=len(data))
    field.note(told=tab.open_index(data))
    return tab


@attack(2, "a head with a text of 50 kB, on which an expression takes its square", load=True)
def quadratic_head(field: Field) -> None:
    _open(field, field.own_index().quadratic())


@attack(2, "a head that announces 4,000 million pages, of which one is there")
def announced_pages(field: Field) -> None:
    _open(field, field.own_index().announcing(4 * 10**9))


@attack(2, "a manifest of 32 MB of nested lists")
def large_manifest(field: Field) -> None:
    _open(field, field.own_index().nested(32))


@attack(2, "eight pages of 749,000 words")
def wordy_pages(field: Field) -> None:
    tab = _open(field, field.own_index().wordy(749_000, 8))
    tab.search(QUESTION)


@attack(2, "a progressive JPEG of 59 megapixels and 2,500 scans as a page's picture")
def progressive_picture(field: Field) -> None:
    data = field.own_index().pictured(files.progressive_jpeg(), files.SIDE)
    tab = _open(field, data)
    for path in sorted(set(PICTURE.findall(tab.search(QUESTION)))):
        tab.ask("GET", f"/{path}")


@attack(2, "an archive of 300,000 entries")
def crowded_archive(field: Field) -> None:
    _open(field, field.own_index().crowded(300_000))
