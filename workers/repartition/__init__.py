"""Changing the number of partitions."""
