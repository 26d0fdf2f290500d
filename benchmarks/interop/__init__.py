"""Whether others read what we write, and find the same: `python -m benchmarks.interop`."""
