"""MMEB as mteb tasks: 36 tasks, each query ranked against its own candidates, scored by Precision@1.

Reads a local copy of TIGER-Lab/MMEB-eval: `<task>/test-*.parquet` with the columns qry_text, qry_img_path,
tgt_text and tgt_img_path, the last two being lists of candidates whose first is relevant, and a folder of
images. Scores equal the authors' (arXiv 2410.05160) except for ties, which their code awards to the first,
relevant candidate; here a hash decides.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from metaembed_demo.core import disk

# Source: VLM2Vec (arXiv 2410.05160), section 3; the names are those of the folders in TIGER-Lab/MMEB-eval.
# The first 20, "in-distribution" there, have a training set in MMEB-train; the other 16 have none.
WITHIN: Mapping[str, tuple[str, ...]] = {
    "classification": ("ImageNet-1K", "N24News", "HatefulMemes", "VOC2007", "SUN397"),
    "VQA": ("OK-VQA", "A-OKVQA", "DocVQA", "InfographicsVQA", "ChartQA", "Visual7W"),
    "retrieval": (
        *("VisDial", "CIRR", "VisualNews_t2i", "VisualNews_i2t"),
        *("MSCOCO_t2i", "MSCOCO_i2t", "NIGHTS", "WebQA"),
    ),
    "grounding": ("MSCOCO",),
}
BEYOND: Mapping[str, tuple[str, ...]] = {
    "classification": ("Place365", "ImageNet-A", "ImageNet-R", "ObjectNet", "Country211"),
    "VQA": ("ScienceQA", "VizWiz", "GQA", "TextVQA"),
    "retrieval": ("FashionIQ", "Wiki-SS-NQ", "OVEN", "EDIS"),
    "grounding": ("RefCOCO", "RefCOCO-Matching", "Visual7W-Pointing"),
}
META_TASKS = {category: WITHIN[category] + BEYOND[category] for category in WITHIN}
PARTS = META_TASKS | {
    "in-distribution": tuple(name for names in WITHIN.values() for name in names),
    "out-of-distribution": tuple(name for names in BEYOND.values() for name in names),
}
TASKS = tuple(name for names in META_TASKS.values() for name in names)
COLUMNS = ("qry_text", "qry_img_path", "tgt_text", "tgt_img_path")
PLACEHOLDER = "<|image_1|>"  # image position in a text; encoders place images themselves
FOLDERS = ("images", "eval_images", ".")  # where images.zip may be unpacked
SPLIT = "test"
GET = "Fetch TIGER-Lab/MMEB-eval from the Hugging Face hub into it."


class Malformed(ValueError):
    """A malformed data file, or a missing image."""


class MmebItem(NamedTuple):
    """A query or candidate: text, and relative path of its image or ""."""

    text: str
    picture: str

    @property
    def id(self) -> str:
        return hashlib.sha256(f"{self.picture}\0{self.text}".encode()).hexdigest()[:24]


class MmebQuery(NamedTuple):
    """A query and its candidates; the first is relevant."""

    query: MmebItem
    candidates: list[MmebItem]


def tasks(
    folder: Path, names: Sequence[str] = (), images: Path | None = None
) -> tuple[list[Any], dict[str, str]]:
    """mteb tasks in MMEB's order, and skipped task -> reason.

    Args:
        folder: has one folder per task.
        names: tasks to run; empty: all that are present, the others are skipped.
        images: folder that image paths are relative to; None: images or eval_images in `folder`, or `folder`.

    Raises:
        ValueError: for an unknown task, or a file without MMEB's columns.
        FileNotFoundError: when the folder or a requested task is missing.
    """
    if unknown := [name for name in names if name not in TASKS]:
        raise ValueError(f"MMEB has no task {unknown[0]!r}. It has {', '.join(TASKS)}.")
    files = {name: sorted((folder / name).glob(f"{SPLIT}-*.parquet")) for name in TASKS}
    missing = [name for name in names or TASKS if not files[name]]
    if missing and (names or len(missing) == len(TASKS)):
        raise FileNotFoundError(f"There is no {folder / missing[0]}/{SPLIT}-*.parquet. {GET}")
    for name in files:
        for file in files[name]:
            _table(file)  # fail early
    found = [
        _task(name, files[name], folder, images) for name in TASKS if name in (names or TASKS) and files[name]
    ]
    return found, dict.fromkeys(missing, f"there is no {folder}/<task>/{SPLIT}-*.parquet")


def read(files: Sequence[Path]) -> list[MmebQuery]:
    """The queries of a task, in order. Raises Malformed, with file and row."""
    found = []
    for file in files:
        for number, row in enumerate(_rows(file), 1):
            where = f"{file}, row {number}"
            texts, pictures = row["tgt_text"], row["tgt_img_path"]
            if not isinstance(texts, list) or not isinstance(pictures, list) or len(texts) != len(pictures):
                raise Malformed(f"{where}: tgt_text and tgt_img_path must be lists of the same length.")
            if not texts:
                raise Malformed(f"{where}: there is no candidate.")
            candidates = [_side(*pair, where) for pair in zip(texts, pictures, strict=True)]
            found.append(MmebQuery(_side(row["qry_text"], row["qry_img_path"], where), candidates))
    if not found:
        raise Malformed(f"{files[0].parent} holds no query.")
    return found


def root(folder: Path, images: Path | None, asked: Sequence[MmebQuery]) -> Path:
    """The folder that image paths are relative to; checks that every image exists.

    Raises:
        Malformed: naming a missing image and the folders searched.
    """
    named = dict.fromkeys(side.picture for each in asked for side in (each.query, *each.candidates))
    pictures = [picture for picture in named if picture]
    places = [images] if images else [folder / name for name in FOLDERS]
    if not pictures:
        return places[0]
    if not (found := [place for place in places if (place / pictures[0]).is_file()]):
        raise Malformed(
            f"There is no picture {pictures[0]} in {', '.join(map(str, places))}. Unpack images.zip there "
            f"(unzip images.zip -d {places[0]}), or name the folder by --images."
        )
    for picture in pictures:
        if not (found[0] / picture).is_file():
            raise Malformed(f"There is no picture {found[0] / picture}. Unpack images.zip again.")
    return found[0]


def _task(name: str, files: Sequence[Path], folder: Path, images: Path | None) -> Any:
    """One mteb task object, with data loaded on demand."""
    from mteb.abstasks.retrieval import AbsTaskRetrieval

    class Mmeb(AbsTaskRetrieval):
        metadata = _metadata(name, files)

        def load_data(self, num_proc: int | None = None, **_: Any) -> None:
            asked = read(files)
            place = root(folder, images, asked)
            ids = [str(row) for row in range(len(asked))]
            distinct = {side.id: side for each in asked for side in each.candidates}
            self.queries = {SPLIT: _dataset(ids, [each.query for each in asked], place)}
            self.corpus = {SPLIT: _dataset(list(distinct), list(distinct.values()), place)}
            own = {row: [side.id for side in each.candidates] for row, each in zip(ids, asked, strict=True)}
            self.relevant_docs = {SPLIT: {row: {candidates[0]: 1} for row, candidates in own.items()}}
            self.top_ranked = {SPLIT: {row: list(dict.fromkeys(found)) for row, found in own.items()}}
            self.data_loaded = True

    return Mmeb()


def _metadata(name: str, files: Sequence[Path]) -> Any:
    from mteb.abstasks.task_metadata import TaskMetadata

    category = next(category for category, names in META_TASKS.items() if name in names)
    # A hash of the data, so that results of other data are not reused.
    revision = hashlib.sha256("".join(disk.sha256_of(file) for file in files).encode()).hexdigest()[:16]
    return TaskMetadata(
        name=f"MMEB-{name}",
        description=f"{name} of MMEB ({category}): each query ranked against its own candidates.",
        reference="https://arxiv.org/abs/2410.05160",
        dataset={"path": "TIGER-Lab/MMEB-eval", "revision": revision},
        type="Any2AnyRetrieval",
        category="it2it",
        modalities=["text", "image"],
        eval_splits=[SPLIT],
        eval_langs=["eng-Latn"],
        main_score="precision_at_1",
    )


def _dataset(ids: list[str], sides: Sequence[MmebItem], place: Path) -> Any:
    """A data set in mteb's layout; images are decoded on demand."""
    from datasets import Dataset, Features, Image, Value

    columns: dict[str, Any] = {"id": ids, "text": [side.text for side in sides]}
    features: dict[str, Any] = {"id": Value("string"), "text": Value("string")}
    if any(side.picture for side in sides):
        columns["image"] = [str(place / side.picture) if side.picture else None for side in sides]
        features["image"] = Image()
    return Dataset.from_dict(columns, features=Features(features))


def _side(text: Any, picture: Any, where: str) -> MmebItem:
    for name, value in (("text", text), ("picture", picture)):
        if not isinstance(value, str | None):
            raise Malformed(f"{where}: {value!r} is no {name}, but must be a string.")
    found = MmebItem((text or "").replace(PLACEHOLDER, "").strip(), picture or "")
    if not any(found):
        raise Malformed(f"{where}: a query or a candidate has neither text nor picture.")
    return found


def _rows(file: Path) -> Iterator[Mapping[str, Any]]:
    for batch in _table(file).iter_batches(64, columns=list(COLUMNS)):
        yield from batch.to_pylist()


def _table(file: Path) -> Any:
    """Open a Parquet file. Raises Malformed when it is damaged or lacks one of MMEB's columns."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.ParquetFile(file)
    except (pa.ArrowException, OSError) as error:
        raise Malformed(f"{file} is not readable Parquet: {error}. Fetch it again.") from error
    if missing := [name for name in COLUMNS if name not in table.schema_arrow.names]:
        raise Malformed(f"{file} has no column {missing[0]}; MMEB has {', '.join(COLUMNS)}. Fetch it again.")
    return table
