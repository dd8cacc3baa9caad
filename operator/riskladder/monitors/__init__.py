"""Monitors: what they send, taken apart into readings. Pure: no clock, no network, no cluster."""
