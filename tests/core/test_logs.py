"""Log lines that name what a visitor chose."""

from __future__ import annotations

import logging

from metaembed_demo.core.logs import FIRST, LAST, LINE, Formatter, Throttle


def record(message: str, *args: object, fault: BaseException | None = None) -> logging.LogRecord:
    trace = (type(fault), fault, fault.__traceback__) if fault else None
    return logging.LogRecord("app", logging.WARNING, "", 0, message, args, trace)


def test_a_name_neither_forges_a_line_nor_steers_a_terminal() -> None:
    told = Formatter().format(record("%s is no PDF", "a\nERROR root: broken in\r\x1b[2J\u202e.pdf"))
    assert told == r"WARNING app: a\nERROR root: broken in\r\x1b[2J\u202e.pdf is no PDF"
    told = Formatter().format(record("%s", "x" * 50_000))
    assert len(told) < LINE + 50
    assert told.endswith("more characters)")


def test_a_traceback_is_indented_and_cut() -> None:
    try:
        raise ValueError("a\nERROR root: broken in\x1b[2J" + "\nmore" * 5000)
    except ValueError as error:
        told = Formatter().format(record("failed", fault=error)).split("\n")
    assert told[0] == "WARNING app: failed"
    assert all(line.startswith("  | ") for line in told[1:])
    assert len(told) == 1 + FIRST + LAST + 1
    assert "\x1b" not in "".join(told)


def test_a_flood_is_counted_instead_of_written() -> None:
    now = [0.0]
    throttle = Throttle(most=3, seconds=10, clock=lambda: now[0])
    assert [throttle.filter(record("out of files")) for _ in range(2000)].count(True) == 3
    assert throttle.filter(record("something else"))
    now[0] = 11
    last = record("out of files")
    assert throttle.filter(last)
    assert Formatter().format(last) == "WARNING app: out of files (1,997 more like it were not written)"
