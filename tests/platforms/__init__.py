"""Fake platforms: each signs and posts what its platform would, and takes what we send, as its documentation says.

A file each; `model.py` is what they have in common, `catalog.py` all of them. A channel of ours needs one: a subclass
of `FakePlatform`, a row there, when it posts again in `retries.py`, and what it sends in `samples.py`.
"""
