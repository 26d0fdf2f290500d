"""The sandboxed process that reads judged queries, and the app's side of it.

Started as `python -m metaembed_demo.evaluation.label_worker MEGABYTES FOLDER` (documents/sandbox/serving.py).
Its answers are untrusted: short texts and small numbers.
"""

from __future__ import annotations

import sys
from pathlib import Path

from metaembed_demo.core.config import LIMITS, Limits
from metaembed_demo.core.text import clean
from metaembed_demo.core.types import Upload
from metaembed_demo.documents.sandbox import protocol
from metaembed_demo.documents.sandbox.pool import Lost, TimedOut, Unavailable, Workers
from metaembed_demo.documents.sandbox.serving import CLOSED, Answer, Request, serve

from .label_reader import LABEL_BYTES, LABEL_LINE, LABEL_LINES, MOST_GRADE, BadLabels, Judged, read

SECONDS = 10.0  # for both files, which take 0.1 s
MOST_SAID = 2_000  # maximum characters of a message
LABELS = Workers(2, command=[sys.executable, "-m", "metaembed_demo.evaluation.label_worker"])


# In the process


def answer(request: Request) -> Answer:
    """Read two files."""
    if request["do"] != "read":
        return CLOSED, ()
    queries, qrels = (Upload(Path(path), name) for path, name in request["files"])
    try:
        texts, judged = read(queries, qrels, Limits(**request["limits"]))
    except BadLabels as error:
        return {"is": "refused", "message": str(error)}, ()
    return {"is": "labels", "texts": texts, "qrels": judged}, ()


# In the app


def read_in_process(queries: Upload, qrels: Upload, limits: Limits = LIMITS) -> tuple[dict[str, str], Judged]:
    """As `label_reader.read`, in the process, or in the app where none can be started. Raises BadLabels."""
    both = f"{queries.name} and {qrels.name} could not be read"
    files = [(str(file.path.absolute()), file.name) for file in (queries, qrels)]
    seconds = dict.fromkeys(("seconds_per_page", "seconds_per_file"), SECONDS)
    try:
        with LABELS.lent(limits) as worker:
            if worker is None:
                return read(queries, qrels, limits)
            allowed = limits.model_copy(update=seconds)
            message, _ = worker.ask(allowed, "read", files=files, limits=limits.model_dump())
            try:
                return unpack(message, limits)
            except BadLabels:
                raise
            except Exception as error:  # an untrusted answer can be wrong in any way
                worker.end()
                raise BadLabels(f"{both}: their reader gave an answer that makes no sense.") from error
    except TimedOut as error:
        raise BadLabels(f"{both}: that takes more than {SECONDS:g} s. Keep fewer queries.") from error
    except Lost as lost:
        raise BadLabels(f"{both}: {lost}. Keep fewer queries.") from lost
    except Unavailable as error:
        raise BadLabels(f"{both}: no process starts. Drop them again later.") from error


def unpack(message: protocol.Message, limits: Limits) -> tuple[dict[str, str], Judged]:
    """The texts and judgements of an answer.

    Raises:
        BadLabels: when the process has refused the files.
        Garbled: when there are none, or more than the files may hold; AttributeError and the like as well.
    """
    if message["is"] == "refused":
        raise BadLabels(clean(str(message["message"])[:MOST_SAID]))
    texts, qrels = message["texts"], message["qrels"]
    judged = [pair for grades in qrels.values() for pair in grades.items()]
    if not (0 < len(texts) <= LABEL_LINES and texts.keys() == qrels.keys() and len(judged) <= LABEL_LINES):
        raise protocol.Garbled("labels that are none")
    ids = (*texts, *(corpus_id for corpus_id, _ in judged))
    if sum(map(len, ids)) > 2 * LABEL_BYTES or max(map(len, ids)) > LABEL_LINE:
        raise protocol.Garbled("ids that are too long")
    if not all(type(text) is str and 0 < len(text) <= limits.max_query_characters for text in texts.values()):
        raise protocol.Garbled("queries that are none")
    if not all(type(grade) is int and 0 < grade <= MOST_GRADE for _, grade in judged):
        raise protocol.Garbled("grades that are none")
    return {key: clean(text) for key, text in texts.items()}, qrels


if __name__ == "__main__":
    serve(answer, LABEL_BYTES)
