"""Sandbox protocol: pages round-trip, and invalid messages are rejected."""

from __future__ import annotations

import io
import json
import os
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from metaembed_demo.core.types import Page, View, Word
from metaembed_demo.documents.sandbox import protocol


def packed_page() -> tuple[protocol.Message, list[bytes]]:
    words = (Word("naïve", (0.1, 0.2, 0.3, 0.4)), Word("tiger", (0.0, 0.0, 1.0, 1.0), "visual"))
    image = Image.effect_noise((7, 5), 90).convert("RGB")
    return protocol.pack_page(Page("0123456789abcdef0123", "a.pdf", 3, image, words, ((0.0, 0.1, 0.2, 0.3),)))


def test_a_page_comes_out_as_it_went_in() -> None:
    message, blobs = packed_page()
    pipe = io.BytesIO()
    protocol.send(pipe, message, blobs)
    pipe.seek(0)
    found = protocol.unpack_page(*protocol.receive(pipe))
    assert protocol.pack_page(found) == (message, blobs)
    view = View((0.0, 0.0, 1.0, 1.0), np.arange(1280, dtype=np.float32), np.full(1000, 0.5, np.float32))
    done = found.with_words(found.words[:1], [view])
    again = protocol.unpack_reading(found, *protocol.pack_reading(done))
    assert again.words == done.words
    np.testing.assert_array_equal(again.views[0].features, view.features)
    with pytest.raises(EOFError):
        protocol.receive(pipe)


@pytest.mark.parametrize(
    "sent",
    [
        b"\xff\xff\xff\xff",
        b"\0\0\0\x02[]",
        b"\0\0\0\x02{}",
        b'\0\0\0\x10{"blobs": [-99]}',
        b'\0\0\0\x17{"blobs": [99999999999]}',
        b"\0\0\x27\x10" + b"[" * 10_000,
        b"\0\0\0\x40" + pickle.dumps(os.getcwd).ljust(64, b"."),
    ],
)
def test_bytes_that_are_no_message_are_refused(sent: bytes) -> None:
    with pytest.raises(protocol.Garbled):
        protocol.receive(io.BytesIO(sent + bytes(99)))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=300, deadline=None)
@given(
    field=st.sampled_from(["id", "source", "number", "size", "words", "pictures"]),
    value=JSON,
    cut=st.integers(0, 9),
)
def test_a_page_that_cannot_be_is_refused(field: str, value: object, cut: int) -> None:
    """Any value of a field yields a page of plain types, or Garbled."""
    message, [pixels] = packed_page()
    message = json.loads(json.dumps({**message, field: value}))
    try:
        page = protocol.unpack_page(message, [pixels[cut:]])
    except protocol.Garbled:
        return
    assert page.image is not None
    assert len(page.image.tobytes()) == len(pixels) - cut
    assert all(isinstance(word.text, str) and len(word.box) == 4 for word in page.words)
    assert type(page.number) is int
    assert type(page.source) is str
