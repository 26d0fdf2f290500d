"""The app on ZeroGPU: the real package `spaces`, a server that lends GPUs, and CUDA as a stub."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from gradio_client import Client

from metaembed_demo.core.config import ROOT
from metaembed_demo.core.types import Query
from metaembed_demo.encoders.vlm.checkpoints import load_vlm, save_vlm
from metaembed_demo.encoders.vlm.export import export_multi_vector
from metaembed_demo.evaluation.sample_corpus import read_samples
from tests.support import tiny_vlm
from tests.support.app_server import START_S, free_port

pytestmark = pytest.mark.slow

LENT = {"idle": True, "nvidiaIndex": 0, "nvidiaUUID": "stub", "allowToken": "token"}


@dataclass
class Lender:
    """The server that a Space asks for GPUs; `asked` has (path, its parameters) in order."""

    address: str = ""
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list)

    @contextmanager
    def serving(self) -> Iterator[Lender]:
        asked = self.asked

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                found = urlsplit(self.path)
                asked.append((found.path, {k: v[0] for k, v in parse_qs(found.query).items()}))
                body = json.dumps(LENT if found.path == "/schedule" else {}).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Quiet."""

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{server.server_port}"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield self
        finally:
            server.shutdown()

    def paths(self) -> list[str]:
        return [path for path, _ in self.asked]


def corpus(folder: Path) -> Path:
    """Three pictures, without questions."""
    (folder / "files").mkdir(parents=True)
    for i in range(3):
        tiny_vlm.picture(i, 120, 90).save(folder / f"files/drawing {i}.png")
    return folder


@contextmanager
def served(folder: Path, lender: Lender, encoder: str, others: str) -> Iterator[tuple[str, Path]]:
    """app.py's address, and the file of what it says."""
    port, said = free_port(), folder / "said.txt"
    (folder / "cgroup").write_text("0::/stub\n")
    ours = {name: value for name, value in os.environ.items() if not name.startswith("METAEMBED_")}
    settings = {
        "PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]),
        "HOME": str(folder),
        "SPACE_ID": "someone/demo",
        "SPACES_ZERO_GPU": "true",
        "SPACES_ZERO_DEVICE_API_URL": lender.address,
        "ZEROGPU_OFFLOAD_DIR": str(folder / "tensors"),
        "ZEROGPU_PROC_SELF_CGROUP_PATH": str(folder / "cgroup"),
        "METAEMBED_ENCODER": encoder,
        "METAEMBED_ENCODERS": others,
        "METAEMBED_CACHE": str(folder / "cache"),
        "METAEMBED_HOST": "127.0.0.1",
        "METAEMBED_PORT": str(port),
        "METAEMBED_WORKER": "0",
        "METAEMBED_VLM_DTYPE": "float32",
        "OMP_NUM_THREADS": "1",
    }
    with said.open("w") as out:
        app = subprocess.Popen(
            [sys.executable, "-m", "tests.support.zero_gpu_app", str(corpus(folder / "corpus"))],
            env=ours | settings,
            cwd=ROOT,
            stdout=out,
            stderr=subprocess.STDOUT,
        )
        try:
            wait_for(lambda: "Ready in" in said.read_text(), app, said)
            yield f"http://127.0.0.1:{port}", said
        finally:
            app.terminate()
            app.wait(60)


def wait_for(done: object, app: subprocess.Popen[bytes], said: Path) -> None:
    assert callable(done)
    end = time.monotonic() + START_S
    while not done():
        assert app.poll() is None, said.read_text()
        assert time.monotonic() < end, said.read_text()
        time.sleep(0.2)


def test_spaces_is_imported_before_all_that_imports_torch() -> None:
    body = ast.parse((ROOT / "app.py").read_text()).body
    names = [ast.unparse(node) for node in body]
    first = next(i for i, line in enumerate(names) if "import spaces" in line)
    assert all(line.startswith(('"""', "'", "from __future__", "import ")) for line in names[:first])
    assert not any("torch" in line or "metaembed" in line or "gradio" in line for line in names[1:first])


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a checkpoint of ours, and one for sentence-transformers."""
    folder = tmp_path_factory.mktemp("checkpoints")
    base = tiny_vlm.saved_backbone("qwen2_vl", folder / "base")
    save_vlm(tiny_vlm.encoder("qwen2_vl", source=base, rank=2), folder / "ours")
    export_multi_vector(tiny_vlm.encoder("idefics3"), folder / "theirs")
    return folder


@pytest.mark.parametrize(("first", "other"), [("ours", "theirs"), ("theirs", "ours")])
def test_the_app_works_on_gpus_that_it_asks_for_once_it_is_served(
    checkpoints: Path, tmp_path: Path, first: str, other: str
) -> None:
    expected = load_vlm(checkpoints / first)
    assert expected.device == "CPU"
    (query,) = expected.encode_queries([Query("a drawing")])
    read = read_samples(expected, corpus(tmp_path / "same"), tmp_path / "other", print)
    pages = read.index.full(list(read.pages))
    with Lender().serving() as lender:
        names = str(checkpoints / first), f"mini,{checkpoints / other}"
        with served(tmp_path, lender, *names) as (address, said):
            assert f"{expected.name} on CUDA" in said.read_text()
            end = time.monotonic() + START_S
            while "sample pages are encoded" not in said.read_text():
                assert time.monotonic() < end, said.read_text()
                time.sleep(0.2)
            client = Client(address, verbose=False)
            found = client.predict("a drawing", "16x64", 3, api_name="/search", mode="meaning")
            best = found["hits"][0]
            told = client.predict(best["page_id"], "a drawing", "16x64", api_name="/explain")
    assert "did not load" not in said.read_text(), "every encoder is placed"
    scores = sorted((float((query.vectors @ page.T).max(1).sum()) for page in pages), reverse=True)
    assert [hit["score"] for hit in found["hits"]] == pytest.approx(scores, abs=0.02)  # float16 in the index
    assert told["score"] == pytest.approx(best["score"], abs=1e-3)
    cells = {"ours": 12, "theirs": 16}[first]  # of Qwen's grid, and of four tiles
    assert len(told["explanation"]["words"]) == cells
    assert "do not add up" in told["explanation"]["unit"]
    paths = lender.paths()
    assert paths[0] == "/startup-report", "packed, and no GPU asked for before the launch"
    assert paths.count("/schedule") == paths.count("/release") == 4
    asked = [details["durationSeconds"] for path, details in lender.asked if path == "/schedule"]
    assert asked[:3] == ["14", "12", "12"], "10 s and 1.5 s an item: three pages, a query, and again"
    assert asked[3:] == [str(round(10 + 1.5 * cells))], "a whole pass a cell at most"
    assert not any(details.get("fail") == "true" for _, details in lender.asked)
