"""A store moved along all kinds of stores and back, killed once on the way: `make migrations`."""
