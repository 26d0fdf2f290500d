"""Build the dev sets: `python -m benchmarks.quality.devsets` writes them as BEIR folders under
.cache/devsets.

- long: long pages of documents that training never sees (`dataset.is_dev`), two natural questions each
- business: letters, minutes, contracts, invoices and so on, and natural questions; with a text layer
- business-scans: the same pages and questions, printed and scanned
- de, fr, es, it, ru, ja, zh: pages of translated documentation, asked for by headings that were left out
- de-en and so on: the same pages, asked for by the English headings
- pictures: Open Clip Art drawings kept out of training (`clipart.is_dev`), asked for by their titles
- pictures-alike: the same, asked for by another drawing of the same title

Questions and business documents are our own and lie in benchmarks/dev; pages and drawings come from the
Debian packages that `corpora` and `clipart` fetch. Each set is frozen by a hash in
benchmarks/data/dev/frozen.json over its words, questions and judgements: a set that comes out otherwise is
refused.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import shutil
import sys
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import pypdfium2 as pdfium
from reportlab.lib import colors
from reportlab.lib.pagesizes import A4
from reportlab.lib.utils import ImageReader
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import KeepInFrame, ListFlowable, PageBreak, Paragraph, Spacer, Table

from benchmarks.quality import language_sets
from benchmarks.quality.dev_set import DevSet, hashed, plain
from metaembed_demo.core.config import PATHS, ROOT
from metaembed_demo.training.mini import clipart, corpora
from metaembed_demo.training.mini.dataset import DICTIONARIES, is_dev
from sample_corpus.make.accident_report import scan
from sample_corpus.make.base import build, footer, styles

OURS = ROOT / "benchmarks" / "data" / "dev"
FROZEN = OURS / "frozen.json"
PAGE_WORDS = (420, 720)  # of a long page
LEAST_WORDS = 300
MOST_PAGES = {"anarchism": 9}  # of one document; others 5
SECTION_PART = 200  # words, where a section may be cut
CANDIDATES = 500  # drawings
MOST_ALIKE = 3  # drawings of one title
SCAN_DPI = 150
FONTS = (("Helvetica", "Helvetica-Bold"), ("Times-Roman", "Times-Bold"))
ACCENTS = ("#234b8c", "#7a2331", "#2f5d3a", "#3b3f46", "#8a5a12")

Block = dict[str, Any]  # one of: title, text, list, table


# Long pages


def long_pages(documents: Iterable[corpora.Document]) -> dict[str, list[Block]]:
    """Page key -> blocks: runs of sections of the prose documents that are kept out of training."""
    found: dict[str, list[Block]] = {}
    for document in documents:
        # LibreOffice has files of one name in several folders: the first with pages counts.
        known = f"{document.source}/{document.name}#0" in found
        if known or not is_dev(document) or document.source.startswith(DICTIONARIES):
            continue
        rng = random.Random(f"{document.source}/{document.name}")
        pages = _cut(document, rng)
        most = MOST_PAGES.get(document.source, 5)
        kept = sorted(rng.sample(range(len(pages)), most)) if len(pages) > most else range(len(pages))
        for number, at in enumerate(kept):
            found[f"{document.source}/{document.name}#{number}"] = pages[at]
    return found


def _cut(document: corpora.Document, rng: random.Random) -> list[list[Block]]:
    pages: list[list[Block]] = []
    page: list[Block] = []
    count, room = 0, rng.randint(*PAGE_WORDS)
    for heading, text in document.sections:
        words = text.split()
        for start in range(0, len(words), SECTION_PART):
            part = words[start : start + SECTION_PART]
            page += [{"title": heading}] if heading and not start else []
            page.append({"text": " ".join(part)})
            count += len(part)
            if count >= room:
                pages.append(page)
                page, count, room = [], 0, rng.randint(*PAGE_WORDS)
    return [*pages, page] if count >= LEAST_WORDS else pages


def make_long(folder: Path, data: Path) -> DevSet:
    pages = long_pages(corpora.load(corpora.prepare(data)))
    found = DevSet(frozen=[pages])
    names = {key: f"{plain(key.split('#')[0])}.pdf#{int(key.split('#')[1]) + 1}" for key in pages}
    for line in (OURS / "long.jsonl").read_text().splitlines():
        row = json.loads(line)
        found.ask(row["text"], names[row["page"]])
    for name, keys in groupby(pages, key=lambda key: key.split("#")[0]):
        draw(folder / f"{plain(name)}.pdf", name, [pages[key] for key in keys], size=8.5)
    return found


# Business pages


def make_business(folder: Path, data: Path, scanned: bool = False) -> DevSet:
    found = DevSet()
    for line in (OURS / "business.jsonl").read_text().splitlines():
        document = json.loads(line)
        found.frozen.append(document["pages"])
        path = folder / f"{document['name']}.pdf"
        draw(path, document["kind"], document["pages"], size=9 + int(hashed(document["name"])[0], 16) % 3)
        if scanned:
            scan_pages(path)
        for question in document["questions"]:
            found.ask(question["text"], f"{document['name']}.pdf#{question['page']}")
    return found


def scan_pages(path: Path) -> None:
    """Replace a PDF by scans of its pages: pictures, no text layer."""
    with pdfium.PdfDocument(path) as document:
        pages = [page.render(scale=SCAN_DPI / 72).to_pil() for page in document]
    canvas = Canvas(str(path), pagesize=A4, invariant=1)
    for number, page in enumerate(pages):
        seed = int(hashed(f"{path.stem}-{number}")[:6], 16)
        canvas.drawImage(ImageReader(scan(page, seed, tilt=seed % 13 / 10 - 0.6)), 0, 0, *A4)
        canvas.showPage()
    canvas.save()


def draw(path: Path, name: str, pages: Sequence[Sequence[Block]], size: float) -> None:
    """Write pages of blocks as a PDF; a page that is too full is set smaller."""
    pick = int(hashed(path.stem)[:4], 16)
    font, bold = FONTS[pick % len(FONTS)]
    sheet = styles(font, bold, size, ACCENTS[pick % len(ACCENTS)])
    story: list[Any] = []
    for blocks in pages:
        flow = [
            flowable for at, block in enumerate(blocks) for flowable in _flow(block, sheet, first=at == 0)
        ]
        story += [KeepInFrame(A4[0] - 104, A4[1] - 110, flow, mode="shrink"), PageBreak()]
    build(path, name, story[:-1], footer(""))


def _flow(block: Block, sheet: dict[str, Any], first: bool) -> list[Any]:
    ((kind, content),) = block.items()
    if kind == "title":
        return [Paragraph(_safe(content), sheet["h1" if first else "h2"])]
    if kind == "text":
        return [Paragraph(_safe(content), sheet["body"])]
    if kind == "list":
        return [
            ListFlowable([Paragraph(_safe(item), sheet["body"]) for item in content], bulletType="bullet")
        ]
    rows = [[Paragraph(_safe(cell), sheet["cell"]) for cell in row] for row in content]
    lines = [("LINEBELOW", (0, 0), (-1, -1), 0.4, colors.lightgrey), ("VALIGN", (0, 0), (-1, -1), "TOP")]
    return [Table(rows, style=lines), Spacer(0, 8)]


# Pictures


def make_pictures(folder: Path, data: Path, alike: bool = False) -> DevSet:
    """Drawings asked for by title; `alike`: by another drawing of the title, which is not in the corpus."""
    groups = dev_groups(clipart.drawings(clipart.fetch(data)))
    found = DevSet()
    for title, drawings in groups.items():
        ids = [f"{plain(drawing.name)}.png" for drawing in drawings]
        for drawing, corpus_id in zip(drawings, ids, strict=True):
            clipart.render(drawing, folder / corpus_id)
            found.frozen.append([corpus_id, hashlib.sha256(drawing.path.read_bytes()).hexdigest()])
        if not alike:
            found.ask(title, *ids)
        elif len(ids) > 1:
            found.ask("", *ids[1:], image=ids[0])
    return found


def dev_groups(drawings: Iterable[clipart.Drawing]) -> dict[str, list[clipart.Drawing]]:
    """Title -> its drawings, at most MOST_ALIKE; CANDIDATES in all. Those with several come first."""
    groups: dict[str, list[clipart.Drawing]] = {}
    for drawing in drawings:
        if clipart.is_dev(drawing):
            groups.setdefault(drawing.title, []).append(drawing)
    ordered = sorted(groups, key=lambda title: (len(groups[title]) == 1, hashed(title)))
    kept: dict[str, list[clipart.Drawing]] = {}
    for title in ordered:
        room = CANDIDATES - sum(map(len, kept.values()))
        if room:
            kept[title] = groups[title][: min(MOST_ALIKE, room)]
    return kept


# All


SETS: dict[str, Callable[[Path, Path], DevSet]] = {
    "long": make_long,
    "business": make_business,
    "business-scans": partial(make_business, scanned=True),
    "pictures": make_pictures,
    "pictures-alike": partial(make_pictures, alike=True),
    **language_sets.SETS,
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=PATHS.cache / "devsets")
    parser.add_argument("--data", type=Path, default=PATHS.cache / "train", help="as `train` keeps it")
    parser.add_argument("--only", nargs="+", choices=SETS, default=list(SETS), metavar="SET")
    parser.add_argument("--freeze", action="store_true", help="accept the sets as they come out")
    options = parser.parse_args()
    frozen = json.loads(FROZEN.read_text()) if FROZEN.exists() else {}
    digests = {name: make(options.out / name, options.data, SETS[name]) for name in options.only}
    if options.freeze:
        FROZEN.write_text(json.dumps(frozen | digests, indent=1) + "\n")
    elif changed := [name for name, digest in digests.items() if frozen.get(name) != digest]:
        print(f"Not the frozen dev sets: {', '.join(changed)}. Other package versions?", file=sys.stderr)
        return 1
    return 0


def make(folder: Path, data: Path, build: Callable[[Path, Path], DevSet]) -> str:
    """Write one set afresh; its digest."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    devset = build(folder, data)
    devset.write(folder)
    print(f"{folder.name}: {len(devset.queries)} queries, {devset.digest()[:16]}", file=sys.stderr)
    return devset.digest()


def _safe(text: str) -> str:
    """Markup escaped, line breaks kept; what the standard fonts lack left out."""
    return escape(text.encode("cp1252", "ignore").decode("cp1252")).replace("\n", "<br/>")


if __name__ == "__main__":
    sys.exit(main())
