"""Durable export jobs."""
