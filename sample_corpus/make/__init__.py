"""Writes the sample corpus: one module a document, each with `build(path)`. See __main__.py."""
