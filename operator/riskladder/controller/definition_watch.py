"""Looks at the CustomResourceDefinitions for all ladders at once, logs what is found, and keeps the metric."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import structlog

from riskladder import __version__
from riskladder.cluster.client import Client
from riskladder.cluster.definitions import APPLY, Definitions, Finding, State
from riskladder.cluster.resources import OWN
from riskladder.policy.installation import DefinitionFindings, judge_definitions

LOOK_EVERY, LOOK_AGAIN = 30.0, 9.0
"""Seconds for which one look is shared, of a small request for each kind: where all is well, and otherwise."""

_OF_THE_OPERATOR = frozenset(resource.title for resource in OWN)
"""The definitions of what the operator writes: of bindings it knows nothing."""

log = structlog.get_logger(__name__)


class DefinitionWatch:
    """Knows whether the kinds store what this version writes."""

    def __init__(
        self, client: Client, *, observe: Callable[[str, str], None], changed: Callable[[], None] = lambda: None
    ) -> None:
        """Look through this client.

        Args:
            client: Where to look.
            observe: Called with the name and state of each definition.
            changed: Called when something else is found than before.
        """
        self._definitions = Definitions(client)
        self._observe = observe
        self._changed = changed
        self._looking = asyncio.Lock()
        self._known: tuple[float, DefinitionFindings] | None = None
        self.were_usable = False
        """Whether they were usable once, or nobody may see: from then on the process is ready."""

    @property
    def known(self) -> DefinitionFindings | None:
        """What was found last; ``None`` where nobody has looked."""
        return self._known[1] if self._known is not None else None

    @property
    def wait(self) -> float:
        """Seconds for which what was found is believed."""
        return LOOK_EVERY if self.known is not None and self.known.is_current else LOOK_AGAIN

    async def findings(self) -> DefinitionFindings:
        """Return what is not as it should be, half a minute old at most; nothing is raised."""
        async with self._looking:
            if self._known is not None and time.monotonic() - self._known[0] < self.wait:
                return self._known[1]
            seen = await self._definitions.look()
            for one in seen:
                self._observe(one.name, str(one.state))
            before, found = self.known, findings(seen)
            self._known = (time.monotonic(), found)
            self.were_usable = self.were_usable or found.is_usable
            if found != before:
                self._say(seen, found)
                if before is not None:
                    self._changed()
            return found

    def _say(self, seen: tuple[Finding, ...], found: DefinitionFindings) -> None:
        verdict = judge_definitions(found)
        hashes = {one.name: one.hash for one in seen if one.hash}
        level = log.info if verdict.status else log.warning
        level("custom resources", reason=str(verdict.reason), message=verdict.message, hashes=hashes)


def findings(seen: tuple[Finding, ...]) -> DefinitionFindings:
    """Return what of a look is to be said."""

    def of(*states: State, needed: bool | None = None) -> dict[str, str]:
        return {
            one.name: one.what for one in seen if one.state in states and needed in (None, one.name in _OF_THE_OPERATOR)
        }

    lost = (State.OUTDATED, State.MISSING)
    remedies = [one.remedy for one in seen if one.state is not State.CURRENT]
    return DefinitionFindings(
        outdated=of(*lost, needed=True),
        altered=of(State.ALTERED) | of(*lost, needed=False),
        newer=of(State.NEWER),
        unknown=of(State.UNKNOWN),
        version=__version__,
        remedy=remedies[0] if remedies else APPLY,
    )
