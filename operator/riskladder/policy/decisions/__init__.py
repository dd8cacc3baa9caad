"""Decisions of people: whether each counts, and what it does."""
