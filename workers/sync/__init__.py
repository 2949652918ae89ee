"""The sync worker: what one session of a person learns, their linked sessions learn."""
