"""Switching a visitor to another encoder or resolution: encodes their pages again and repeats the query."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import replace
from typing import Any

from metaembed_demo.app.views import documents_tab
from metaembed_demo.collection.collection import Collection
from metaembed_demo.collection.progress import Progress
from metaembed_demo.collection.reencode import keep_as, missing, no_room, reencode, vectors_in
from metaembed_demo.core.config import PATHS
from metaembed_demo.core.types import Embedding
from metaembed_demo.encoders.base import Encoder
from metaembed_demo.encoders.registry import load_encoder, multilingual_beside
from metaembed_demo.evaluation import sample_calibrations
from metaembed_demo.evaluation.shipped_samples import read_vectors
from metaembed_demo.explain.explainer import explainer
from metaembed_demo.explain.page_cache import PageCache

from .page_state import DocumentsTab
from .tools import KNOWN, Tools
from .upload_queue import PROGRESS_EVERY_S, uploads_of
from .visitor import Visit

log = logging.getLogger(__name__)


class Encoders:
    """The encoders that visitors may choose from. Each is loaded once, on first use."""

    def __init__(
        self,
        names: Sequence[str],
        first: Tools,
        base: Collection,
        load: Callable[[str], Encoder] = load_encoder,
    ) -> None:
        """`first` and `base` are the tools and the sample corpus of the first of `names`."""
        self.names = tuple(names)
        self._load = load
        self._lock = threading.Lock()
        # By name and visual tokens per page; 0: the encoder's default.
        self._tools = {(self.names[0], 0): first} if self.names else {}
        self._samples = base
        self._bases = {first.encoder.fingerprint: base}
        if self.names:
            first.complements.add(self.names[0], first.encoder)

    def tools(self, name: str, tokens: int = 0) -> Tools:
        """An encoder's tools, with at most `tokens` visual tokens per page; 0: the encoder's default.

        Raises ValueError or FileNotFoundError when it is not offered or cannot be loaded.
        """
        if name not in self.names:
            raise ValueError(
                f"There is no encoder called {name} here. Choose one of {', '.join(self.names)}."
            )
        with self._lock:  # loading two large models at once may exhaust memory
            if (name, 0) not in self._tools:
                self._tools[name, 0] = made = self._with(self._load(name), multilingual_beside(name))
                made.complements.add(name, made.encoder)
            if (name, tokens) not in self._tools:
                encoder: Any = self._tools[name, 0].encoder
                if tokens not in getattr(encoder, "resolutions", ()):
                    raise ValueError(f"{name} cannot read pages at {tokens} visual tokens.")
                self._tools[name, tokens] = self._with(encoder.at(tokens), multilingual_beside(name))
            return self._tools[name, tokens]

    def _with(self, encoder: Encoder, reader: str) -> Tools:
        plain = next(iter(self._tools.values()))
        # The quality curve was measured with the first encoder.
        return replace(
            plain,
            encoder=encoder,
            explainer=explainer(encoder),
            curve=None,
            notice="",
            reader=reader,
            token_statistics=PageCache(KNOWN),
            sample_statistics={},
        )

    def loaded(self, name: str) -> bool:
        return (name, 0) in self._tools

    def limits(self, name: str) -> tuple[int, ...]:
        """Maximum visual tokens per page: the default, then the other options. Empty if not adjustable."""
        encoder: Any = self._tools[name, 0].encoder if self.loaded(name) else None
        chosen = getattr(encoder, "resolutions", ())
        return (encoder.max_visual_tokens, *chosen) if chosen else ()

    def known(self, encoder: Encoder) -> Collection | None:
        """The sample corpus under `encoder`, as far as it is known or shipped."""
        with self._lock:
            if encoder.fingerprint not in self._bases:
                made = read_vectors(PATHS.shipped_vectors, encoder, self._samples.pages)
                if made is not None:
                    made.calibrations = sample_calibrations.shipped(encoder.fingerprint)
                    self._bases[encoder.fingerprint] = made
            return self._bases.get(encoder.fingerprint)

    def base(self, encoder: Encoder, collection: Collection, samples: Collection) -> Collection:
        """The sample corpus under `encoder`, with the vectors of a visitor's `collection` where it has them.

        `samples` is the corpus under the previous encoder. Everything except the vectors is taken from it,
        because a visitor's pages may carry the names of their own files.
        """
        with self._lock:
            known = self._bases.get(encoder.fingerprint, Collection.for_encoder(encoder))
            if len(known) < len(samples):
                made = Collection.for_encoder(encoder)
                for page in samples.pages.values():
                    held = (vectors_in(each, page) for each in (known, collection))
                    if (vectors := next((each for each in held if each is not None), None)) is not None:
                        made.put(page, Embedding(vectors))
                self._bases[encoder.fingerprint] = known = made
            return known

    def choice(self, tools: Tools) -> tuple[str, int]:
        """The name of these tools, by default the first, and their visual tokens per page (0: default)."""
        found = (made for made, each in list(self._tools.items()) if each.encoder is tools.encoder)
        return next(found, (self.names[0] if self.names else "", 0))


def switch(visit: Visit, encoders: Encoders, name: str, tokens: int = 0) -> Iterator[DocumentsTab]:
    """Encode the visitor's pages with the encoder `name` and switch to it. A stop changes nothing.

    tokens: visual tokens per page, one of `encoders.limits`; 0: the encoder's default.
    """
    if visit.switching:  # a second click
        yield DocumentsTab(busy=True)
        return
    visit.switching = True
    try:
        yield from _switch(visit, encoders, name, tokens)
    finally:
        visit.switching = False


def _switch(visit: Visit, encoders: Encoders, name: str, tokens: int) -> Iterator[DocumentsTab]:
    visit.stop.clear()
    if not encoders.loaded(name):
        yield DocumentsTab(documents_tab.loading(name), busy=True)
    try:
        tools = encoders.tools(name, tokens)
    except Exception as error:  # a model that fails to load must not end the visit
        if not isinstance(error, (ValueError, FileNotFoundError)):
            log.exception("The encoder %s did not load", name)
        yield visit.documents_tab(documents_tab.refused(name, str(error) or type(error).__name__))
        return
    if why := no_room(visit.collection, tools.encoder):
        yield visit.documents_tab(documents_tab.refused(name, why))
        return
    yield DocumentsTab(documents_tab.progress(0, len(visit.collection), tools.encoder.name, 0), busy=True)
    made = yield from _read(visit, encoders, tools)
    if made is None:
        why = "Stopped. The pages stay with the encoder before."
        yield visit.documents_tab(documents_tab.refused(name, why))
        return
    yield visit.documents_tab(
        documents_tab.switched(tools.encoder.name, tools.encoder.device, len(made), tokens)
    )


def _read(visit: Visit, encoders: Encoders, tools: Tools) -> Generator[DocumentsTab, None, Collection | None]:
    """Encode the pages and switch to them. Returns them, or None after a stop, or a switch in another tab.

    Uploads that run go on with the encoder before; the switch waits for them, and brings their pages along.
    """
    old, uploads = visit.collection, uploads_of(visit.session)
    made, stored = Collection.for_encoder(tools.encoder), False
    known, last = encoders.known(tools.encoder), 0.0

    def ready() -> bool:
        same = visit.collection is old and not visit.stop.is_set()
        return same and not uploads.busy and not missing(made, old)

    while not visit.stop.is_set() and visit.collection is old:
        for step in reencode(old, tools.encoder, visit.stop, known, made):
            if isinstance(step, Progress) and time.monotonic() - last >= PROGRESS_EVERY_S:
                last = time.monotonic()
                yield DocumentsTab(
                    documents_tab.progress(step.done, step.total, step.source, step.number), busy=True
                )
        if not stored and not visit.stop.is_set():
            encoders.base(tools.encoder, made, visit.session.base)  # from full vectors, not from codes
            keep_as(made, old)
            stored = True
        if ready():
            base = encoders.base(tools.encoder, made, visit.session.base)
            if visit.take_over(tools, made, base, ready):
                return made
        visit.stop.wait(PROGRESS_EVERY_S)
        yield DocumentsTab(uploads.state().news or None, busy=True)
    return None
