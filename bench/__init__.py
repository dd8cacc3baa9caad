"""How fast the operator is, against a floor, on a real control plane: `python -m bench --help`.

Nothing here asserts a time: machines differ, and a benchmark that fails on a slow one is soon switched off. It measures
the operator and the floor in turns, in one run, so that their ratio means something on any machine.
"""
