"""Tests of visitors, views and the server."""
