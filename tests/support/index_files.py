"""Index files made by hand: packed, changed and packed again, with checksums that fit."""

from __future__ import annotations

import gzip
import json
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from metaembed_demo.collection import index_file
from metaembed_demo.collection.collection import Collection
from metaembed_demo.collection.stored_page import StoredPage
from metaembed_demo.core import disk
from metaembed_demo.core.config import LIMITS
from metaembed_demo.core.types import Upload
from tests.support.dummy_encoder import DummyEncoder
from tests.support.sample_pages import make_page

ENCODER = DummyEncoder()
TEXTS = [
    "tank of the coffee machine",
    "train to bern",
    "a boat at noon",
    "the lens of a lighthouse",
    "rye bread",
]
Entries = dict[str, bytes]


def collection_of(*texts: str, source: str = "guide.pdf") -> Collection:
    found = Collection.for_encoder(ENCODER)
    for number, text in enumerate(texts, 1):
        page = make_page(source, number, text)
        found.put(StoredPage.of(page), ENCODER.encode_pages([page])[0])
    return found


def snapshot(collection: Collection) -> object:
    """All that a refused file must leave as it is."""
    pages = [(page_id, page.places) for page_id, page in collection.pages.entries()]
    return pages, collection.index.ids, collection.index.vectors(collection.index.ids).tobytes()


def entries(file: Upload) -> Entries:
    with zipfile.ZipFile(file.path) as archive:
        return {info.filename: archive.read(info) for info in archive.infolist()}


def repack(
    file: Upload, change: Callable[[Entries], None], tmp_path: Path, how: int = zipfile.ZIP_STORED
) -> Upload:
    """The same archive with `change` made to its entries."""
    found = entries(file)
    change(found)
    path = tmp_path / "changed.zip"
    with zipfile.ZipFile(path, "w", how) as archive:
        for name, data in found.items():
            archive.writestr(name, data)
    return Upload(path, "changed.zip")


def edit_head(change: Callable[[dict], None]) -> Callable[[Entries], None]:
    def run(found: Entries) -> None:
        head = json.loads(found["metaembed-index/manifest.json"])
        change(head)
        found["metaembed-index/manifest.json"] = json.dumps(head).encode()

    return run


def refused(home: Collection, file: Upload, limits=LIMITS) -> str:
    """What the visitor is told; nothing may have changed."""
    before = snapshot(home)
    with pytest.raises(ValueError) as told:  # noqa: PT011  # the callers look at the message
        index_file.add(home, file, limits)
    assert snapshot(home) == before
    message = str(told.value)
    assert message.startswith(file.name)
    assert "/tmp" not in message
    assert "Traceback" not in message
    return message


def with_table(found: Entries, data: bytes) -> None:
    """Put another table in, named and hashed as if it had been written."""
    old = next(name for name in found if "table-" in name)
    del found[old]
    digest = disk.sha256(data)
    name = f"table-{digest[:20]}.json.gz"
    found[f"metaembed-index/{name}"] = data
    edit_head(lambda head: head.update(table={"file": name, "sha256": digest}))(found)


def rewritten(
    found: Entries,
    change: Callable[[dict, list], None],
    pack: Callable[[bytes], bytes],
    length: int | None = None,
) -> None:
    """Change the first page's record and its row of the table, with checksums that fit.

    length: of the record, as the table is to say.
    """
    table = next(name for name in found if "table-" in name)
    rows = json.loads(gzip.decompress(found[table]))
    texts = next(name for name in found if "texts/" in name)
    page_id, places, file, start, size, _ = rows[0]
    value = json.loads(zlib.decompress(found[texts][start : start + size]))
    row = [page_id, places]
    change(value, row)
    record = pack(json.dumps(value).encode())
    rows[0] = [row[0], row[1], file, len(found[texts]), length or len(record), disk.sha256(record)[:16]]
    found[texts] += record
    with_table(found, gzip.compress(json.dumps(rows).encode()))
