"""A process per room, kept running."""
