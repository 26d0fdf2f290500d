"""`python -m benchmarks.interop --environments DIR` writes benchmarks/results/interop.json.

Checkpoints of tiny random backbones opened by sentence-transformers and PyLate, the sample corpus' index
searched by fast-plaid and Qdrant, its TREC runs judged by ir_measures. Each foreign program is a process that
imports nothing of this project; where its pins are not ours it has an environment of its own in DIR, made at
first (two with torchvision: 2 GB each with CPU builds, else 6). docs/interoperability.md says what was found.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from benchmarks import RESULTS
from metaembed_demo import __version__
from metaembed_demo.core.config import PATHS
from metaembed_demo.encoders.mini.encoder import Mini
from metaembed_demo.evaluation.sample_corpus import open_samples

from . import checkpoint, index, trec
from .environments import python_of

BACKBONES = ("qwen2_vl", "qwen2_5_vl", "qwen3_vl", "idefics3", "smolvlm", "mllama")
# PaliGemma cannot be exported. The transformers that PyLate needs has no ModernVBERT.
OPENED = {"sentence_transformers": (*BACKBONES, "modernvbert"), "pylate": BACKBONES}
PARTS = ("sentence_transformers", "pylate", "plaid", "qdrant", "trec")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--environments", type=Path, required=True, metavar="DIR")
    parser.add_argument("--only", choices=PARTS, nargs="+", default=PARTS, help="others stay as they were")
    parser.add_argument("--out", type=Path, default=RESULTS / "interop.json")
    options = parser.parse_args()
    found = json.loads(options.out.read_text()) if options.out.exists() else {}
    for part in options.only:
        with tempfile.TemporaryDirectory() as folder:
            result = measured(part, options.environments, Path(folder))
        today = datetime.now(timezone.utc).date().isoformat()
        found[part] = {"date": today, "metaembed_demo": __version__, **result}
        options.out.write_text(json.dumps(found, indent=1) + "\n")
        print(json.dumps({part: found[part]}, indent=1), flush=True)


def measured(part: str, environments: Path, folder: Path) -> dict[str, Any]:
    if part in OPENED:
        return opened(part, python_of(part, environments), folder)
    encoder = Mini.load(PATHS.mini_weights)
    collection = open_samples(encoder).collection
    if part == "trec":
        return trec.check(python_of("trec", environments), collection, encoder, folder)
    # qdrant-client is in the lock as it is.
    python = python_of("pylate", environments) if part == "plaid" else Path(sys.executable)
    return index.check(part, python, collection, encoder, folder)


def opened(by: str, python: Path, folder: Path) -> dict[str, Any]:
    rows = [checkpoint.check(name, by, python, folder / name) for name in OPENED[by]]
    versions = rows[0]["versions"]
    return {
        "tolerance": checkpoint.TOLERANCE,
        "rows": [{key: value for key, value in row.items() if key != "versions"} for row in rows],
        "versions": versions,
    }


if __name__ == "__main__":
    main()
