"""The installation: what all processes have to agree on, checked by each."""
