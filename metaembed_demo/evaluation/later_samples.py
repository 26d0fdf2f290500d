"""The sample corpus where its encoder can work only once the app is served, as on ZeroGPU."""

from __future__ import annotations

import logging
import threading
from pathlib import Path

from metaembed_demo.collection.collection import Collection
from metaembed_demo.collection.progress import Report
from metaembed_demo.core.config import PATHS
from metaembed_demo.encoders.base import Encoder

from . import climbs
from .sample_corpus import Samples, Tell, open_corpus, read_samples

log = logging.getLogger(__name__)
FAILED = "The sample pages could not be encoded, so they are missing here: "


class LaterSamples:
    """An empty corpus, which `fill` fills; sessions that begin later have its pages, others can restore them.

    Nothing is measured: that would encode every judged question, on a GPU that is lent by the second.
    """

    def __init__(
        self,
        encoder: Encoder,
        corpus: Path = PATHS.sample_corpus,
        cache: Path = PATHS.cache,
        tell: Tell = print,
    ) -> None:
        self.encoder, self.corpus, self.cache, self.tell = encoder, corpus, cache, tell
        beir = open_corpus(corpus)
        self.samples = Samples(
            Collection.for_encoder(encoder), None, climbs.examples((), beir), {}, Report(finished=True)
        )
        self.told = "The sample pages are being encoded. Reload to see how far they are."

    def fill(self) -> None:
        """Encode the corpus, or open it from the cache. A failure is told and logged, not raised."""
        try:
            found = read_samples(self.encoder, self.corpus, self.cache, self._progress)
            self.samples.collection.merge(found)
        except Exception as error:  # the GPU may be refused, for its quota among others
            log.exception("The sample corpus could not be encoded")
            self.told = FAILED + (str(error) or type(error).__name__)
        else:
            self.told = ""
        self.tell(self.told or f"The {len(self.samples.collection)} sample pages are encoded.")

    def progress(self) -> str:
        """What is still being encoded, or why nothing more will be; "" when all is there."""
        return self.told

    def fill_behind(self) -> threading.Thread:
        """`fill` in a thread, which is returned."""
        thread = threading.Thread(target=self.fill, name="samples", daemon=True)
        thread.start()
        return thread

    def _progress(self, line: str) -> None:
        self.told = f"The sample pages are being encoded: {line.strip()}. Reload to see how far they are."
        self.tell(line)
