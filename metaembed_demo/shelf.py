"""A collection on disk: manifest.json names one generation of files, and is replaced last.

    DIR/manifest.json         format, encoder fingerprint, counts, checksums, the generation in force
    DIR/<generation>/         index.json, vectors-<hash>.npy, pages.jsonl.gz
    DIR/images/<page id>.jpg  shared by generations, so that adding to an index rewrites no picture

A crash before the manifest is replaced leaves the old generation in force; after that, only its files
are left to clear away, which the next save does.
"""

from __future__ import annotations

import gzip
import json
import re
import secrets
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from . import disk
from .index import FaissIndex, MultiVectorIndex
from .stored import StoredPage

FORMAT = 1
KIND = "metaembed-demo collection"


def is_shelf(path: Path) -> bool:
    """Whether a collection was saved at `path`."""
    return (path / "manifest.json").is_file()


def check_target(path: Path) -> None:
    """Raises ValueError when saving at `path` would mix with, or replace, something that is not ours."""
    if path.exists() and not path.is_dir():
        raise ValueError(f"{path} is a file. Name a folder for the index.")
    if path.is_dir() and not is_shelf(path) and any(path.iterdir()):
        raise ValueError(f"{path} holds other files and no index. Name a new or an empty folder.")
    if is_shelf(path):
        manifest(path)


def save(path: Path, fingerprint: str, index: MultiVectorIndex, pages: Sequence[StoredPage]) -> int:
    """Write a collection into the folder `path`. Returns the bytes it takes there."""
    check_target(path)
    generation = f"g-{secrets.token_hex(6)}"
    folder = path / generation
    folder.mkdir(parents=True)
    (path / "images").mkdir(exist_ok=True)
    try:
        index.save(folder)
        disk.write(folder / "pages.jsonl.gz", _pages_file(path, pages))
        disk.sync_folder(path)
        files = {name: disk.sha256_of(folder / name) for name in ("index.json", "pages.jsonl.gz")}
        head = {
            "kind": KIND,
            "format": FORMAT,
            "encoder": fingerprint,
            "pages": len(pages),
            "generation": generation,
            "sha256": files,
        }
        disk.write_json(path / "manifest.json", head)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    _clear_away(path, generation, {page.id for page in pages})
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())


def load(path: Path, fingerprint: str) -> tuple[FaissIndex, list[StoredPage]]:
    """What `save` wrote. Raises ValueError as `Collection.load` says."""
    head = manifest(path)
    if head["encoder"] != fingerprint:
        raise ValueError(
            f"The index at {path} was made by another encoder ({head['encoder']}, not {fingerprint}). "
            "Index the files again into a new folder."
        )
    folder = path / Path(head["generation"]).name
    try:
        for name, digest in head["sha256"].items():
            if disk.sha256_of(folder / Path(name).name) != digest:
                raise _damaged(path, f"the checksum of {name} is not the recorded one")
        index = FaissIndex.load(folder)
        pages = [_page(path, json.loads(line)) for line in _lines(folder / "pages.jsonl.gz")]
    except FileNotFoundError as error:
        raise _damaged(path, f"{Path(str(error.filename)).name} is missing") from error
    if index.ids != [page.id for page in pages] or len(pages) != head["pages"]:
        raise _damaged(path, "its pages and its vectors do not match")
    return index, pages


def manifest(path: Path) -> dict[str, Any]:
    """The head of the index at `path`. Raises ValueError when there is none that this program reads."""
    if not path.is_dir():
        raise ValueError(f"There is no index at {path}: no such folder. Make one with the index command.")
    if not is_shelf(path):
        raise ValueError(f"There is no index at {path}: the folder has no manifest.json.")
    head = disk.read_json(path / "manifest.json")
    if head.get("kind") != KIND:
        raise ValueError(f"{path} holds a manifest.json of some other program, not an index.")
    if head.get("format") != FORMAT:
        raise ValueError(
            f"The index at {path} has format {head.get('format')}; this program reads {FORMAT}. "
            "Index the files again into a new folder."
        )
    missing = {"encoder", "pages", "generation", "sha256"} - head.keys()
    if missing:
        raise _damaged(path, f"manifest.json lacks {', '.join(sorted(missing))}")
    return head


def _pages_file(path: Path, pages: Sequence[StoredPage]) -> bytes:
    """The pages as compressed lines of JSON, their pictures written beside it."""
    lines = []
    for page in pages:
        digest = disk.sha256(page.picture)
        file = _picture(path, page.id)
        if not (
            file.is_file() and file.stat().st_size == len(page.picture) and disk.sha256_of(file) == digest
        ):
            disk.write(file, page.picture)
        lines.append(json.dumps({**page.as_json(), "picture_sha256": digest}, ensure_ascii=False))
    text = "".join(line + "\n" for line in lines)
    return gzip.compress(text.encode("utf-8", "surrogatepass"), compresslevel=6, mtime=0)


def _lines(file: Path) -> list[str]:
    text = gzip.decompress(file.read_bytes()).decode("utf-8", "surrogatepass")
    return [line for line in text.split("\n") if line]


def _page(path: Path, value: dict[str, Any]) -> StoredPage:
    picture = _picture(path, value["id"]).read_bytes()
    if disk.sha256(picture) != value["picture_sha256"]:
        raise _damaged(
            path, f"the checksum of the picture of {value['source']} page {value['number']} is wrong"
        )
    return StoredPage.from_json(value, picture)


def _picture(path: Path, page_id: str) -> Path:
    if not re.fullmatch(r"[\w-]{1,64}", page_id):
        raise ValueError(f"{page_id!r} is no page id.")  # it becomes a file name
    return path / "images" / f"{page_id}.jpg"


def _clear_away(path: Path, generation: str, ids: set[str]) -> None:
    for folder in path.glob("g-*"):
        if folder.name != generation:
            shutil.rmtree(folder, ignore_errors=True)
    for file in (path / "images").glob("*.jpg"):
        if file.stem not in ids:
            file.unlink(missing_ok=True)


def _damaged(path: Path, what: str) -> ValueError:
    return ValueError(f"The index at {path} is damaged: {what}. Index the files again into a new folder.")
