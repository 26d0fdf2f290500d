"""Environments of their own for packages whose pins are not ours, outside .venv and the lock."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

# What PyLate allows, fast-plaid among it. transformers 5.3.0, the newest of that, misplaces pictures in time
# in Qwen2.5-VL. torchvision and num2words are what processors of pictures need (Qwen's, SmolVLM's).
PACKAGES = {
    "sentence_transformers": (
        "sentence-transformers==6.2.0",
        "transformers==5.23.0",
        "torch==2.14.1",
        "torchvision==0.29.1",
        "num2words",
    ),
    "pylate": (
        "pylate==1.6.0",
        "fast-plaid==1.4.6.2110",
        "torch==2.11.0",
        "torchvision==0.26.0",
        "transformers==5.2.0",
        "num2words",
    ),
    "trec": ("ir-measures==0.4.3",),
}


def python_of(name: str, folder: Path) -> Path:
    """The interpreter of the environment `name`, a key of PACKAGES; it is made in `folder` at first.

    With the CPU build of torch where that is to be had, else with the one that pip finds.

    Raises:
        subprocess.CalledProcessError: when a package cannot be installed.
    """
    place = folder.resolve() / name
    python, made = place / "bin" / "python", place / "made"
    if not made.is_file():
        print(f"Making the environment {place}", flush=True)
        subprocess.run([sys.executable, "-m", "venv", "--clear", place], check=True)
        uv = [sys.executable, "-m", "uv", "pip", "install", "-q", "--python", python]
        on_cpu = [*uv, "--torch-backend", "cpu", *PACKAGES[name]]
        once = {**os.environ, "UV_HTTP_RETRIES": "1"}
        if subprocess.run(on_cpu, env=once, stderr=subprocess.DEVNULL).returncode:
            pip = [python, "-m", "pip", "install", "-q", "--no-cache-dir"]
            subprocess.run([*pip, *PACKAGES[name]], check=True)
        made.touch()
    return python


def run_foreign(python: Path, script: str, *given: object) -> None:
    """Run foreign/`script` by `python`, without this project on its path, one thread, no hub.

    Raises:
        RuntimeError: with the end of what it said, when it fails.
    """
    path = Path(__file__).with_name("foreign") / script
    command = [str(python), "-Es", str(path), *map(str, given)]
    quiet = {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "PATH": "/usr/bin:/bin"}
    ran = subprocess.run(command, env=quiet, cwd=path.parent, capture_output=True, text=True)
    if ran.returncode:
        raise RuntimeError(f"{script} ended with {ran.returncode}:\n{ran.stderr[-3000:]}")
