"""The custom resources: models, conditions, reasons and rules, and what is generated from them.

Imports nothing else of ours.
"""
