"""Log lines that visitors can neither forge nor flood.

Visitors choose file names, queries and addresses, and some of them end in log messages. So control characters
are escaped, long lines are cut, tracebacks are indented, and only so many lines of one kind are written.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

FORM = "%(levelname)s %(name)s: %(message)s"
LINE = 1000  # characters
FIRST, LAST = 20, 40  # lines of a traceback; those between are left out
MOST, SECONDS = 20, 10.0  # lines of one kind in that time
KINDS = 1000  # remembered kinds of lines


def plain(text: str, most: int = LINE) -> str:
    r"""`text` in one line of at most about `most` characters, without control characters.

    >>> plain("a\nERROR forged\x1b[31m"), plain("abcdef", 3)
    ('a\\nERROR forged\\x1b[31m', 'abc… (3 more characters)')
    """
    kept = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text[:most])
    return kept if len(text) <= most else f"{kept}… ({len(text) - most:,} more characters)"


class Formatter(logging.Formatter):
    """One line per record, and an indented line per line of its traceback."""

    def __init__(self, form: str = FORM) -> None:
        super().__init__(form)

    def format(self, record: logging.LogRecord) -> str:
        record.message = record.getMessage()
        lines = [plain(self.formatMessage(record))]
        if left_out := getattr(record, "left_out", 0):
            lines[0] += f" ({left_out:,} more like it were not written)"
        if record.exc_info:
            trace = self.formatException(record.exc_info).split("\n")
            if len(trace) > FIRST + LAST:
                trace[FIRST:-LAST] = [f"… {len(trace) - FIRST - LAST} lines …"]
            lines += [f"  | {plain(line)}" for line in trace]
        return "\n".join(lines)


class Throttle(logging.Filter):
    """Lets `most` records of a logger and message through in `seconds`, and counts the others."""

    def __init__(
        self, most: int = MOST, seconds: float = SECONDS, clock: Callable[[], float] = time.monotonic
    ) -> None:
        super().__init__()
        self.most, self.seconds, self.clock = most, seconds, clock
        self._lock = threading.Lock()
        self._seen: dict[
            tuple[str, str], tuple[float, int]
        ] = {}  # when the time began, and the records in it

    def filter(self, record: logging.LogRecord) -> bool:
        kind, now = (record.name, str(record.msg)[:200]), self.clock()
        with self._lock:
            since, count = self._seen.get(kind, (now, 0))
            if now - since > self.seconds:
                record.left_out = max(0, count - self.most)
                since, count = now, 0
            if len(self._seen) >= KINDS and kind not in self._seen:
                self._seen.clear()
            self._seen[kind] = since, count + 1
        return count < self.most


def handler() -> logging.Handler:
    """A handler that writes such lines to stderr."""
    made = logging.StreamHandler()
    made.setFormatter(Formatter())
    made.addFilter(Throttle())
    return made


def configure(level: int = logging.WARNING) -> None:
    """Log to stderr, in place of the handlers that the root logger has."""
    logging.basicConfig(level=level, handlers=[handler()], force=True)


def take_over(*names: str) -> None:
    """Replace the handlers of loggers that bring their own, such as a web server's."""
    for name in names:
        logger = logging.getLogger(name)
        logger.handlers[:] = [handler()]
        logger.propagate = False
