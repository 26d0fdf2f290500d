"""The command line's options."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NoReturn

from metaembed_demo.collection.modes import BOTH, MEANING, MODES
from metaembed_demo.core.arguments import budget_of, positive_of, share_of, sizes_of
from metaembed_demo.core.config import SERVER
from metaembed_demo.index.quantization import KINDS

from .commands import (
    REMOTE,
    run_bench,
    run_eval,
    run_index,
    run_push,
    run_search,
    show_bench,
    show_eval,
    show_index,
    show_push,
    show_search,
)
from .programs import PROGRAMS

PLAIN = "\0"  # begins an argument that is no option, whatever it looks like; no real one can hold it
# Begins with '-' and is no option of search: words, a number, or not -h, -k, -k3.
WORDS = re.compile(r"-(?!-[\w-]+=).*\s|-(?!-|h$|k\d*$).", re.DOTALL)

LONE = re.compile(r"--[^\W_][\w-]*$")  # looks like an option
MISTYPED = 0.7  # likeness to an option from which such a word is one, mistyped


class Parser(argparse.ArgumentParser):
    """Tells arguments in its messages as they were given."""

    def error(self, message: str) -> NoReturn:
        super().error(message.replace(PLAIN, ""))


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """Read the command line. Options may stand before, between and after the other arguments.

    What follows "--" is no option, nor is a query that begins with "-" and is none of search's options.
    """
    top = parser()
    commands = next(a for a in top._actions if isinstance(a, argparse._SubParsersAction)).choices
    if not argv or argv[0] not in commands:
        return top.parse_args(argv)
    sub, rest = commands[argv[0]], list(argv[1:])
    cut = rest.index("--") if "--" in rest else len(rest)
    marked, last = [], ""
    for each in rest[:cut]:
        option = sub._option_string_actions.get(last)
        value = option is not None and option.nargs != 0
        words = argv[0] == "search" and not value and (WORDS.match(each) or _is_query(each, sub))
        marked.append(PLAIN + each if words else each)
        last = each
    marked += [PLAIN + each for each in rest[cut + 1 :]]
    return sub.parse_intermixed_args(marked, argparse.Namespace(command=argv[0]))


def _is_query(argument: str, sub: argparse.ArgumentParser) -> bool:
    """Whether what looks like an option is none, nor short for one, nor one mistyped."""
    options = list(sub._option_string_actions)
    short = any(option.startswith(argument) for option in options)
    near = get_close_matches(argument, options, 1, MISTYPED)
    return bool(LONE.match(argument)) and not short and not near


def plain(argument: str) -> str:
    """An argument as it was given."""
    return argument.removeprefix(PLAIN)


def path_of(argument: str) -> Path:
    return Path(plain(argument))


def parser() -> argparse.ArgumentParser:
    """The commands and their options."""
    top = Parser(
        prog="python -m metaembed_demo",
        description="Search PDFs and pictures at any token budget.",
        epilog="Each command's own --help says more.",
    )
    commands = top.add_subparsers(dest="command", required=True)

    def command(name: str, run: Any, show: Any, text: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=text, description=text)
        sub.set_defaults(run=run, show=show)
        sub.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
        sub.add_argument("--encoder", default=SERVER.encoder, metavar="NAME", help="default: %(default)s")
        return sub

    sub = command("index", run_index, show_index, "Index PDFs, pictures, zips and folders of them.")
    sub.add_argument("paths", nargs="+", type=path_of, metavar="PATH")
    sub.add_argument("--out", required=True, type=path_of, metavar="DIR", help="an index there is added to")
    sub.add_argument(
        "--storage", choices=KINDS, help="how vectors are kept (default: as they are, or float16)"
    )
    sub.add_argument("--no-full", action="store_true", help="give the float16 vectors up for the codes")

    sub = command("search", run_search, show_search, "Find pages in an index.")
    sub.add_argument("index", type=path_of, metavar="DIR")
    sub.add_argument(
        "query", nargs="?", type=plain, default="", help="may be left out where --image is given"
    )
    sub.add_argument("--image", type=path_of, metavar="F", help="a picture to ask with")
    sub.add_argument(
        "--budget", type=budget_of, metavar="RQxRC", help="default: the encoder's largest, 16x64 of Mini"
    )
    sub.add_argument("--auto", action="store_true", help="the budget sets itself, for each query")
    sub.add_argument("-k", type=positive_of, default=10, help="number of hits (default: %(default)s)")
    sub.add_argument(
        "--language", type=str.lower, default="", metavar="CODE", help="pages in one language alone, as de"
    )
    sub.add_argument(
        "--filter",
        default="",
        metavar="PARTS",
        help="pages to search, as 'type:pdf lang:de document:\"Annual*\" pages:3-10 added:2026-11-01..'",
    )
    sub.add_argument("--mode", choices=MODES, default=BOTH, help="what ranks pages (default: %(default)s)")
    sub.add_argument(
        "--gqr", type=int, default=0, metavar="STEPS", help="steps that move the query towards the words (0)"
    )
    sub.add_argument("--complement", metavar="NAME", help="an encoder that refines, in place of the words")
    sub.add_argument("--exact", action="store_true", help="score every page, by its full vectors")
    sub.add_argument(
        "--recall", type=share_of, metavar="R", help="of the exact best, above 5,000 pages (0.99)"
    )
    sub.add_argument("--refine", type=positive_of, metavar="N", help="score N again by the full vectors")
    sub.add_argument("--qdrant", type=plain, metavar="LOCATION", help="find the pages there; see push")
    sub.add_argument("--name", default=REMOTE, help="the collection on Qdrant (default: %(default)s)")

    sub = command("push", run_push, show_push, "Copy an index's vectors to Qdrant (docs/qdrant.md).")
    sub.add_argument("index", type=path_of, metavar="DIR")
    sub.add_argument(
        "location", type=plain, metavar="LOCATION", help="http://HOST:6333, a folder, or edge:FOLDER"
    )
    sub.add_argument("--name", default=REMOTE, help="the collection there (default: %(default)s)")
    sub.add_argument("--shards", type=positive_of, default=1)
    sub.add_argument("--replicas", type=positive_of, default=1)

    sub = command("eval", run_eval, show_eval, "Quality, latency and bytes at the five budgets.")
    sub.add_argument(
        "folder", type=path_of, metavar="BEIR_DIR", help="corpus files, queries.jsonl, qrels/test.tsv"
    )
    sub.add_argument("--baselines", action="store_true", help="also BM25 and MiniLM on the same words")
    sub.add_argument("--each", action="store_true", help="in the JSON, also nDCG@5 of every query")
    sub.add_argument("--index", type=path_of, metavar="DIR", help="keep the index there and use it again")
    sub.add_argument("--mode", choices=MODES, default=MEANING, help="what ranks pages (default: %(default)s)")
    sub.add_argument("--gqr", type=int, default=0, metavar="STEPS", help="refine queries, in mode both (0)")
    sub.add_argument("--auto", action="store_true", help="also the budget that sets itself, by meaning")
    sub.add_argument(
        "--trec", type=path_of, metavar="DIR", help="write TREC runs, one a budget, and qrels.txt there"
    )
    sub.add_argument(
        "--runs", type=path_of, nargs="+", default=[], metavar="FILE", help="also TREC runs of other systems"
    )
    sub.add_argument("--per-query", type=path_of, metavar="FILE", help="write nDCG@5 of every query there")

    sub = command("bench", run_bench, show_bench, "Speed by stage and memory, in under a minute.")
    sub.add_argument("--sizes", type=sizes_of, metavar="N,N,...", help="numbers of random pages to search")

    for name, program in PROGRAMS.items():  # run by cli/dispatch.py; here for --help alone
        commands.add_parser(name, help=program.text, add_help=False)
    return top
