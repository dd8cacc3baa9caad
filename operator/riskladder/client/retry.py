"""What is tried again, and when."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from riskladder.cluster.client import ApiError

FIRST_WAIT = 0.2
"""Seconds before the second attempt, at most; twice as many before each further one."""

MAX_WAIT = 15.0
"""Seconds between two attempts, at most, where the API server asks for no more."""

NOT_FINAL = (409, 429)
"""The only answers of 4xx after which the same may work: somebody wrote at the same time, or wrote too much."""


def pause(attempt: int, retry_after: float, chance: Callable[[], float] = random.random) -> float:
    """Return the seconds before the next attempt, jittered so that many monitors do not come back at once.

    Args:
        attempt: How many have failed before this one.
        retry_after: Seconds that the API server asked for, or 0.
        chance: A number from 0 to 1.
    """
    backoff = min(MAX_WAIT, FIRST_WAIT * 2.0 ** min(attempt, 16)) * chance()
    return retry_after + min(backoff, 1.0) if retry_after else backoff


def is_final(error: ApiError) -> bool:
    """Return whether it is of no use to send the same again.

    Admission may answer with any code, and server-side apply says 500 of a field that the cluster's schema lacks.
    """
    if error.is_denial or error.is_final:
        return True
    if error.status == 500:
        return "failed to create typed patch object" in error.message
    return 300 <= error.status < 500 and error.status not in NOT_FINAL
