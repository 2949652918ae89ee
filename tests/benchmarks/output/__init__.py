"""Telling the results: tables, JSON, a picture."""
