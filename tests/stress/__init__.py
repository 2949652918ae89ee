"""Stress: many users at once on few sessions and two workers, one of which is killed; then all is held to account.

`make stress` runs it for a minute. `python -m tests.stress --help` tells what can be chosen.
"""
