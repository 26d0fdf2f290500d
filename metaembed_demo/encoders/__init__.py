"""Pages and queries to Meta Token embeddings."""
