"""Pages and their vectors: indexing, storage, search."""
