"""The largest ladder that the schema allows: the cost of rules is budgeted for it."""

from __future__ import annotations

import copy

from riskladder.api.base import API_VERSION
from riskladder.api.ladder import MAX_CHANNELS, MAX_INDICATORS, MAX_SOURCES, MAX_STAKEHOLDERS, MAX_TIERS
from riskladder.api.tiers import MAX_QUORUM, MAX_TRIGGERS
from tests.refusals.documents import Document


def largest_ladder() -> Document:
    """As many of everything, and as long names, as the schema allows."""

    def name(prefix: str, number: int) -> str:
        return f"{prefix}{number:0{63 - len(prefix)}d}"

    roles = [name("role", number) for number in range(MAX_STAKEHOLDERS)]
    channels = [name("channel", number) for number in range(MAX_CHANNELS)]
    indicators = [name("indicator", number) for number in range(MAX_INDICATORS)]
    quorum = [{"role": role, "count": 9} for role in roles[-MAX_QUORUM:]]
    tiers = [name("tier", number) for number in range(MAX_TIERS)]
    return {
        "apiVersion": API_VERSION,
        "kind": "EscalationLadder",
        "metadata": {"name": "largest"},
        "spec": {
            "governs": {"selector": {"matchLabels": {"app": "a"}}},
            "charter": {"owner": roles[-1]},
            "sourceContacts": [{"source": name("source", n), "role": roles[-1]} for n in range(MAX_SOURCES)],
            "blastRadius": {"atMost": "30%", "per": "99999d99999h99999m99999s", "decideWithin": "99999d"},
            "stakeholders": [
                {
                    "role": role,
                    "notify": channels[-8:],
                    "alternates": [other for other in roles[-9:] if other != role][:8],
                }
                for role in roles
            ],
            "channels": [{"name": channel, "type": "Apprise", "secretKey": "a"} for channel in channels],
            "indicators": [
                {
                    "name": name,
                    "unit": "u" * 32,
                    "range": {"min": -1.5, "max": 1e6},
                    "minSamples": 100,
                    "staleAfter": "1h",
                    "whenStale": tiers[-1],
                    "maxAge": "1d",
                }
                for name in indicators
            ],
            "tiers": [
                {
                    "name": tier,
                    "triggers": [{"indicator": name, "above": float(level)} for name in indicators[:MAX_TRIGGERS]],
                    "notify": [{"role": role} for role in roles[-16:]],
                    "acknowledge": {"within": "99999d99999h99999m99999s", "remindEvery": "99999d99999h99999m99998s"},
                    "decide": {"within": "1d", "quorum": quorum},
                    "resume": {"quorum": copy.deepcopy(quorum), "steps": [f"{step}%" for step in range(10, 101, 10)]},
                    "clocks": [{"name": f"c{number}", "within": "1d", "role": roles[-1]} for number in range(16)],
                }
                for level, tier in enumerate(tiers)
            ],
        },
    }
