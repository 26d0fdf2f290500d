"""MetaEmbed demo: one multi-vector index, searched at any token budget (arXiv 2509.18095)."""

__version__ = "0.1.0"
