"""Judged queries: the lines of a queries.jsonl and of a tab-separated file of judgements, as plain data.

The files of a visitor are read within bounds, in a process of their own (evaluation/label_worker.py).
"""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass

from metaembed_demo.core.config import Limits
from metaembed_demo.core.text import bytes_text, normalised, short_name
from metaembed_demo.core.types import Upload

# Bytes, lines and characters of a line in a visitor's file.
LABEL_BYTES, LABEL_LINES, LABEL_LINE = 1_000_000, 3000, 16_000
MOST_GRADE = 1_000_000
Judged = dict[str, dict[str, int]]  # query id -> corpus id -> grade, above 0 only


class BadLabels(ValueError):
    """A file is not taken. The message names it, and the line or query."""


@dataclass(frozen=True)
class AskedLine:
    """A line of queries.jsonl. at: its number, from 1; image: the path of its picture, empty without one."""

    at: int
    text: str
    image: str


def parse_queries(text: str, called: str) -> dict[str, AskedLine]:
    """Query id -> its line. `called`: what messages call the file. Raises BadLabels."""
    found: dict[str, AskedLine] = {}
    for at, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
            key, image = str(value["_id"]), str(value.get("image") or "")
            asked = AskedLine(at, str(value.get("text") or ""), image)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise bad_line(called, at, error) from error
        if key in found:
            raise BadLabels(f"{called}, line {at}: the id {short_name(key)!r} was used before.")
        found[key] = asked
    if not found:
        raise BadLabels(f"{called} holds no query.")
    return found


def bad_line(called: str, at: int, error: Exception) -> BadLabels:
    return BadLabels(f'{called}, line {at}: {error!r}. A line is {{"_id": ..., "text": ...}}.')


def parse_judgements(text: str, called: str) -> Judged:
    """Judgements with a grade above 0. `called`: what messages call the file. Raises BadLabels."""
    judged: Judged = {}
    rows = csv.reader(text.splitlines(), delimiter="\t", quoting=csv.QUOTE_NONE)
    try:
        for at, row in enumerate(rows, 1):
            if not any(cell.strip() for cell in row):
                continue
            score = _grade(row)
            if score is None:
                if at == 1:
                    continue  # the header
                raise BadLabels(
                    f"{called}, line {at}: wanted query id, corpus id and grade, with tabs between."
                )
            if score > MOST_GRADE:
                raise BadLabels(f"{called}, line {at}: the grade is above {MOST_GRADE:,}.")
            if score > 0:
                query_id, corpus_id = (cell.strip() for cell in row[:2])
                judged.setdefault(query_id, {})[corpus_id] = score
    except csv.Error as error:
        raise BadLabels(f"{called}: {error}.") from error
    return judged


def _grade(row: list[str]) -> int | None:
    """The grade in a row, cut above MOST_GRADE; None when it is not one of query id, corpus id and grade."""
    try:
        _, _, grade = row
        return int(min(float(grade), MOST_GRADE + 1))
    except (ValueError, OverflowError):
        return None


def decoded(data: bytes, called: str) -> str:
    """The text of a file. Raises BadLabels when it is not UTF-8."""
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadLabels(f"{called} is not UTF-8 text: {error}") from error


def read(queries: Upload, qrels: Upload, limits: Limits) -> tuple[dict[str, str], Judged]:
    """The texts of the judged queries, and their judgements, under the same ids.

    Raises:
        BadLabels: when a file is missing, malformed or too large, or a query has a picture or is too long.
    """
    asked = parse_queries(_bounded(queries), queries.name)
    for number, line in enumerate(asked.values(), 1):
        if line.image:
            where = f"{queries.name}, line {line.at}"
            raise BadLabels(f"{where}: image queries are not supported; use text.")
        if not normalised(line.text).strip():
            raise BadLabels(f"{queries.name}, line {line.at}: the query has no text.")
        if len(line.text) > limits.max_query_characters:
            most = limits.max_query_characters
            raise BadLabels(f"Query {number} is too long: {most:,} characters are taken.")
    judged = parse_judgements(_bounded(qrels), qrels.name)
    texts = {key: line.text for key, line in asked.items() if key in judged}
    if not texts:
        raise BadLabels(f"No query of {queries.name} has a judgement above 0.")
    return texts, {key: judged[key] for key in texts}


def _bounded(file: Upload) -> str:
    """The text of a visitor's file. Raises BadLabels when there is more than is read."""
    try:
        size = file.path.stat().st_size
        if size > LABEL_BYTES:
            raise BadLabels(
                f"{file.name} is too large ({bytes_text(size)}): {bytes_text(LABEL_BYTES)} are read."
            )
        text = decoded(file.path.read_bytes(), file.name)
    except OSError as error:
        raise BadLabels(f"{file.name} could not be read: {error.strerror}.") from error
    lines = text.splitlines()
    if len(lines) > LABEL_LINES:
        raise BadLabels(f"{file.name} has {len(lines):,} lines: {LABEL_LINES:,} are read.")
    for at, line in enumerate(lines, 1):
        if len(line) > LABEL_LINE:
            raise BadLabels(f"{file.name}, line {at} is too long: {LABEL_LINE:,} characters are read.")
    return text
