"""The commands with options of their own, none of which is loaded before it is asked for."""

from __future__ import annotations

from typing import NamedTuple


class Program(NamedTuple):
    """`module` has `main(argv) -> int`, which reads the options and returns the exit status."""

    module: str
    text: str  # a line for --help


PROGRAMS = {
    "train": Program("metaembed_demo.training.mini.trainer", "Train MetaEmbed-Mini."),
    "train-vlm": Program("metaembed_demo.training.vlm.trainer", "Train on a vision-language model."),
    "leaderboard": Program("metaembed_demo.evaluation.leaderboard.run", "Public benchmarks, through mteb."),
    "samples": Program("metaembed_demo.evaluation.sample_corpus", "Index the sample corpus ahead of time."),
    "encode-corpus": Program("metaembed_demo.cli.encode_corpus", "Index many files, with Ray or without."),
}
