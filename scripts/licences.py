"""The licence of every locked package, as its own metadata states it: the table of docs/licences.md.

    python scripts/licences.py              # print it
    python scripts/licences.py --write      # put it into docs/licences.md

Run it in an environment that holds what requirements.lock names.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterable, Sequence
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from metaembed_demo.core.config import ROOT
from scripts.lock import LOCK, pins

DOCUMENT = ROOT / "docs" / "licences.md"
BEGIN, END = "<!-- table: packages -->", "<!-- end -->"
LONGEST = 60  # characters; a longer "License" is the whole text of one
LINKS = (
    "homepage",
    "home",
    "source",
    "source code",
    "source_code",
    "repository",
    "code",
    "github",
    "documentation",
)


def row(name: str, version: str) -> str:
    """One line of the table. Raises PackageNotFoundError where the package is not installed."""
    found = distribution(name)
    return f"| {name} | {version} | {licence(found)} | {project(found)} |"


def licence(found: Distribution) -> str:
    """What the package says of itself: an SPDX expression, a short name, classifiers, or its LICENSE file."""
    stated = _field(found, "License").strip()
    if expression := _field(found, "License-Expression"):
        return expression
    if stated and len(stated) <= LONGEST and "\n" not in stated and stated.upper() != "UNKNOWN":
        return stated
    classifiers = [
        c.split(" :: ")[-1] for c in found.metadata.get_all("Classifier") or [] if c.startswith("License ::")
    ]
    return ", ".join(classifiers) or _headline(found) or "not stated"


def _field(found: Distribution, name: str) -> str:
    return next(iter(found.metadata.get_all(name) or []), "")


def _headline(found: Distribution) -> str:
    """The first line of the licence file, where the metadata name no licence."""
    for file in found.files or []:
        if re.fullmatch(r"(LICEN[CS]E|COPYING)(\.\w+)?", file.name):
            lines = (
                Path(str(file.locate())).read_text(encoding="utf-8", errors="replace").strip().splitlines()
            )
            return f"{lines[0].strip()} (its {file.name} file)" if lines else ""
    return ""


def project(found: Distribution) -> str:
    """Where the package comes from: its home page, else its sources, else its documentation."""
    pairs = (entry.partition(", ") for entry in found.metadata.get_all("Project-URL") or [])
    links = {label.strip().lower(): url.strip() for label, _, url in pairs}
    urls = [_field(found, "Home-page")] + [links[label] for label in LINKS if label in links]
    return next((url for url in urls if url.startswith("http")), "none given")


def table(pinned: Iterable[tuple[str, str]]) -> str:
    lines = ["| package | version | licence | project |", "|---|---|---|---|"]
    return "\n".join(lines + [row(name, version) for name, version in pinned])


def filled(text: str, made: str) -> str:
    """`text` with `made` between the marks. Raises ValueError where the marks are missing."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{DOCUMENT.name} has no {BEGIN} ... {END}.")
    return f"{before}{BEGIN}\n\n{made}\n\n{END}{after}"


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--write", action="store_true", help="put the table into docs/licences.md")
    options = parser.parse_args(argv)
    try:
        made = table(pins(LOCK.read_text(encoding="utf-8")).items())
    except PackageNotFoundError as error:
        print(f"{error.name} is locked but not installed. Install requirements.lock first.", file=sys.stderr)
        return 1
    if options.write:
        DOCUMENT.write_text(filled(DOCUMENT.read_text(encoding="utf-8"), made), encoding="utf-8")
    else:
        print(made)
    return 0


if __name__ == "__main__":
    sys.exit(main())
