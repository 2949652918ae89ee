"""What somebody hostile sends: made from seeds, so that the same seed sends the same."""
