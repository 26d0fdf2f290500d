"""BEIR-style folders: corpus files, queries.jsonl, qrels/test.tsv with corpus ids `file` or `file#page`."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL.Image import Image

from metaembed_demo.collection import persistence
from metaembed_demo.collection.collection import NO_SESSION, Collection
from metaembed_demo.collection.indexing import index_files
from metaembed_demo.collection.progress import Progress, Report
from metaembed_demo.collection.stored_page import StoredPage
from metaembed_demo.core import disk
from metaembed_demo.core.types import Problem, Query, Upload
from metaembed_demo.documents.file_types import uploads
from metaembed_demo.documents.loader import read_files
from metaembed_demo.encoders.base import Encoder

from .label_reader import Judged, bad_line, decoded, parse_judgements, parse_queries

QRELS = ("qrels/test.tsv", "qrels/dev.tsv", "qrels.tsv")
DIGESTS = "eval-files.json"  # in a saved index: file name -> SHA-256 of the indexed version

# Target of a judgement: ("page", page id), ("file", source), or ("missing", corpus id).
Unit = tuple[str, str]


@dataclass(frozen=True)
class Beir:
    """A loaded folder. `qrels`: query id -> corpus id -> grade, above 0 only."""

    folder: Path
    queries: dict[str, Query]
    qrels: dict[str, dict[str, int]]
    files: list[Upload]


def load_beir(folder: Path) -> Beir:
    """Read queries and judgements, and list the corpus files without opening them.

    The corpus is all supported files below the folder, except hidden files, qrels/, and query images that are
    not judged. Judgements of unknown queries and grades of 0 or below are dropped.

    Raises:
        ValueError: when something is missing or malformed; the message names the file and line.
    """
    if not folder.is_dir():
        raise ValueError(f"There is no folder {folder}.")
    queries, pictures = _queries(folder)
    judged = _qrels(folder)
    qrels = {key: judged[key] for key in queries if key in judged}
    if not qrels:
        raise ValueError(f"No query of {folder / 'queries.jsonl'} has a judgement above 0.")
    used = {corpus_id for judgements in qrels.values() for corpus_id in judgements}
    files = [
        file for file in uploads([folder], only_accepted=True) if _in_corpus(file, folder, pictures, used)
    ]
    if not files:
        raise ValueError(f"{folder} holds no PDF or picture to search.")
    return Beir(folder, queries, qrels, files)


def collect(
    beir: Beir,
    encoder: Encoder,
    report: Report,
    keep: Path | None = None,
    tell: Callable[[Progress], None] = lambda _: None,
) -> Collection:
    """Index the corpus. With `keep`, the index saved in that folder is updated and reused.

    Raises:
        ValueError: when `keep` contains something else, or the index of another encoder.
    """
    if keep is None:
        return _index(Collection.for_encoder(encoder), beir.files, encoder, report, tell)
    persistence.check_target(keep)
    digests = digests_of(beir)
    known: dict[str, Any] = {}
    collection = Collection.for_encoder(encoder)
    if persistence.is_saved(keep):
        collection = Collection.load(keep, encoder.fingerprint, encoder.device)
        known = disk.read_json(keep / DIGESTS) if (keep / DIGESTS).is_file() else {}
    stands = {name for name, digest in known.items() if digests.get(name) == digest}
    for document in collection.documents():
        if not any(_from_file(document.source, name) for name in stands):
            collection.remove(document.source)
    new = [file for file in beir.files if file.name not in stands]
    _index(collection, new, encoder, report, tell)
    collection.save(keep)
    # Files with problems are not recorded, so that they are retried and reported next time.
    bad = [problem.source for problem in report.problems]
    good = {name: d for name, d in digests.items() if not any(_from_file(source, name) for source in bad)}
    disk.write_json(keep / DIGESTS, good)
    return collection


def digests_of(beir: Beir) -> dict[str, str]:
    """Name of each corpus file -> its SHA-256."""
    return {file.name: disk.sha256_of(file.path) for file in beir.files}


def is_current(keep: Path, digests: dict[str, str]) -> bool:
    """Whether an index kept in the folder `keep` holds every file of `digests` as it is now, and no other."""
    try:
        return persistence.is_saved(keep) and disk.read_json(keep / DIGESTS) == digests
    except (OSError, ValueError):
        return False


def open_picture(path: Path) -> Image:
    """A query image: the first page of any supported file.

    Raises:
        ValueError: when it cannot be read.
    """
    first = next(read_files([Upload(path, path.name)]), None)
    if isinstance(first, Problem):
        raise ValueError(first.message)
    if first is None or first.image is None:
        raise ValueError(f"{path.name} holds no picture.")
    return first.image


class Judgements:
    """Judgements resolved against a collection, and the units of each page in a ranking.

    judged: query id -> unit -> grade.
    missing: corpus ids that are not in the collection.
    """

    def __init__(self, qrels: dict[str, dict[str, int]], collection: Collection) -> None:
        self._collection = collection
        self._sources = _by_name(place[0] for page in collection.pages.values() for place in page.places)
        self.judged: dict[str, dict[Unit, int]] = {}
        resolved = {corpus_id: self.unit(corpus_id) for judged in qrels.values() for corpus_id in judged}
        self.missing = [key for level, key in resolved.values() if level == "missing"]
        for query_id, judged in qrels.items():
            units = self.judged[query_id] = {}
            for corpus_id, grade in judged.items():
                unit = resolved[corpus_id]
                units[unit] = max(grade, units.get(unit, 0))
        targets = {unit for units in self.judged.values() for unit in units}
        paged = {
            source for level, key in targets if level == "page" for source, _ in collection.pages[key].places
        }
        filed = {key for level, key in targets if level == "file"}
        only_files = not paged
        # A file that is judged only as a whole takes one rank, that of its first-ranked page.
        self._whole = {s for s in self._sources.values() if s not in paged and (only_files or s in filed)}
        self._units = {page.id: self._units_of(page) for page in collection.pages.values()}

    def ranking(self, page_ids: Iterable[str]) -> list[set[Unit]]:
        """Ranked pages to ranked sets of units; a unit counts at its first rank only."""
        return _first_met(self._units[page_id] for page_id in page_ids)

    def documents(self, corpus_ids: Iterable[str]) -> list[set[Unit]]:
        """`ranking` of corpus ids, as a run of another program has them; unknown ones take a rank as well."""
        units = map(self.unit, corpus_ids)
        return _first_met(self._units[key] if level == "page" else {(level, key)} for level, key in units)

    def pages(self, query_id: str) -> dict[str, int]:
        """The pages that answer a query, in the collection's order -> their grade."""
        judged = self.judged.get(query_id, {})
        met = {page_id: units & judged.keys() for page_id, units in self._units.items()}
        return {page_id: max(judged[unit] for unit in units) for page_id, units in met.items() if units}

    def source(self, page_id: str) -> str:
        """The document in which a page stands."""
        return self._collection.pages[page_id].source

    def unit(self, corpus_id: str) -> Unit:
        """What a corpus id, `file` or `file#page`, names in the collection, or ("missing", corpus_id)."""
        if corpus_id in self._sources:
            return ("file", self._sources[corpus_id])
        name, mark, number = corpus_id.rpartition("#")
        if mark and number.isdecimal() and name in self._sources:
            page_id = self._collection.holder((self._sources[name], int(number)))
            if page_id is not None:
                return ("page", page_id)
        return ("missing", corpus_id)

    def name(self, unit: Unit) -> str:
        """A corpus id of a unit: a page's is its first place."""
        level, key = unit
        if level != "page":
            return key
        source, number = self._collection.pages.places(key)[0]
        return f"{source}#{number}"

    def _units_of(self, page: StoredPage) -> set[Unit]:
        sources = {source for source, _ in page.places}
        units: set[Unit] = {("file", source) for source in sources}
        return units if sources <= self._whole else units | {("page", page.id)}


def _first_met(ranked: Iterable[set[Unit]]) -> list[set[Unit]]:
    ranks: list[set[Unit]] = []
    seen: set[Unit] = set()
    for units in ranked:
        if new := units - seen:
            ranks.append(new)
            seen |= new
    return ranks


def _queries(folder: Path) -> tuple[dict[str, Query], set[Path]]:
    file = folder / "queries.jsonl"
    queries: dict[str, Query] = {}
    pictures: set[Path] = set()
    for key, line in parse_queries(_text(file), str(file)).items():
        try:
            if line.image:
                pictures.add((folder / line.image).resolve())
            queries[key] = Query(line.text, open_picture(folder / line.image) if line.image else None)
        except ValueError as error:
            raise bad_line(str(file), line.at, error) from error
    return queries, pictures


def _qrels(folder: Path) -> Judged:
    file = next((folder / name for name in QRELS if (folder / name).is_file()), folder / QRELS[0])
    return parse_judgements(_text(file), str(file))


def _text(file: Path) -> str:
    try:
        return decoded(file.read_bytes(), str(file))
    except FileNotFoundError:
        raise ValueError(f"{file} is missing; a BEIR folder has queries.jsonl and {QRELS[0]}.") from None


def _in_corpus(file: Upload, folder: Path, pictures: set[Path], used: set[str]) -> bool:
    relative = Path(os.path.relpath(file.path, folder))
    if relative.parts[0] == "qrels" or any(part.startswith(".") for part in relative.parts):
        return False
    judged = {relative.as_posix(), relative.as_posix().removeprefix("corpus/"), relative.name} & used
    return bool(judged) or file.path.resolve() not in pictures


def _index(
    collection: Collection,
    files: Sequence[Upload],
    encoder: Encoder,
    report: Report,
    tell: Callable[[Progress], None],
) -> Collection:
    for progress in index_files(collection, files, encoder, report, NO_SESSION, dated=False):
        tell(progress)
    return collection


def _from_file(source: str, name: str) -> bool:
    """Whether `source` is the file `name`, or a member of that archive."""
    return source == name or source.startswith(name + "/")


def _by_name(sources: Iterable[str]) -> dict[str, str]:
    """Name in judgements -> source: the path, the path below corpus/, or a unique base name."""
    found = dict.fromkeys(sources)
    names = {source: source for source in found}
    for source in found:
        names.setdefault(source.removeprefix("corpus/"), source)
    bases = Counter(source.rsplit("/", 1)[-1] for source in found)
    for source in found:
        base = source.rsplit("/", 1)[-1]
        if bases[base] == 1:
            names.setdefault(base, source)
    return names
