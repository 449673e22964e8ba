"""Where finished exports go."""
