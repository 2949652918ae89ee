"""What a test leaves behind fails that test, and not an innocent one in which the collector happens to find it.

`plugin` looks after each test, its fixtures torn down, for what was not there before it: threads, open files and
sockets, event loops, child processes, temporary folders, and asyncio tasks that a loop had to cancel when it was
closed. What a fixture of a wider scope opens belongs to that scope.
"""
