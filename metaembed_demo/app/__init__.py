"""The demo: what visitors see, one visitor's state, and the server."""
