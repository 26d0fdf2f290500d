"""The same index on Qdrant."""
