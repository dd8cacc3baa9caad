"""Reports from records: an account of one escalation, of a period, and the archive that they are checked from."""
