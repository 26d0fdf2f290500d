"""What the commands share: errors in words, progress, tables, and how options are read."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator, Sequence

from metaembed_demo.collection.notices import in_lines
from metaembed_demo.collection.progress import Progress
from metaembed_demo.core.extras import install
from metaembed_demo.core.moments import place
from metaembed_demo.core.text import clean
from metaembed_demo.core.types import Notice, Problem


class BadInput(Exception):
    """What the user gave cannot be worked with; the message says why."""


@contextlib.contextmanager
def told() -> Iterator[None]:
    """Errors whose messages are meant for the user, as BadInput."""
    try:
        yield
    except ModuleNotFoundError as error:  # Python's; our own say what to install
        raise BadInput(missing(error)) from error
    except (ValueError, OSError, ImportError) as error:
        raise BadInput(str(error)) from error


def missing(error: ModuleNotFoundError, extra: str = "") -> str:
    """What to do about a package that is not there; `extra` of pyproject.toml brings it, or the app's own."""
    return f"The Python package {error.name} is missing: {install(extra)}"


@contextlib.contextmanager
def chatter_to_stderr() -> Iterator[None]:
    """Whatever is printed meanwhile, by Python or by a C library, goes to standard error."""
    sys.stdout.flush()
    try:
        saved = os.dup(1)
        os.dup2(2, 1)
    except OSError:  # no such descriptors, as under some servers
        saved = None
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        if saved is not None:
            os.dup2(saved, 1)
            os.close(saved)


def one_line(text: str) -> str:
    """`text` without line breaks and control characters, which file names may hold.

    >>> one_line("two\\nlines\\x1b.pdf") == "two lines\\ufffd.pdf"
    True
    """
    return clean(" ".join(text.splitlines())).replace("\t", " ")


def tell(progress: Progress) -> None:
    """A line on standard error: messages always, the mere count only where a person watches."""
    live = sys.stderr.isatty()
    if progress.message:
        print(("\r\033[K" if live else "") + one_line(progress.message), file=sys.stderr)
    elif live:
        line = one_line(f"{progress.done}/{progress.total} {place(progress.source, progress.number)}")
        print(
            f"\r\033[K{line[:78]}",
            end="" if progress.done < progress.total else "\n",
            file=sys.stderr,
            flush=True,
        )


def problems(found: Sequence[Problem]) -> list[dict[str, str]]:
    return [{"source": problem.source, "message": problem.message} for problem in found]


def notices(found: Sequence[Notice]) -> list[dict[str, str | int]]:
    return [{"source": each.source, "page": each.page, "message": each.message} for each in found]


def tell_notices(found: Sequence[Notice]) -> None:
    """Lines on standard error, one for all pages of a file with the same notice."""
    for line in in_lines(found):
        print(line.message, file=sys.stderr)


def table(head: Sequence[str], rows: Sequence[Sequence[str]], right: set[int]) -> None:
    """Print columns as wide as they need; those in `right` are aligned to the right."""
    if not rows:
        print("Nothing found.")
        return
    rows = [[one_line(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    for row in [head, *rows]:
        cells = [
            c.rjust(w) if i in right else c.ljust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True))
        ]
        print("  ".join(cells).rstrip())
