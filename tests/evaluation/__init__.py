"""Tests of metrics and studies."""
