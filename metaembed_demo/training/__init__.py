"""Matryoshka Multi-Vector Retrieval: the loss and the trainers."""
