"""`riskladder ingest`: takes what monitors send over HTTP, and has no right of its own to report any of it."""
