"""How long a test waits for what must happen."""

from typing import Final

PATIENCE: Final = 120.0
"""Seconds. Only a test that fails waits so long; it is far above what anything takes, since busy cores make all slow.

What must happen within a time that somebody was promised has that time in its own test.
"""
