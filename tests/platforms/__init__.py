"""Fake platforms: each signs and posts what its platform would, as the platform's documentation says."""
