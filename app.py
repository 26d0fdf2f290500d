"""The demo: load the encoder, open the sample corpus, serve the page. Hugging Face Spaces run this file."""

from __future__ import annotations

import importlib.util
import os
import signal
import sys
import time

if os.environ.get("SPACES_ZERO_GPU") and importlib.util.find_spec("spaces"):
    import spaces  # noqa: F401  # before torch, which it teaches about ZeroGPU

from metaembed_demo.app.ui.page import build_ui
from metaembed_demo.collection import layout_worker
from metaembed_demo.core import logs
from metaembed_demo.core.config import SERVER, SPACE
from metaembed_demo.documents import language
from metaembed_demo.encoders.registry import MINI, affordable, load_encoder, place
from metaembed_demo.evaluation.later_samples import LaterSamples
from metaembed_demo.evaluation.sample_corpus import open_samples
from metaembed_demo.index import maxsim_kernels

logs.configure()
STARTED = time.perf_counter()


def say(line: str) -> None:
    print(line, flush=True)


name, notice = affordable(SERVER.encoder)
if SPACE.zero_gpu:  # weights that are moved to the GPU later would be moved there at every call
    place([name, *(other for other in SERVER.encoders if other != name)])
encoder = load_encoder(name)
later = LaterSamples(encoder, tell=say) if SPACE.zero_gpu and name not in MINI else None
samples = later.samples if later else open_samples(encoder, tell=say)
demo, options = build_ui(
    encoder,
    samples.collection,
    samples.curve,
    samples.examples,
    notice,
    answers=samples.answers,
    told=later.progress if later else None,
)

if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # so that uploads are removed then, too
    pages, documents = len(samples.collection), len(samples.collection.documents())
    seconds = time.perf_counter() - STARTED
    try:
        demo.launch(
            server_name=SERVER.host,
            server_port=SERVER.port,
            quiet=True,
            prevent_thread_lock=True,
            **options,
        )
    except ValueError:
        # Gradio gives its page three seconds to answer. A busy machine takes longer, and serves all the same.
        if not demo.is_running:
            raise
    say(f"Address   http://{SERVER.host}:{SERVER.port}")
    say(f"Encoder   {encoder.name} on {encoder.device}" + (f": {notice}" if notice else ""))
    say(f"Corpus    {pages} pages of {documents} documents, {samples.report.added} of them indexed just now")
    say(f"Ready in  {time.perf_counter() - STARTED:.1f} s ({seconds:.1f} s before serving)")
    maxsim_kernels.load_behind()
    language.load_behind()
    if later:
        later.fill_behind()
    else:
        samples.draw_behind()
    layout_worker.load_behind()
    demo.block_thread()
