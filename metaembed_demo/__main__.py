"""The command line: `python -m metaembed_demo COMMAND`; --help lists the commands."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from metaembed_demo.cli.dispatch import run_command, run_program
from metaembed_demo.cli.parser import parser
from metaembed_demo.cli.programs import PROGRAMS


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command. Returns the exit status: 0, or 2 for bad input, which argparse raises itself."""
    argv = list(sys.argv[1:] if argv is None else argv)
    if argv and argv[0] in PROGRAMS:
        return run_program(argv[0], argv[1:])
    return run_command(parser().parse_args(argv))


if __name__ == "__main__":
    sys.exit(main())
