"""Channels: what a chat system sends us becomes our messages, and what bots answer becomes its own."""
