"""`python -m tests.backups.comparing URL PLACE BACKUP SHARE SHARES`: hold a share of a backup to a store."""

import asyncio
import sys

from tests.backups.run import share_is_same

if __name__ == "__main__":
    url, place, backup_id, share, shares = sys.argv[1:]
    sys.exit(not asyncio.run(share_is_same(url, place, backup_id, int(share), int(shares))))
