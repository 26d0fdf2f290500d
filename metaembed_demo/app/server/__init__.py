"""The server: API, MCP, access, limits and launch."""
