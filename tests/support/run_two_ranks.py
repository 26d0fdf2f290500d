"""Two processes that train together, as a launcher of accelerate's starts them, on the CPU."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from metaembed_demo.core.config import ROOT
from tests.support.app_server import free_port

Processes = list[subprocess.Popen[bytes]]


@contextmanager
def two_ranks(program: str, folder: Path, **more: str) -> Iterator[Processes]:
    """Both run `program` with `folder` as its argument; `more` are variables of theirs."""
    common = os.environ | {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    common |= {"ACCELERATE_USE_CPU": "true", "PYTHONPATH": str(ROOT), **more}
    ranks = [
        subprocess.Popen(
            [sys.executable, "-c", program, str(folder)],
            env=common | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
            stderr=subprocess.PIPE,
        )
        for rank in (0, 1)
    ]
    try:
        yield ranks
    finally:  # one that waits for another that has failed would wait for ever
        for process in ranks:
            process.kill()


def finished(ranks: Processes, seconds: float) -> None:
    """Wait for all; none may fail."""
    for process in ranks:
        _, said = process.communicate(timeout=seconds)
        assert process.returncode == 0, said.decode()[-3000:]
