"""Serving runtimes: one adapter each. Facts in, evidence and JSON patches out; no I/O and no clock."""
