"""The loop of a sandboxed process: bounds on its resources, then one answer for each request.

documents/sandbox/pool.py starts it as `python -m MODULE MEGABYTES FOLDER`, with a memory limit and a
temporary folder.
"""

from __future__ import annotations

import contextlib
import faulthandler
import json
import os
import queue
import shutil
import sys
import threading
from collections.abc import Callable, Sequence
from typing import Any

from metaembed_demo.core import logs

from . import protocol

Request = dict[str, Any]
Answer = tuple[protocol.Message, Sequence[bytes]]
CLOSED: protocol.Message = {"is": "closed"}  # to "close", which follows every file


def limit_resources(megabytes: int, file_bytes: int) -> None:
    """Set memory, file size and core limits of this process and its children, where supported."""
    try:
        import resource
    except ImportError:  # Windows
        return
    bounds = {resource.RLIMIT_CORE: 0, resource.RLIMIT_FSIZE: file_bytes}
    if megabytes:
        # Allocated memory. RLIMIT_AS also counts reserved memory: with torch and onnxruntime that is three
        # times as much, and grows with the number of cores.
        bounds[resource.RLIMIT_DATA] = megabytes << 20
    for name, most in bounds.items():
        with contextlib.suppress(ValueError, OSError):  # keep a lower limit that is already set
            resource.setrlimit(name, (most, most))


def serve(answer: Callable[[Request], Answer], file_bytes: int) -> None:
    """Answer requests over stdin and stdout until the app closes the pipe or exits.

    answer: executes a request. file_bytes: of one file it may write.
    """
    # Output of libraries and child processes must not corrupt the message stream.
    requests, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    with open(os.devnull, "rb") as nothing:
        os.dup2(nothing.fileno(), 0)
    os.dup2(2, 1)
    faulthandler.enable()
    logs.configure()
    limit_resources(int(sys.argv[1]), file_bytes)
    waiting: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()

    def listen() -> None:
        for line in requests:
            waiting.put(json.loads(line))
        # The app is gone: exit at once, even within a page, and remove the temporary files.
        shutil.rmtree(sys.argv[2], ignore_errors=True)
        os._exit(0)

    threading.Thread(target=listen, daemon=True).start()
    protocol.send(answers, {"is": "ready"})
    while True:
        protocol.send(answers, *answer(waiting.get()))
