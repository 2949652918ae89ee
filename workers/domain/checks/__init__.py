"""Checks of what an input would make of a session: its limits, and which status may follow which."""
