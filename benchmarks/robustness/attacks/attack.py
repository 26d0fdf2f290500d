"""What an attack is, and the list of all."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from .client import Field

Run = Callable[[Field], None]


@dataclass(frozen=True)
class Attack:
    """One attack.

    point: its kind, 1 to 8: ids, index files, parsing, connections, shares, quotas, identity, counting.
    settings: environment variables of its server.
    seconds: until it is ended, whatever it does.
    load: it slows others and reads nothing, so it may run again and again beside visitors.
    """

    name: str
    point: int
    what: str
    run: Run
    settings: dict[str, str] = field(default_factory=dict)
    seconds: float = 60.0
    load: bool = False


ATTACKS: list[Attack] = []


def attack(
    point: int, what: str, load: bool = False, seconds: float = 60.0, **settings: str
) -> Callable[[Run], Run]:
    """Add the function to the list; settings: METAEMBED_ variables, without that beginning."""

    def add(run: Run) -> Run:
        variables = {f"METAEMBED_{name}": value for name, value in settings.items()}
        ATTACKS.append(Attack(run.__name__.rstrip("_"), point, what, run, variables, seconds, load))
        return run

    return add
