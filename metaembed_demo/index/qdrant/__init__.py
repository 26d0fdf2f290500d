"""The multi-vector index on Qdrant."""
