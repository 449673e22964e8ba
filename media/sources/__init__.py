"""What a participant publishes: decoded frames from files and patterns."""
