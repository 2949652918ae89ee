"""Embedded chaos: AgentBus inside programs, on memory, SQLite and files, while they and their disks fail.

What is promised there differs from a broker's: a call of the library that returned is kept, whatever happens next. What
was published over the bus of a process is gone with it. So only faults that leave the processes alone publish as well.
"""
