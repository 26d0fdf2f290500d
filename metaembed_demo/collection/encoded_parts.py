"""Parts: a corpus encoded file by file into a folder, so that a later run can resume. See encode_corpus.py.

PARTS/encoder.json         the encoder's name, fingerprint, r_c, dim, and budgets of its own
PARTS/inputs.jsonl         every input of the last run, in the order of the merged pages
PARTS/done/<aa>/<key>.json one per input: size, sha256, the slices of parts with its pages, its problems
PARTS/parts/<part>.npy     vectors (n, R_c, D) float16
PARTS/parts/<part>.jsonl   one line per page: id, source, number, row, stored page, JPEG in base64; a repeated
                           page of the same input has only id, source and number
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import secrets
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metaembed_demo.core import disk
from metaembed_demo.core.moments import spot
from metaembed_demo.core.types import Embedding, Notice, Page, Problem, Upload
from metaembed_demo.documents.extraction import read
from metaembed_demo.documents.file_types import uploads
from metaembed_demo.documents.loader import read_files
from metaembed_demo.documents.subtitles import paired
from metaembed_demo.encoders.base import Encoder
from metaembed_demo.index.local import usual

from .collection import NO_SESSION
from .stored_page import StoredPage

PART_PAGES = 128  # pages per part; bounds a worker's memory and the loss from an interruption
CRASHED = (
    "ended the process that was reading or encoding it: a crash, or no memory was left. It was left out; "
    "split it, export it again, or use fewer workers."
)
Loader = Callable[[str], Encoder]


class BadInput(Exception):
    """Invalid user input; the message says why."""


@dataclass(frozen=True)
class Input:
    """A file to encode. `key` names it in PARTS."""

    key: str
    path: str
    name: str
    subtitles: str = ""  # the path of those of a video or sound


@dataclass
class Done:
    """The result for one input. A slice is (part, first byte, last byte + 1) of its lines."""

    name: str
    size: int
    sha256: str
    run: str
    slices: list[tuple[str, int, int]] = field(default_factory=list)
    problems: list[list[Any]] = field(default_factory=list)  # source, message, and a notice's page
    again: bool = False  # a page failed in the encoder or by a crash: the next run tries the input again


def row_of(problem: Problem) -> list[Any]:
    page = [problem.page] if isinstance(problem, Notice) else []
    return [problem.source, problem.message, *page]


def _where(page: Page) -> str:
    return f"{page.source} {spot(page.source, page.number, 'page ')}"


def problem_of(row: Sequence[Any]) -> Problem:
    """Inverse of `row_of`."""
    return Notice(*row) if len(row) > 2 else Problem(*row)


# Files in PARTS


def inputs_of(paths: Sequence[Path]) -> list[Input]:
    """Every file of `paths`, named as in the app. Two files with the same name get different keys."""
    met: dict[str, int] = {}
    found = []
    for upload in paired(uploads(paths)):
        met[upload.name] = times = met.get(upload.name, 0) + 1
        text = f"{upload.name}\n{times}".encode("utf-8", "surrogatepass")
        key = hashlib.sha256(text).hexdigest()[:32]
        found.append(Input(key, str(upload.path), upload.name, str(upload.subtitles or "")))
    return found


def listed(file: Path) -> list[Path]:
    """The paths in a list file, one per line, relative to its folder. Raises BadInput if it is unreadable."""
    try:
        lines = file.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError as error:
        raise BadInput(f"The list {file} cannot be read: {error.strerror or error}.") from error
    return [file.parent / line.strip() for line in lines if line.strip()]


def identity(one: Input) -> tuple[int, str]:
    """Size and sha256, with that of subtitles; (-1, "") for an unreadable file, which is reported later."""
    path = Path(one.path)
    try:
        also = f" {disk.sha256_of(Path(one.subtitles))}" if one.subtitles else ""
        return path.stat().st_size, disk.sha256_of(path) + also
    except OSError:
        return -1, ""


def done_file(out: Path, key: str) -> Path:
    return out / "done" / key[:2] / f"{key}.json"


def read_done(out: Path, key: str) -> Done | None:
    """None when the input was not encoded, or one of its parts is missing."""
    try:
        done = Done(**disk.read_json(done_file(out, key)))
    except (FileNotFoundError, ValueError, TypeError):
        return None
    parts = {part for part, _, _ in done.slices}
    whole = all((out / "parts" / f"{part}.{end}").is_file() for part in parts for end in ("npy", "jsonl"))
    return done if whole else None


def is_done(out: Path, one: Input) -> bool:
    done = read_done(out, one.key)
    if done is None or done.again:
        return False
    path = Path(one.path)
    size = path.stat().st_size if path.is_file() else -1
    return size == done.size and (done.size, done.sha256) == identity(one)  # avoids hashing if sizes differ


def lines_of(parts: Path, done: Done) -> Iterator[tuple[dict[str, Any], NDArray[np.float16]]]:
    """The lines of an input, each with the memory-mapped vectors (n, R_c, D) of its whole part."""
    for part, first, last in done.slices:
        try:
            vectors = np.load(parts / "parts" / f"{part}.npy", mmap_mode="r", allow_pickle=False)
            with (parts / "parts" / f"{part}.jsonl").open("rb") as file:
                file.seek(first)
                while file.tell() < last:
                    yield json.loads(file.readline()), vectors
        except (OSError, ValueError) as error:
            raise BadInput(
                f"Part {part} of {parts}, with {done.name}, is damaged ({error}). Delete its two files and "
                "run encode again."
            ) from error


# The work of one process


def limit_threads(threads: int) -> None:
    """Let torch and OCR use no more than `threads`: each takes every core by default, in every worker."""
    import torch

    from metaembed_demo.documents import ocr_engine

    torch.set_num_threads(threads)
    ocr_engine.WORKERS = min(ocr_engine.WORKERS, threads)  # read when its pools are made, on first use


class Worker:
    """Loads the encoder once, then encodes tasks. An actor of Ray Data, or a plain object."""

    def __init__(self, out: str, encoder: str, load: Loader, batch: int, threads: int, run: str) -> None:
        self.out, self.batch, self.run = Path(out), batch, run
        self.fault = ""
        if threads:
            limit_threads(threads)
        try:
            self.encoder = load(encoder)
            self._claim(encoder)
        except (ValueError, OSError, ImportError) as error:
            self.fault = str(error)  # returned, not raised: Ray would restart the actor forever

    def __call__(self, rows: dict[str, Any]) -> dict[str, list[str]]:
        return {"told": [json.dumps(self.work(task)) for task in rows["task"]]}

    def work(self, task: str) -> dict[str, Any]:
        """Encode the inputs of one task (JSON). Returns counts, or {"fault": reason} if no task can run."""
        import torch

        inputs = [Input(**one) for one in json.loads(task)]
        try:
            pages = 0 if self.fault else _Task(self, inputs).run()
        except OSError as error:  # such as a full disk; a faulty input gives a Problem instead
            self.fault = str(error)
        if self.fault:
            return {"fault": self.fault}
        return {"inputs": len(inputs), "pages": pages, "threads": torch.get_num_threads()}

    def _claim(self, name: str) -> None:
        """Record the encoder in PARTS. Raises ValueError when its parts were made by another encoder."""
        mine = {
            "name": name,
            "fingerprint": self.encoder.fingerprint,
            "r_c": self.encoder.r_c,
            "dim": self.encoder.dim,
        }
        if self.encoder.budgets != usual(self.encoder.r_c):
            mine["budgets"] = str(self.encoder.budgets)
        file = self.out / "encoder.json"
        there = disk.read_json(file) if file.exists() else mine
        if there["fingerprint"] != self.encoder.fingerprint:
            raise ValueError(
                f"The parts in {self.out} were made by another encoder ({there['fingerprint']}, not "
                f"{self.encoder.fingerprint}). Encode into a new folder."
            )
        disk.write_json(file, mine)


class _Task:
    """Reads inputs one by one, encodes pages in batches across inputs, and writes them in parts.

    Ray retries a task whose process died. Then (`careful`) each input is encoded alone and named in a marker
    first, so that if the process dies again, the faulty input is known and skipped.
    """

    def __init__(self, worker: Worker, inputs: Sequence[Input]) -> None:
        self.worker, self.inputs = worker, inputs
        self.waiting: list[tuple[Page, Done, bool]] = []  # read, not yet encoded; whether it is a repeat
        self.lines: list[tuple[Done, dict[str, Any]]] = []  # encoded, not yet written
        self.vectors: list[NDArray[np.float16]] = []
        self.open: list[tuple[Input, Done]] = []  # read, done-file not yet written
        self.pages = 0
        self.marker = worker.out / "trying" / f"{inputs[0].key}.json"
        self.blamed: list[str] = []
        self.careful = False

    def run(self) -> int:
        """Encode all inputs. Returns the number of pages encoded."""
        self._look_at_marker()
        for one in self.inputs:
            before = read_done(self.worker.out, one.key) if self.careful else None
            if before is not None and before.run == self.worker.run:
                continue
            done = Done(one.name, *identity(one), self.worker.run)
            if one.key in self.blamed:
                done.problems.append([one.name, f"{one.name} {CRASHED}"])
                done.again = True
            else:
                if self.careful:
                    self._mark(one.key)
                self._read(one, done)
            self.open.append((one, done))
            if self.careful:
                self._encode()
                self._write()
        self._encode()
        self._write()
        self.marker.unlink(missing_ok=True)
        return self.pages

    def _look_at_marker(self) -> None:
        marker = disk.read_json(self.marker) if self.marker.exists() else {}
        if marker.get("run") == self.worker.run:
            self.careful = True
            self.blamed = [*marker["blamed"], *([marker["at"]] if marker["at"] else [])]
        self._mark("")

    def _mark(self, key: str) -> None:
        disk.write_json(self.marker, {"run": self.worker.run, "at": key, "blamed": self.blamed})

    def _read(self, one: Input, done: Done) -> None:
        seen: set[str] = set()
        beside = Path(one.subtitles) if one.subtitles else None
        for item in read_files([Upload(Path(one.path), one.name, subtitles=beside)], NO_SESSION):
            if isinstance(item, Problem):
                done.problems.append(row_of(item))
                continue
            if item.id in seen:  # without its picture: a long scan may have hundreds of blank pages
                self.waiting.append((Page(item.id, item.source, item.number, None), done, True))
                continue
            try:
                page = read(item)
            except Exception as error:  # one faulty page must not lose the rest of its file
                what = f"{_where(item)} could not be read: {error}"
                done.problems.append([item.source, what])
                continue
            seen.add(page.id)
            done.problems += [row_of(Notice.of(page.source, page.number, text)) for text in page.notices]
            if not page.words:  # a blank page
                continue
            self.waiting.append((page, done, False))
            if sum(not repeat for _, _, repeat in self.waiting) >= self.worker.batch:
                self._encode()

    def _encode(self) -> None:
        waiting, self.waiting = self.waiting, []
        fresh = [page for page, _, repeat in waiting if not repeat]
        embeddings = iter(self._embeddings(fresh))
        for page, done, repeat in waiting:
            line: dict[str, Any] = {"id": page.id, "source": page.source, "number": page.number}
            if not repeat:
                embedding = next(embeddings)
                if isinstance(embedding, Exception):
                    what = f"{_where(page)} could not be encoded: {embedding}"
                    done.problems.append([page.source, what])
                    done.again = True
                    continue
                stored = StoredPage.of(page)
                picture = base64.b64encode(stored.picture).decode("ascii")
                line |= {"row": len(self.vectors), "page": stored.as_json(), "picture": picture}
                self.vectors.append(embedding.vectors.astype(np.float16))
            self.lines.append((done, line))
        if len(self.lines) >= PART_PAGES:
            self._write()

    def _embeddings(self, pages: Sequence[Page]) -> Sequence[Embedding | Exception]:
        """As `encode_pages`; if that fails, page by page, so that only faulty pages are lost."""
        if not pages:
            return []
        try:
            found = self.worker.encoder.encode_pages(pages)
            if not all(np.isfinite(embedding.vectors).all() for embedding in found):
                raise ValueError("the encoder gave values that are not finite")
            return found
        except Exception as error:
            if len(pages) == 1:
                return [error]
        return [self._embeddings([page])[0] for page in pages]

    def _write(self) -> None:
        """Write a part, then the done-files of the inputs whose pages are all written."""
        out = self.worker.out
        if self.lines:
            name, at, text = secrets.token_hex(8), 0, bytearray()
            for done, line in self.lines:
                text += json.dumps(line).encode("ascii") + b"\n"
                if done.slices and done.slices[-1][0] == name:
                    done.slices[-1] = (name, done.slices[-1][1], len(text))
                else:
                    done.slices.append((name, at, len(text)))
                at = len(text)
            shape = (len(self.vectors), self.worker.encoder.r_c, self.worker.encoder.dim)
            buffer = io.BytesIO()
            np.save(buffer, np.array(self.vectors, np.float16).reshape(shape), allow_pickle=False)
            disk.write(out / "parts" / f"{name}.npy", buffer.getvalue())
            disk.write(out / "parts" / f"{name}.jsonl", bytes(text))
            self.pages += len(self.vectors)
        for one, done in self.open:
            file = done_file(out, one.key)
            file.parent.mkdir(parents=True, exist_ok=True)
            disk.write_json(file, asdict(done))
        self.lines, self.vectors, self.open = [], [], []
