"""Bytes and time: sources, RTP receive, recording, packaging, export and delivery."""
