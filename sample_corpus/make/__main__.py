"""Write every document, then merge the questions: `python -m sample_corpus.make` from the project's root."""

from __future__ import annotations

import importlib
import json
import pkgutil
from types import ModuleType

from . import __path__ as package
from .base import CORPUS

NOT_DOCUMENTS = {"pictures", "__main__"}  # pictures needs packages that are not kept here


def documents() -> list[ModuleType]:
    """The modules that write one document each; those with no `main` only help."""
    names = sorted(m.name for m in pkgutil.iter_modules(package) if m.name not in NOT_DOCUMENTS)
    modules = [importlib.import_module(f".{name}", __package__) for name in names]
    return [module for module in modules if hasattr(module, "main")]


def main() -> None:
    for module in documents():
        module.main()
    queries, qrels = merged()
    (CORPUS / "queries.jsonl").write_text(queries, encoding="utf-8")
    (CORPUS / "qrels").mkdir(exist_ok=True)
    (CORPUS / "qrels" / "test.tsv").write_text(qrels, encoding="utf-8")


def merged() -> tuple[str, str]:
    """questions/*.jsonl -> the text of queries.jsonl and of qrels/test.tsv in BEIR's layout."""
    rows = [
        json.loads(line)
        for file in sorted((CORPUS / "make" / "questions").glob("*.jsonl"))
        for line in file.read_text(encoding="utf-8").splitlines()
        if line.strip()
    ]
    queries = [{"_id": row["_id"], "text": row["text"], "kind": row["kind"]} for row in rows]
    lines = [f"{row['_id']}\t{answer}\t{score}" for row in rows for answer, score in row["answers"].items()]
    lines.insert(0, "query-id\tcorpus-id\tscore")
    return "".join(json.dumps(query) + "\n" for query in queries), "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
