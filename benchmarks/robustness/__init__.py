"""Bad files, mutated files and attacks on a server."""
