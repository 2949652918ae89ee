"""Everything on this machine, for a try: servers of one's own, and all workers in this process."""
