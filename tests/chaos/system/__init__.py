"""The system under chaos, and everything that looks at it."""
