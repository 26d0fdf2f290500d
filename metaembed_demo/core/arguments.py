"""Parsers for command-line option values. They raise argparse.ArgumentTypeError."""

from __future__ import annotations

import argparse

from .budgets import Budget

MOST = 10**12  # of `count_of`


def budget_of(text: str) -> Budget:
    try:
        return Budget.parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def positive_of(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0.")
    return int(text)


def count_of(text: str) -> int:
    """As `positive_of`, also for 3e6 and 1,000,000.

    >>> count_of("3e6"), count_of("1,000"), count_of("12")
    (3000000, 1000, 12)
    """
    try:
        value = float(text.replace(",", ""))
    except ValueError:
        value = 0.0
    if not 1 <= value <= MOST or value != int(value):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 to {MOST:,}.")
    return int(value)


def share_of(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a share above 0, at most 1.")
    return value


def sizes_of(text: str) -> list[int]:
    return [positive_of(part.strip()) for part in text.split(",")]
