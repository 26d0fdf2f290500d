"""The reading process with faults: what a file is called decides how it goes wrong. For test_worker.py."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import time
import types
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from metaembed_demo.core.types import Page, Word
from metaembed_demo.documents import loader
from metaembed_demo.documents.file_types import Checked
from metaembed_demo.documents.sandbox import process, protocol

HELD: list[bytearray] = []


def segfault(name: str) -> None:
    ctypes.string_at(0)


def hang(name: str) -> None:
    while True:
        time.sleep(0.01)


def hog(name: str) -> None:
    HELD.append(bytearray(3 << 30))


def grandchild(name: str) -> None:
    """As poppler would: a program that goes on."""
    started = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    Path(os.environ["TEST_NOTES"], "pid").write_text(str(started.pid))
    hang(name)


def litter(name: str) -> None:
    Path(os.environ["TMPDIR"], "left").write_text("behind")
    Path(os.environ["TEST_NOTES"], "folder").write_text(os.environ["TMPDIR"])
    segfault(name)


FAULTS: dict[str, Callable[[str], Any]] = {
    "segfault": segfault,
    "exit": lambda name: os._exit(3),
    "abort": lambda name: os.abort(),
    "hang": hang,
    "hog": hog,
    "grandchild": grandchild,
    "litter": litter,
    "print": lambda name: (print("noise" * 9_000), os.write(1, b"more noise")),
    "raise": lambda name: [][1],
    "recurse": lambda name: FAULTS["recurse"](name),
}
LIES: dict[str, Callable[[Page], Page]] = {
    "another": lambda page: replace(page, source="good.png"),
    "unnamed": lambda page: replace(page, id="<b>"),
    "boxless": lambda page: page.with_words([Word("x", (0.0, 0.0, float("nan"), 1.0))]),
    "kindless": lambda page: page.with_words([Word("x", (0.0, 0.0, 1.0, 1.0), "onclick")]),  # type: ignore[arg-type]
    "surrogate": lambda page: page.with_words([Word("half \ud800", (0.0, 0.0, 1.0, 1.0))]),
}


def faulty(pages: Callable[..., Iterator[Any]]) -> Callable[..., Iterator[Any]]:
    def wrapped(item: Checked, *rest: Any) -> Iterator[Any]:
        name = Path(item.name).stem
        FAULTS.get(name, lambda name: None)(name)
        for page in pages(item, *rest):
            if isinstance(page, Page) and f"{name}-{page.number}" in ("third-3", "second-2"):
                segfault(name)
            if name == "slow":
                time.sleep(1.5)
            yield LIES.get(name, lambda page: page)(page) if isinstance(page, Page) else page

    return wrapped


def read(page: Page) -> Page:
    """Instead of OCR and the picture network, which take seconds to load."""
    name = Path(page.source).stem.removeprefix("read-")
    if page.source.startswith("read-"):
        FAULTS[name](name)
    return page.with_words([*page.words, Word(f"desk{os.getpid()}", (0.0, 0.0, 1.0, 1.0), "ocr")])


def garbled(send: Callable[..., None]) -> Callable[..., None]:
    """Bytes that are no message, as a process would send that something else has taken over."""
    import pickle

    def wrapped(out: Any, message: dict[str, Any], blobs: Any = ()) -> None:
        name = Path(str(message.get("source", ""))).stem
        if name == "pickle":
            out.write(pickle.dumps({"is": "page"}) * 50)
        elif name == "endless":
            out.write(b"\xff\xff\xff\xff" + bytes(1000))
        elif name == "empty":
            return send(out, {})
        elif name == "fieldless":
            return send(out, {"is": "problem", "message": 3})
        elif name == "placeless":
            return send(out, {"is": "item", "index": None, "name": ["<b>"]})
        elif name == "shapeless":
            return send(out, {**message, "size": [10**9, 10**9]}, blobs)
        else:
            return send(out, message, blobs)
        out.flush()

    return wrapped


if __name__ == "__main__":
    loader._image_pages = faulty(loader._image_pages)  # type: ignore[assignment]
    loader._pdf_pages = faulty(loader._pdf_pages)  # type: ignore[assignment]
    protocol.send = garbled(protocol.send)  # type: ignore[assignment]
    double: Any = types.ModuleType("metaembed_demo.documents.extraction")
    double.read = read
    sys.modules["metaembed_demo.documents.extraction"] = double
    process.main()
