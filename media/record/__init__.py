"""Recordings on disk: segments, journal, manifest, recovery."""
