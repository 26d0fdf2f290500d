"""Pages with their vectors: adding, keeping, searching."""
