"""Write every document, then merge the questions: `python -m sample_corpus.make` from the project's root."""

from __future__ import annotations

import importlib
import json
import pkgutil

from . import __path__ as package
from .base import CORPUS

HELPERS = {"base", "layout", "pictures", "__main__"}


def main() -> None:
    for module in sorted(m.name for m in pkgutil.iter_modules(package) if m.name not in HELPERS):
        importlib.import_module(f".{module}", __package__).main()
    merge_questions()


def merge_questions() -> None:
    """questions/*.jsonl -> queries.jsonl and qrels/test.tsv in BEIR's layout."""
    rows = [
        json.loads(line)
        for file in sorted((CORPUS / "make" / "questions").glob("*.jsonl"))
        for line in file.read_text(encoding="utf-8").splitlines()
    ]
    queries = [{"_id": row["_id"], "text": row["text"], "kind": row["kind"]} for row in rows]
    lines = [f"{row['_id']}\t{answer}\t{score}" for row in rows for answer, score in row["answers"].items()]
    (CORPUS / "queries.jsonl").write_text("".join(json.dumps(q) + "\n" for q in queries), encoding="utf-8")
    (CORPUS / "qrels").mkdir(exist_ok=True)
    (CORPUS / "qrels" / "test.tsv").write_text(
        "query-id\tcorpus-id\tscore\n" + "\n".join(lines) + "\n", encoding="utf-8"
    )


if __name__ == "__main__":
    main()
