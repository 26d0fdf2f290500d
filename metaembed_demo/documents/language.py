"""Language of a page."""

from collections.abc import Sequence

from metaembed_demo.core.types import Word


def of(words: Sequence[Word]) -> str:
    return ""
