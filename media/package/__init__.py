"""Playlists and packaging."""
