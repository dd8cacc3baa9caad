"""Signals: readings to tiers, the streams of one ladder together, and the status of each signal."""
