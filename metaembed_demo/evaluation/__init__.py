"""Metrics, judged corpora, budget studies and baselines."""
