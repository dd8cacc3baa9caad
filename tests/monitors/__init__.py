"""What monitors send, as files, and what becomes of it."""
