"""What an input, and what it leaves, must keep to."""
