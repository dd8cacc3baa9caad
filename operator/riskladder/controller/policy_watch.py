"""Looks at the admission policies for all ladders at once, and keeps the metric of how each stands."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from riskladder.cluster.client import Client
from riskladder.cluster.policies import Finding, State, look
from riskladder.policy.installation import PolicyFindings

SHARED_FOR = 9.0
"""Seconds for which all ladders share one look, of two requests for each policy."""


class PolicyWatch:
    """Knows which admission policies are missing or altered."""

    def __init__(self, client: Client, *, observe: Callable[[str, str], None]) -> None:
        """Look through this client.

        Args:
            client: Where to look.
            observe: Called with the name and state of each policy that was checked.
        """
        self._client = client
        self._observe = observe
        self._looking = asyncio.Lock()
        self._known: tuple[float, PolicyFindings] | None = None

    async def findings(self, *, afresh: bool = False) -> PolicyFindings:
        """Return what is not in force, some seconds old at most."""
        async with self._looking:
            known = self._known
            if not afresh and known is not None and time.monotonic() - known[0] < SHARED_FOR:
                return known[1]
            seen = await look(self._client)
            for one in seen:
                self._observe(one.name, str(one.state))
            found = findings(seen)
            self._known = (time.monotonic(), found)
            return found


def findings(seen: tuple[Finding, ...]) -> PolicyFindings:
    """Return what of a look is to be said."""
    return PolicyFindings(_of(seen, State.MISSING), _of(seen, State.ALTERED), _of(seen, State.UNKNOWN))


def _of(seen: tuple[Finding, ...], state: State) -> dict[str, str]:
    return {one.name: one.what for one in seen if one.state is state}
