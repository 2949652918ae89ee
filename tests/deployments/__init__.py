"""How it is deployed, held to what reads such files; `make deployments`."""
