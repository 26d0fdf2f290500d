"""Tests of what benchmarks are made from."""
