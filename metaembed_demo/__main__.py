"""The command line: `python -m metaembed_demo COMMAND`; --help lists the commands."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Sequence

from metaembed_demo.cli.dispatch import run_command, run_program
from metaembed_demo.cli.parser import parse
from metaembed_demo.cli.programs import PROGRAMS


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command. Returns the exit status: 0, or 2 for bad input, which argparse raises itself."""
    argv = list(sys.argv[1:] if argv is None else argv)
    with contextlib.suppress(AttributeError):  # no name of a file or word of a page may stop the output
        sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    if argv and argv[0] in PROGRAMS:
        return run_program(argv[0], argv[1:])
    return run_command(parse(argv))


if __name__ == "__main__":
    sys.exit(main())
