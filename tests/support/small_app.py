"""The app with a dummy encoder and four made pages, started by tests that need limits of their own.

With LADDER in the environment, budgets it has an encoder of these stops and a page of the last level.
"""

from __future__ import annotations

import os

from metaembed_demo.app.ui.page import build_ui
from metaembed_demo.collection.collection import Collection
from metaembed_demo.collection.stored_page import StoredPage
from metaembed_demo.core import logs
from metaembed_demo.core.budgets import Budgets
from metaembed_demo.core.config import SERVER
from metaembed_demo.encoders.base import Encoder
from tests.support.dummy_encoder import DummyEncoder
from tests.support.ladder_encoder import Ladder
from tests.support.sample_pages import make_page

TEXTS = ("coffee machine descale", "energy use by quarter", "dog and cat", "holiday request form")


def samples(encoder: Encoder) -> Collection:
    found = Collection.for_encoder(encoder)
    levels = [f"level {len(encoder.budgets)}"] if isinstance(encoder, Ladder) else []
    for text in (*TEXTS, *levels):
        page = make_page(f"{text.split()[0]}.pdf", 1, text)
        found.put(StoredPage.of(page), encoder.encode_pages([page])[0])
    return found


def run(encoder: Encoder, base: Collection) -> None:
    logs.configure()  # as app.py does, before MCP's library takes the root logger
    demo, options = build_ui(encoder, base)
    demo.launch(
        server_name=SERVER.host, server_port=SERVER.port, quiet=True, prevent_thread_lock=True, **options
    )
    print("Ready in", flush=True)
    demo.block_thread()


if __name__ == "__main__":
    stops = os.environ.get("LADDER")
    chosen: Encoder = Ladder(Budgets.parse(stops)) if stops else DummyEncoder()
    run(chosen, samples(chosen))
