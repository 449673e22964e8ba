"""What a room says, and what is published to it and subscribed from it, through the LiveKit SDK."""
