"""Pages with their vectors: indexing, keeping, searching."""
