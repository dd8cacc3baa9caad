"""The demo: a breach of a real ladder on a real control plane, commented while it happens. `python -m demo --help`."""
