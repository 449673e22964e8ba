"""The participant and the service around it."""
