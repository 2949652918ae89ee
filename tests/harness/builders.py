"""Builders of contracts: those of the conformance suite, by the name that all tests know."""

from agentbus.testing.builders import *  # noqa: F403 - all of them
