"""The demo: a breach of a real ladder on a real control plane, told while it happens. `python -m demo --help`."""
