"""Write requirements.lock: everything that requirements.txt pulls in, pinned, with hashes.

    pip install uv
    python scripts/lock.py                # keep the versions that are locked, as far as they still fit
    python scripts/lock.py --upgrade      # take the newest that fit

For Python 3.11 on 64-bit Linux, within constraints.txt, with the CPU build of torch. torch gets no hash: its
CPU build is published apart from the other packages, under the same version, in files of its own.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from metaembed_demo.core.config import ROOT

LOCK = ROOT / "requirements.lock"
CONSTRAINTS = ROOT / "constraints.txt"
REQUIREMENTS = ROOT / "requirements.txt"
UNHASHED = "torch"
HEADER = """\
# Everything that requirements.txt pulls in, pinned and with hashes: Python 3.11, 64-bit Linux, no GPU.
# Made by scripts/lock.py: edit requirements.txt or constraints.txt and run that again.
#
#     pip install uv && uv pip install --torch-backend cpu -r requirements.lock
#
# torch has no hash: its CPU build is published apart from the other packages. pip wants a hash of whatever it
# has to install, so with pip alone install the CPU build of this torch first, then this file.
"""


def normal(name: str) -> str:
    """A package's name as the index compares it.

    >>> normal("Shapely"), normal("huggingface_hub")
    ('shapely', 'huggingface-hub')
    """
    return re.sub(r"[-_.]+", "-", name).lower()


def pins(text: str) -> dict[str, str]:
    """Name, normalised, -> version of every pinned line of a requirements file; markers are passed over."""
    found = re.findall(r"^([A-Za-z0-9][\w.-]*)==([^\s;\\]+)", text, flags=re.MULTILINE)
    return {normal(name): version for name, version in found}


def plain(compiled: str) -> str:
    """What uv wrote, with torch as its plain version without hashes."""
    wanted = re.compile(rf"^({UNHASHED}==[^\s+]+)(?:\+\w+)?(?: \\\n +--hash=\S+)+", flags=re.MULTILINE)
    return HEADER + wanted.sub(r"\1", compiled)


def compiled(folder: Path, upgrade: bool) -> str:
    """What uv makes of the requirements; the CPU build of torch from where uv or pip finds one.

    Raises RuntimeError where uv is missing, no CPU build is to be had, or requirements contradict each other.
    """
    uv = shutil.which("uv")
    if not uv:
        raise RuntimeError("uv is not installed. Run: pip install uv")
    torch = f"{UNHASHED}=={pins(CONSTRAINTS.read_text(encoding='utf-8'))[UNHASHED]}"
    (folder / "cpu.txt").write_text(f"{torch}+cpu\n", encoding="utf-8")
    out = folder / LOCK.name
    if LOCK.exists() and not upgrade:
        out.write_text(LOCK.read_text(encoding="utf-8"), encoding="utf-8")
    command = [
        uv,
        "pip",
        "compile",
        "-q",
        REQUIREMENTS.name,
        "-c",
        CONSTRAINTS.name,
        "-c",
        str(folder / "cpu.txt"),
    ]
    command += ["-o", str(out), "--python-version", "3.11", "--python-platform", "x86_64-manylinux_2_28"]
    command += [
        "--generate-hashes",
        "--no-header",
        "--no-emit-index-url",
        "--no-emit-find-links",
        "--no-annotate",
    ]
    first = _run([*command, "--torch-backend", "cpu"])
    if first.returncode:
        wheel = _run([sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", str(folder), torch])
        if wheel.returncode or not list(folder.glob("torch-*+cpu-*.whl")):
            raise RuntimeError(f"The CPU build of {torch} is not to be had, or:\n{first.stderr}")
        second = _run([*command, "--find-links", str(folder)])
        if second.returncode:
            raise RuntimeError(second.stderr)
    return out.read_text(encoding="utf-8")


def _run(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--upgrade", action="store_true", help="take the newest versions that fit")
    options = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        try:
            text = plain(compiled(Path(folder), options.upgrade))
        except RuntimeError as error:
            print(error, file=sys.stderr)
            return 1
    LOCK.write_text(text, encoding="utf-8")
    print(f"{LOCK.name}: {len(pins(text))} packages")
    return 0


if __name__ == "__main__":
    sys.exit(main())
