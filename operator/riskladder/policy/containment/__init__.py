"""Containment: what is chosen, how far it has got, what holds it, and how it ends."""
