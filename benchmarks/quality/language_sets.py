"""Dev sets in seven languages: pages of translated documentation, and headings that were left out of them as
questions, in the page's language or in English.

Some of the sources are unknown to training as a whole: aptitude's manual, Wesnoth's help and those of
`dataset.HELD_OUT`. Of the others, only the documents are used that training leaves out in every language.
"""

from __future__ import annotations

import random
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from itertools import chain, islice, zip_longest
from pathlib import Path
from xml.sax.saxutils import escape

from reportlab.lib.pagesizes import A4
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.ttfonts import TTFont
from reportlab.platypus import Flowable, KeepInFrame, PageBreak, Paragraph

from benchmarks.quality import wesnoth
from benchmarks.quality.dev_set import DevSet, hashed
from metaembed_demo.training.mini import corpora, translations
from metaembed_demo.training.mini.translations import DENSE, ENGLISH, LANGUAGES, Page, Source, Translations
from sample_corpus.make.base import build, footer, styles

WHOLE = {
    "aptitude-doc-en": Source(
        "aptitude-doc-{}", "usr/share/doc/aptitude/html/{}", codes={"de": None, "zh": None}
    ),
    wesnoth.PACKAGE: Source(
        wesnoth.PACKAGE, "usr/share/doc/wesnoth-1.16-data", "manual.{}.html", codes={"zh": "zh_CN"}
    ),
}
PAGES = 150  # of a language
MOST_PAGES = 8  # of a document
MOST_QUESTIONS = 2  # about a page
MOST_OF_WESNOTH = 40  # whose names tell its pages from all others
LEAST_WORDS = 25  # below a heading that is asked for
LEAST_LETTERS = {"ja": 5, "zh": 4}  # of such a heading; others 8
FONT = ("fonts-wqy-microhei", "usr/share/fonts/truetype/wqy/wqy-microhei.ttc")  # has all seven scripts
_COMMON = """a about all an and any are at be by can do does for from get has have how i if in into is it
its more new not of on or other others our out over so some that the their them then there these this to up
use used using was we what when where which who why will with you your introduction overview options general
description example examples note notes see also reference"""
COMMON = frozenset(_COMMON.split())


@dataclass(frozen=True)
class Asked:
    """A page, its document, and the sections whose headings are left out of it and asked for."""

    document: Translations
    page: Page
    sections: list[int]

    def has(self, document: Translations, section: int) -> bool:
        return self.document == document and any(at == section for at, _, _ in self.page.parts)

    def headings(self, language: str) -> list[str]:
        return [self.document.sections[at][language][0] for at in self.sections]


def make(folder: Path, data: Path, language: str, asked_in: str) -> DevSet:
    found = DevSet()
    by_document: dict[str, list[Asked]] = defaultdict(list)
    for asked in chosen(dev_documents(data), language):
        # Not the document's own name: it would say the heading.
        by_document[f"{asked.document.source}-{hashed(asked.document.name)[:8]}"].append(asked)
    face = font(data)
    for name, pages in sorted(by_document.items()):
        draw(folder / f"{name}.pdf", face, pages)
        for asked in pages:
            found.frozen.append(asked.page.text(asked.headings(language)))
            for at, question in zip(asked.sections, asked.headings(asked_in), strict=True):
                # A long section may go on on another page.
                answers = [n for n, page in enumerate(pages, 1) if page.has(asked.document, at)]
                found.ask(question, *(f"{name}.pdf#{n}" for n in answers))
    return found


@cache
def dev_documents(data: Path) -> list[Translations]:
    """Every document that no language of which is trained on. `data` as in `translations.prepare`."""
    kept = [doc for doc in translations.load(translations.prepare(data)) if doc.is_kept_out]
    for name, source in WHOLE.items():
        kept += translations.aligned(name, source, data)
    return [*kept, *wesnoth.documents(data)]


def chosen(documents: Sequence[Translations], language: str) -> list[Asked]:
    """PAGES pages: those with questions, as evenly from the sources as can be, then others."""
    found = candidates(documents, language)
    by_source: dict[str, list[Asked]] = defaultdict(list)
    for asked in found:
        if asked.sections:
            by_source[asked.document.source].append(asked)
    del by_source[wesnoth.PACKAGE][MOST_OF_WESNOTH:]
    turns = (asked for turn in zip_longest(*by_source.values()) for asked in turn if asked)
    others = (page for page in found if not page.sections and page.document.source != wesnoth.PACKAGE)
    return list(islice(chain(turns, others), PAGES))


def candidates(documents: Sequence[Translations], language: str) -> list[Asked]:
    """All pages in an order by hash, each with questions that stand on no other page."""
    pages = [(document, page) for document in documents for page in _some_pages(document, language)]
    texts = [page.text().casefold() for _, page in pages]
    english = Counter(
        section[ENGLISH][0].casefold() for document in documents for section in document.sections
    )
    found = []
    for number, (document, page) in enumerate(pages):
        shares: dict[int, float] = {}
        for at, heading, text in page.parts:
            translation = document.sections[at][ENGLISH][0]
            share = said(heading, page.text([heading]), language)
            if (
                translations.words(text, language) >= LEAST_WORDS
                and share < 1
                and telling(translation, heading, language)
                and english[translation.casefold()] == 1
                and translation.casefold() not in texts[number]
                and not any(heading.casefold() in other for n, other in enumerate(texts) if n != number)
            ):
                shares[at] = share
        found.append(Asked(document, page, sorted(shares, key=shares.__getitem__)[:MOST_QUESTIONS]))
    return sorted(found, key=lambda asked: hashed(asked.page.text()))


def telling(english: str, heading: str, language: str) -> bool:
    """Whether a heading says what its section is about, and is translated."""
    content = [word for word in re.findall(r"[^\W\d_]{2,}", english.lower()) if word not in COMMON]
    letters = len(re.findall(r"[^\W\d_]", heading))
    same = heading.casefold() == english.casefold()
    return len(content) >= 2 and not same and letters >= LEAST_LETTERS.get(language, 8)


def said(heading: str, text: str, language: str) -> float:
    """Share of a heading's words, in DENSE languages of its pairs of letters, that a text has."""
    pattern = r"(?=([^\W_]{2}))" if language in DENSE else r"([^\W_]{3,})"
    asked, there = (set(re.findall(pattern, string.casefold())) for string in (heading, text))
    return len(asked & there) / max(1, len(asked))


def _some_pages(document: Translations, language: str) -> list[Page]:
    rng = random.Random(f"{document.source}/{document.name}")
    found = list(translations.pages(document, language, rng))
    return sorted(found, key=lambda page: hashed(page.text()))[:MOST_PAGES]


def font(data: Path) -> str:
    """Fetch and register the font; its name."""
    package, file = FONT
    corpora.fetch(package, data)
    pdfmetrics.registerFont(TTFont(package, data / package / file))
    return package


def draw(path: Path, face: str, pages: Iterable[Asked]) -> None:
    """Write pages as a PDF, without the headings that are asked for; full ones are set smaller."""
    story: list[Flowable] = []
    for asked in pages:
        sheet = styles(face, face, size=9)
        for style in sheet.values():
            style.wordWrap = "CJK" if asked.page.language in DENSE else None
        without = asked.headings(asked.page.language)
        flow = [
            Paragraph(escape(words), sheet[style])
            for _, heading, text in asked.page.parts
            for words, style in (("" if heading in without else heading, "h2"), (text, "body"))
            if words
        ]
        story += [KeepInFrame(A4[0] - 104, A4[1] - 110, flow, mode="shrink"), PageBreak()]
    build(path, path.stem, story[:-1], footer(""))


SETS: dict[str, Callable[[Path, Path], DevSet]] = {
    f"{language}{suffix}": partial(make, language=language, asked_in=asked_in or language)
    for language in LANGUAGES
    for suffix, asked_in in (("", ""), (f"-{ENGLISH}", ENGLISH))
}
