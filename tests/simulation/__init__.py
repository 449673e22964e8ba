"""A discrete-time world for controllers: links, a LiveKit-like server, publishers, a receiver; pure and seeded."""
