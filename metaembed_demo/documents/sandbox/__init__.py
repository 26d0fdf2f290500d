"""The bounded process that reads files."""
