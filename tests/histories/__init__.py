"""Histories as people have them, each with what it should give: held by the tests, shown by `make histories`."""
