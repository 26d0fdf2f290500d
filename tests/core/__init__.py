"""Tests of metaembed_demo/core, and of what holds for every room."""
