"""Programs beside the app: encoding a large corpus, sizing an index."""
