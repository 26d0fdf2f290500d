"""The versions of packages, for the record."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version


def versions(names: list[str]) -> dict[str, str]:
    found = {}
    for name in names:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
