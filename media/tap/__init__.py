"""A hidden receive-only participant: LiveKit signalling and encoded media."""
