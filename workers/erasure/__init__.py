"""Erasing a user, part by part: finding, conversations, records, archive, receipts."""
