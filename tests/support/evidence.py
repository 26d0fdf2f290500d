"""Evidence without its progress."""

from __future__ import annotations

from metaembed_demo.core.types import Page
from metaembed_demo.encoders.attribution import Evidence
from metaembed_demo.encoders.base import Explainable


def evidence_of(encoder: Explainable, page: Page) -> Evidence:
    """The evidence of a page, whatever it costs."""
    *_, found = encoder.page_evidence(page)
    assert not isinstance(found, tuple)
    return found
