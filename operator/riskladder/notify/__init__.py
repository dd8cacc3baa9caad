"""Notification channels: what a message says, and how it reaches people."""
