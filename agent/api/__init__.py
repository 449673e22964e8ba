"""The control HTTP API, its events and its page."""
