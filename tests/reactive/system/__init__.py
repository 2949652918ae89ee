"""The system that the trials try: processes, events on detours, prepared conversations."""
