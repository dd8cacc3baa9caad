"""Reports from records, compared with files and among their formats."""
