"""A dev set while it is built: queries, judgements, and what its hash covers."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass
class DevSet:
    """Queries, judgements, and what the corpus is made of; `frozen` is all that the hash covers."""

    queries: list[dict[str, str]] = field(default_factory=list)
    qrels: list[tuple[str, str]] = field(default_factory=list)  # query id, corpus id
    frozen: list[Any] = field(default_factory=list)

    def ask(self, text: str, *corpus_ids: str, image: str = "") -> None:
        key = f"q{len(self.queries) + 1}"
        self.queries.append({"_id": key, "text": text, **({"image": image} if image else {})})
        self.qrels += [(key, corpus_id) for corpus_id in corpus_ids]

    def digest(self) -> str:
        told = json.dumps([self.frozen, self.queries, self.qrels], sort_keys=True)
        return hashlib.sha256(told.encode()).hexdigest()

    def write(self, folder: Path) -> None:
        (folder / "qrels").mkdir(parents=True, exist_ok=True)
        (folder / "queries.jsonl").write_text("".join(json.dumps(row) + "\n" for row in self.queries))
        rows = "".join(f"{key}\t{corpus_id}\t1\n" for key, corpus_id in self.qrels)
        (folder / "qrels" / "test.tsv").write_text(f"query-id\tcorpus-id\tscore\n{rows}")


def plain(name: str) -> str:
    """A file name of it."""
    return re.sub(r"[^\w.-]+", "-", name)


def hashed(text: str) -> str:
    """SHA-256, in hexadecimal digits: an order that does not follow the alphabet."""
    return hashlib.sha256(text.encode()).hexdigest()
