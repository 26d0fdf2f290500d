"""The command line: index, search, eval, bench, train."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Sequence

from metaembed_demo.cli.commands import BAD_INPUT
from metaembed_demo.cli.console import BadInput, chatter_to_stderr, missing
from metaembed_demo.cli.parser import parser

INTERRUPTED = 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command. Returns the exit status: 0, or 2 for bad input, which argparse raises itself."""
    argv = list(sys.argv[1:] if argv is None else argv)
    if argv[:1] == ["train"]:
        try:
            from metaembed_demo.training.mini.trainer import main as train  # has options of its own

            return train(argv[1:])
        except ModuleNotFoundError as error:  # some that only training needs
            print(f"metaembed_demo train: {missing(error, 'train')}", file=sys.stderr)
            return BAD_INPUT
    options = parser().parse_args(argv)
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


if __name__ == "__main__":
    sys.exit(main())
