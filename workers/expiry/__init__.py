"""The expiry worker: sessions end by rules, go to the archive and come back, and users are erased."""
