"""The machine that measures, and the versions that matter, for reports and exports."""

from __future__ import annotations

import os
import platform
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import metaembed_demo

LIBRARIES = ("numpy", "numba", "faiss-cpu", "tantivy")  # of what scores pages


def machine() -> dict[str, Any]:
    """Cores, Python and processor."""
    return {"cpus": os.cpu_count(), "python": platform.python_version(), "processor": processor()}


def described() -> str:
    """The machine in a line, such as "2 cores, EPYC, Linux x86_64"."""
    parts = [f"{os.cpu_count()} cores", processor(), f"{platform.system()} {platform.machine()}"]
    return ", ".join(part for part in parts if part)


@cache
def versions() -> str:
    """This package, Python, and the libraries that score pages, in a line."""
    found = [f"metaembed-demo {metaembed_demo.__version__}", f"Python {platform.python_version()}"]
    for name in LIBRARIES:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    return ", ".join(found)


def processor() -> str:
    """The processor's name, "" where the system does not tell."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            return next(line.split(":", 1)[1].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration, IndexError):
        return platform.processor()
