"""What is put into a worker process to see and disturb it, so that the product itself has no failpoints."""
