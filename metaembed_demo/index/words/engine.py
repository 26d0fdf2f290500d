"""A tantivy index of terms, in memory or in a folder of its own that it maps into memory.

tantivy splits nothing here: it gets terms with spaces between. Its files never change once written, so a copy
of a folder is one of links.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import weakref
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import tantivy

MEMORY = 15_000_000  # bytes that tantivy gathers before it writes; its least
WORDS, STEMS, WHOLE, KEY, KEPT = "words", "stems", "whole", "key", "kept"
PREFIX = "metaembed-words-"  # of temporary folders
PAGES = "pages.json"  # of a saved folder: what the pages are
_OWN = (".tantivy-writer.lock", ".tantivy-meta.lock", PAGES)  # files that a copy makes afresh


@dataclass(frozen=True, slots=True)
class Entry:
    """A page's terms, each field with spaces between. `key`: its number, which rises as pages are added."""

    key: int
    words: str
    stems: str
    whole: str


class Engine:
    """Entries on tantivy. Not thread-safe for writing; a `searcher` stays as it is while others write.

    folder: an empty or absent one, or one with such an index. Without it everything is in memory.
    """

    def __init__(self, folder: Path | None = None, temporary: bool = False) -> None:
        self.folder = folder
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            if temporary:
                weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        self.schema = _schema()
        self._index = tantivy.Index(self.schema, path=None if folder is None else str(folder))
        spaces = tantivy.TextAnalyzerBuilder(tantivy.Tokenizer.whitespace()).build()
        self._index.register_tokenizer("spaces", spaces)
        self.searcher = self._index.searcher()
        self.removed = 0  # entries, which BM25 counts until files are merged

    def like(self) -> Engine:
        """An empty one, in memory or in a temporary folder as this one is."""
        return Engine() if self.folder is None else Engine(Path(tempfile.mkdtemp(prefix=PREFIX)), True)

    def write(self, entries: Iterable[Entry], removed: Sequence[int] = ()) -> None:
        """Remove entries by key, add others, and let new searchers see it."""
        writer = self._index.writer(MEMORY, num_threads=1)
        try:
            if removed:  # deleting by term would take the number for a signed one, and find nothing
                gone = tantivy.Query.term_set_query(self.schema, KEY, list(removed))
                writer.delete_documents_by_query(gone)
            for entry in entries:
                document = tantivy.Document()
                document.add_unsigned(KEY, entry.key)
                document.add_text(WORDS, entry.words)
                document.add_text(STEMS, entry.stems)
                document.add_text(WHOLE, entry.whole)
                kept = "\n".join((str(entry.key), entry.words, entry.stems, entry.whole))
                document.add_bytes(KEPT, kept.encode())
                writer.add_document(document)
            writer.commit()
        finally:
            writer.wait_merging_threads()  # and release the lock
        self.removed += len(removed)
        self._index.reload()
        self.searcher = self._index.searcher()

    def entries(self) -> Iterator[Entry]:
        """All entries, in the order of their keys."""
        searcher = self.searcher
        most = max(searcher.num_docs, 1)
        places = [place for _, place in searcher.search(tantivy.Query.all_query(), most, count=False).hits]
        keys = searcher.fast_field_values(KEY, places)
        for _, place in sorted(zip(keys, places, strict=True), key=lambda pair: pair[0] or 0):
            yield entry_at(searcher, place)

    def linked(self) -> Engine:
        """A copy in a temporary folder, which shares the files written so far."""
        target = Path(tempfile.mkdtemp(prefix=PREFIX))
        if self.folder is not None:
            link_files(self.folder, target)
        twin = Engine(target, temporary=True)
        twin.removed = self.removed
        if self.folder is None:
            twin.write(self.entries())
            twin.removed = 0
        return twin


def entry_at(searcher: tantivy.Searcher, place: tantivy.DocAddress) -> Entry:
    key, words, stems, whole = bytes(searcher.doc(place)[KEPT][0]).decode().split("\n")
    return Entry(int(key), words, stems, whole)


def link_files(source: Path, target: Path) -> None:
    """Link the files of one engine's folder into another, or copy them where links are not to be had."""
    for path in source.iterdir():
        if path.name in _OWN or not path.is_file():
            continue
        try:
            os.link(path, target / path.name)
        except OSError:
            shutil.copy2(path, target / path.name)


def _schema() -> tantivy.Schema:
    builder = tantivy.SchemaBuilder()
    builder.add_unsigned_field(KEY, indexed=True, fast=True)
    builder.add_text_field(WORDS, tokenizer_name="spaces", index_option="position")
    builder.add_text_field(STEMS, tokenizer_name="spaces", index_option="freq")
    builder.add_text_field(WHOLE, tokenizer_name="spaces", index_option="basic")
    builder.add_bytes_field(KEPT, stored=True)
    return builder.build()
