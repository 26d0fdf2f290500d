"""The commands with options of their own. Their modules are loaded only when the command runs."""

from __future__ import annotations

from typing import NamedTuple


class Program(NamedTuple):
    """A command. `module` has `main(argv) -> int`, which parses the options and returns the exit status."""

    module: str
    text: str  # a line for --help
    extra: str = ""  # of pyproject.toml, that has what the command needs beyond the app


PROGRAMS = {
    "train": Program("metaembed_demo.training.mini.trainer", "Train MetaEmbed-Mini.", "train"),
    "train-vlm": Program("metaembed_demo.training.vlm.trainer", "Train on a vision-language model.", "train"),
    "leaderboard": Program("metaembed_demo.evaluation.leaderboard.run", "Public benchmarks (mteb).", "dev"),
    "samples": Program("metaembed_demo.cli.samples", "Index the sample corpus ahead of time."),
    "decide": Program("metaembed_demo.cli.decide", "The budget that keeps enough quality on an index."),
    "sizing": Program("metaembed_demo.cli.sizing", "Memory, disk and latency of N pages at every stop."),
    "encode-corpus": Program("metaembed_demo.cli.encode_corpus", "Index many files, with Ray or not.", "dev"),
}
