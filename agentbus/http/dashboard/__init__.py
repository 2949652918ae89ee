"""The dashboard: pages for whoever looks after an installation, thin over the operations, as the commands are."""
