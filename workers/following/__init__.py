"""What happened, read from the log by those who missed it: of one session, and of all in one order."""
