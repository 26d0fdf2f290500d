"""The app with a tiny vision-language model and three drawings."""

from __future__ import annotations

from metaembed_demo.collection.collection import Collection
from metaembed_demo.collection.stored_page import StoredPage
from metaembed_demo.core.types import Page
from metaembed_demo.encoders.base import Encoder
from tests.support import small_app
from tests.support.tiny_vlm import picture, shared


def drawings(encoder: Encoder) -> Collection:
    found = Collection.for_encoder(encoder)
    for number in range(3):
        page = Page(f"page{number}", "drawings.pdf", number + 1, picture(number, 360, 270))
        found.put(StoredPage.of(page), encoder.encode_pages([page])[0])
    return found


if __name__ == "__main__":
    vlm = shared("qwen2_5_vl")
    small_app.run(vlm, drawings(vlm))
