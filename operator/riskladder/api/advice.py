"""A piece of advice: what would be taken, and what a reviewer would ask about it."""

from __future__ import annotations

from typing import NamedTuple


class Advice(NamedTuple):
    """One piece of advice."""

    id: str
    """Names the rule, for search and for exceptions."""
    path: str
    """Where, as ``spec.tiers[0].containment.lock``."""
    message: str
    """What follows from the policy as it is."""
    remedy: str
    """What to do about it."""
