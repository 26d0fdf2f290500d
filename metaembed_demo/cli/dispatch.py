"""From the command's name to what runs it, and from how that ends to an exit status."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import sys
from collections.abc import Sequence

from .commands import BAD_INPUT
from .console import BadInput, chatter_to_stderr, missing
from .programs import PROGRAMS

INTERRUPTED = 130


def run_program(name: str, argv: Sequence[str]) -> int:
    """Run a command with options of its own; its module is loaded here. Returns the exit status."""
    program = PROGRAMS[name]
    try:
        return int(importlib.import_module(program.module).main(argv))
    except ModuleNotFoundError as error:
        print(f"metaembed_demo {name}: {missing(error, program.extra)}", file=sys.stderr)
        return BAD_INPUT


def run_command(options: argparse.Namespace) -> int:
    """Run a command whose options `parser` has read, and show its result. Returns the exit status."""
    out = sys.stdout
    try:
        with chatter_to_stderr() if options.json else contextlib.nullcontext():
            result = options.run(options)
    except BadInput as error:
        print(f"metaembed_demo {options.command}: {error}", file=sys.stderr)
        return BAD_INPUT
    if options.json:
        json.dump(result, out, indent=1)  # ASCII, so that no file name can break it
        out.write("\n")
        out.flush()
    else:
        options.show(result)
    return INTERRUPTED if result.get("interrupted") else 0
