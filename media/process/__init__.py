"""Transcoding and other work on recorded media."""
