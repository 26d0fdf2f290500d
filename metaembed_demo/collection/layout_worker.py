"""The process that lays out pages on a plane (collection/corpus_layout.py), and the app's side of it.

Started as `python -m metaembed_demo.collection.layout_worker MEGABYTES FOLDER`, by documents/sandbox/pool.py.
Apart from the app, because PaCMAP compiles itself, holds 300 MB, and its threads abort when two of them meet.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from metaembed_demo.core.config import LIMITS, PATHS, Limits
from metaembed_demo.core.disk import scratch_prefix
from metaembed_demo.core.types import FloatArray
from metaembed_demo.documents.sandbox.pool import Lost, Unavailable, Workers
from metaembed_demo.documents.sandbox.serving import CLOSED, Answer, Request, serve

from .corpus_layout import LEAST, Layout, lay_out

SECONDS = 300.0  # 2,000 pages take 1 s, compiling PaCMAP for the first time 40 s; see `load_behind`
MOST_BYTES = 64 << 20  # of one file that the process writes: compiled code
log = logging.getLogger(__name__)
LAYOUTS = Workers(1, nice=10, command=[sys.executable, "-m", "metaembed_demo.collection.layout_worker"])


class NotLaidOut(Exception):
    """The message says why, and what to do."""


# In the process


def answer(request: Request) -> Answer:
    """Lay out pages."""
    if request["do"] != "lay out":
        return CLOSED, ()
    with np.load(request["path"], allow_pickle=False) as parts:
        told = json.loads(parts["told"].tobytes())
        found = lay_out(told["ids"], parts["vectors"], told["texts"], told["languages"])
    return {"is": "layout", "layout": found.as_json()}, ()


def _prepare(folder: str) -> None:
    """One thread, so that the same pages give the same plane; and where compiled code is kept."""
    kept = PATHS.cache / "numba"
    try:
        kept.mkdir(parents=True, exist_ok=True)
        writable = os.access(kept, os.W_OK)
    except OSError:
        writable = False
    os.environ.setdefault("NUMBA_CACHE_DIR", str(kept if writable else folder))
    os.environ |= {"NUMBA_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    logging.getLogger("pacmap").setLevel(logging.ERROR)  # it warns of every seed


# In the app


def lay_out_in_process(
    ids: Sequence[str],
    vectors: FloatArray,
    texts: Sequence[str],
    languages: Sequence[str],
    limits: Limits = LIMITS,
) -> Layout:
    """As `corpus_layout.lay_out`, in the process, or in the app where none can be started.

    Raises:
        NotLaidOut: when the process has ended, or its answer is none.
    """
    told = json.dumps({"ids": list(ids), "texts": list(texts), "languages": list(languages)})
    seconds = dict.fromkeys(("seconds_per_page", "seconds_per_file"), SECONDS)
    try:
        with LAYOUTS.lent(limits) as worker, tempfile.TemporaryDirectory(prefix=scratch_prefix()) as folder:
            if worker is None:
                return lay_out(ids, vectors, texts, languages)
            path = Path(folder) / "pages.npz"
            np.savez(path, vectors=vectors, told=np.frombuffer(told.encode("ascii"), np.uint8))
            message, _ = worker.ask(limits.model_copy(update=seconds), "lay out", path=str(path))
            found = Layout.from_json(message["layout"])
            if found.ids != tuple(ids):
                raise ValueError("a layout of other pages")
            return found
    except Lost as lost:
        raise NotLaidOut(f"The pages could not be laid out: {lost}. Open the map again.") from lost
    except Unavailable as error:
        raise NotLaidOut(
            "The pages could not be laid out: no process starts. Open the map again later."
        ) from error
    except (ValueError, KeyError, TypeError) as error:
        raise NotLaidOut("The pages could not be laid out: the answer makes no sense.") from error


def load_behind() -> threading.Thread:
    """Have the process compile PaCMAP, or load what was compiled before: the first map need not wait."""

    def load() -> None:
        if not LAYOUTS.available:
            return
        ids = list(map(str, range(LEAST)))
        try:
            lay_out_in_process(ids, np.eye(LEAST, dtype=np.float32), ["page"] * LEAST, [""] * LEAST)
        except NotLaidOut as error:
            log.warning("PaCMAP is compiled at the first map. %s", error)

    thread = threading.Thread(target=load, name="load-pacmap", daemon=True)
    thread.start()
    return thread


if __name__ == "__main__":
    _prepare(sys.argv[2])
    serve(answer, MOST_BYTES)
