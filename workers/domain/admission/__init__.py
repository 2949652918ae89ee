"""Whether an input is taken: who may give it, to which session, past what."""
