"""Advice on what is written, before it is live: ladders, and signals against them."""
