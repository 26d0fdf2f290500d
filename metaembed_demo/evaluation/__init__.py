"""Evaluation: metrics, judged corpora, budget studies, baselines."""
