"""The main job end to end, with checks of its own: `roomhand demo`, `make demo`."""
