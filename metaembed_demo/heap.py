"""Memory that was freed goes back to the system.

glibc keeps what many threads have freed, in pieces: under load a server that holds 1.3 GB grew past 1.7 GB,
and a host counts the latter.
"""

from __future__ import annotations

import ctypes
from functools import cache
from typing import Any


def trim() -> bool:
    """Give freed memory back. Returns whether there was any; False where the C library cannot."""
    found = _trimmer()
    return bool(found and found(0))


@cache
def _trimmer() -> Any:
    try:
        return ctypes.CDLL(None).malloc_trim
    except (OSError, TypeError, AttributeError):  # no glibc: musl, macOS, Windows
        return None
