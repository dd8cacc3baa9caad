"""The two boards: how the operator does, and how people do.

A gauge that the leader alone shows is taken by its maximum: it counts once also while one leader follows another.
"""

from __future__ import annotations

from riskladder.generate.monitoring.governance_board import GOVERNANCE_BOARD
from riskladder.generate.monitoring.operator_board import OPERATOR_BOARD

BOARDS = (OPERATOR_BOARD, GOVERNANCE_BOARD)
