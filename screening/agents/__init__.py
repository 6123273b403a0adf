"""Doors for language models: the MCP server, its tools, and `ask`."""
