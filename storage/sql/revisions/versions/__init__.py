"""The revisions: what each changes in the tables of the one before it."""
