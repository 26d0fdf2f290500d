"""Encoders: pages and queries to Meta Token embeddings."""
