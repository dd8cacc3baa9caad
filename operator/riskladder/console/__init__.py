"""The console: pages on which people see escalations and decide, each with their own credential."""
