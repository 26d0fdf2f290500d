"""Writes the sample corpus: one module a document, each with `main()`. See __main__.py."""
