"""The expiry and sync workers under kills, repeats, shuffled events and load: what holds, and the figures."""
