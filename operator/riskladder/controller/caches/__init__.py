"""The caches: every watched object cut down to what decisions need, and the joins between them."""
