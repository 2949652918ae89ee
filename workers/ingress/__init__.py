"""The ingress router: finds the partition for publishers that don't."""
