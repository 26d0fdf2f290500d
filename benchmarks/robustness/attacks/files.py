"""Files of the attacks. Each is bounded in bytes, and small beside what it costs a reader without bounds."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import random
import zipfile
import zlib
from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np
from PIL import Image
from reportlab.pdfgen.canvas import Canvas

from benchmarks.robustness.hostile_files import pdfs

SIDE = 7_700  # pixels: 59.3 million, just under the limit
MARKS = "\u0301\u0323"  # accents above and below: in turn, they are sorted by insertion


def text_pdf(*pages: str) -> bytes:
    """A PDF with a line of text on each page."""
    buffer = io.BytesIO()
    canvas = Canvas(buffer)
    for text in pages:
        canvas.drawString(72, 720, text)
        canvas.showPage()
    canvas.save()
    return buffer.getvalue()


@cache
def dense_pdf(pages: int = 3, words: int = 24_000) -> bytes:
    """Pages of very many small words."""
    buffer, chance = io.BytesIO(), random.Random(5)
    canvas = Canvas(buffer, pagesize=(1190, 1684))
    for _ in range(pages):
        canvas.setFont("Helvetica", 4)
        rows = 320
        for row in range(rows):
            line = " ".join(f"w{chance.randrange(99_999)}" for _ in range(words // rows))
            canvas.drawString(20, 1664 - row * 5, line)
        canvas.showPage()
    canvas.save()
    return buffer.getvalue()


def slow_pdf() -> bytes:
    """Less than 4 kB: a page with a pattern of 2,000 million tiles."""
    return next(file for _, what, file in pdfs.knots(random.Random(0)) if "tiles" in what)


@cache
def labels(megabytes: float, run: int = 1_500) -> tuple[bytes, bytes]:
    """queries.jsonl with one line, of runs of accents, whose sorting takes the square of a run; and qrels."""
    text = ("e" + MARKS * (run // 2)) * max(1, int(megabytes * 1e6) // (2 * run + 1))
    line = json.dumps({"_id": "q1", "text": text}, ensure_ascii=False)
    return line.encode(), b"query-id\tcorpus-id\tscore\nq1\town.pdf\t1\n"


def punycode(size: int) -> bytes:
    """Text whose decoding inserts every letter before all others."""
    return b"tda" + b"a" * (size - 3)


def progressive_jpeg(side: int = SIDE, scans: int = 2_500) -> bytes:
    """A valid grey picture of side x side in so many scans: one of 89 bytes is repeated."""
    buffer = io.BytesIO()
    Image.new("L", (side, side), 200).save(buffer, "JPEG", progressive=True, quality=30, optimize=True)
    data = buffer.getvalue()
    found = list(_segments(data))
    # The second scan is the first of coefficients other than the mean, all of them zero.
    scan = [piece for marker, piece in found if marker == 0xDA][1]
    at = data.index(scan) + len(scan)
    return data[:at] + scan * (scans - 1) + data[at:]


def _segments(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Marker and bytes of each segment of a JPEG, scans with their data."""
    at = 2
    while data[at + 1] != 0xD9:
        marker, end = data[at + 1], at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        if marker == 0xDA:
            while data[end] != 0xFF or data[end + 1] == 0 or 0xD0 <= data[end + 1] <= 0xD7:
                end += 1
        yield marker, data[at:end]
        at = end


class IndexFile:
    """A downloaded index file of one page, to be changed. All checksums are made anew."""

    def __init__(self, data: bytes) -> None:
        """Raises ValueError when this is no index file as this module knows them."""
        with zipfile.ZipFile(io.BytesIO(data)) as packed:
            held = {name.partition("/")[2]: packed.read(name) for name in packed.namelist()}
        try:
            self.manifest: dict[str, Any] = json.loads(held["manifest.json"])
            self.table: list[Any] = json.loads(gzip.decompress(held[self.manifest["table"]["file"]]))
            row = self.table[0]
            packed_record = held[f"texts/{row[2]}"][row[3] : row[3] + row[4]]
            self.record: dict[str, Any] = json.loads(zlib.decompress(packed_record))
            self.picture = held[f"images/{row[0]}.jpg"]
            self.segment = self.manifest["index"]["segments"][0]
            vectors = held[f"segments/{self.segment['name']}/full.npy"]
            self.vectors = np.load(io.BytesIO(vectors))[:1]
        except (KeyError, IndexError, ValueError) as error:
            raise ValueError(f"The index file has another form than this attack knows: {error!r}") from error

    def with_id(self, page_id: str) -> bytes:
        """The same page under another page's id."""
        self.table[0][0] = page_id
        return self.pack()

    def quadratic(self, size: int = 50_000) -> bytes:
        """A format number that is a long text, on which a backtracking expression takes its square."""
        self.manifest["index"]["format"] = "damaged: " * (size // 9) + "\n."
        return self.pack()

    def announcing(self, pages: int) -> bytes:
        """One page, and a head that announces `pages`."""
        return self.pack(announced=pages)

    def nested(self, megabytes: float) -> bytes:
        """A manifest of so many MB of nested lists."""
        chance, made, size = random.Random(1), [], 0
        while size < megabytes * 1e6:
            depth = chance.randrange(1, 50)
            made.append("[" * depth + "]" * depth)
            size += 2 * depth + 1
        return self.pack(also=', "more": [' + ",".join(made) + "]")

    def wordy(self, words: int, pages: int) -> bytes:
        """Pages of so many words, all the same, so that they pack to little."""
        self.record["words"] = [["w", 0, 0, 1, 1, "text"]] * words
        return self.pack(pages=pages)

    def pictured(self, picture: bytes, side: int) -> bytes:
        """The page with this picture of side x side."""
        self.picture = picture
        self.record.update(width=side, height=side)
        return self.pack()

    def crowded(self, entries: int) -> bytes:
        """The same index in an archive whose directory lists so many entries."""
        buffer = io.BytesIO(self.pack())
        with zipfile.ZipFile(buffer, "a") as packed:
            packed.filelist += [_entry(f"{number:x}") for number in range(entries)]
            packed._didModify = True  # type: ignore[attr-defined]  # writes the directory anew on closing
        return buffer.getvalue()

    def pack(self, pages: int = 1, announced: int = 0, also: str = "") -> bytes:
        """The archive. announced: pages in the head, if not those that are there; also: more JSON in it."""
        first = self.table[0][0]
        ids = [first, *(f"{number:020x}" for number in range(1, pages))]
        self.record["picture_sha256"] = _sha256(self.picture)
        record = zlib.compress(_dense({**self.record, "id": first}), 9)
        texts = f"{_sha256(record * pages)[:20]}.bin"
        rows = [
            [each, [["own.pdf", at + 1]], texts, at * len(record), len(record), _sha256(record)[:16]]
            for at, each in enumerate(ids)
        ]
        table = gzip.compress(json.dumps(rows).encode(), mtime=0)
        array = io.BytesIO()
        np.save(array, np.repeat(self.vectors, pages, axis=0))
        parts = {"ids.json": json.dumps(ids).encode(), "full.npy": array.getvalue()}
        about = {name: {"sha256": _sha256(data), "bytes": len(data)} for name, data in parts.items()}
        name = _sha256(json.dumps(about, sort_keys=True).encode())[:20]
        segment = {**self.segment, "name": name, "pages": announced or pages, "files": about, "dead": ""}
        digest = _sha256(table)
        head = {
            **self.manifest,
            "pages": pages,
            "index": {**self.manifest["index"], "segments": [segment]},
            "table": {"file": f"table-{digest[:20]}.json.gz", "sha256": digest},
        }
        files = {
            "manifest.json": (json.dumps(head)[:-1] + also + "}").encode(),
            head["table"]["file"]: table,
            f"texts/{texts}": record * pages,
            **{f"segments/{name}/{part}": data for part, data in parts.items()},
            **{f"images/{each}.jpg": self.picture for each in ids},
        }
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as packed:
            for path, data in files.items():
                # Below the ratio that counts as a bomb, stored if need be.
                bomb = len(data) > 100 * max(1, len(zlib.compress(data, 1)))
                kind = zipfile.ZIP_STORED if bomb else zipfile.ZIP_DEFLATED
                packed.writestr(f"metaembed-index/{path}", data, kind)
        return buffer.getvalue()


def _entry(name: str) -> zipfile.ZipInfo:
    """A directory entry that points to the first file, empty."""
    entry = zipfile.ZipInfo(name)
    entry.header_offset = entry.CRC = entry.file_size = entry.compress_size = 0
    return entry


def _dense(value: Any) -> bytes:
    """JSON without spaces."""
    return json.dumps(value, separators=(",", ":")).encode()


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
