"""The tracking worker: figures of how sessions are used, from the logs, kept as records."""
