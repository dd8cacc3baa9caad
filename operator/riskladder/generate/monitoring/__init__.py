"""The component `monitoring`: what is scraped, which alerts there are, and two boards."""
