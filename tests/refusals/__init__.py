"""Every refusal of the API, once: tried offline by the unit tests and on a real API server by the integration tests.

A case takes a valid document, changes one thing, and says where and with which words it is refused. Cases of RULES are
CEL and must say the same in both places; cases of STRUCTURE are refused by OpenAPI, whose words are the server's own.
"""

from __future__ import annotations

from tests.refusals.binding_rules import BINDING_RULES
from tests.refusals.case import Case, put
from tests.refusals.decision_rules import DECISION_RULES
from tests.refusals.documents import DOCUMENTS, HASH, LADDER, ROOT, TIME, Document, valid
from tests.refusals.ladder_rules import LADDER_RULES
from tests.refusals.other_rules import OTHER_RULES
from tests.refusals.structure import STRUCTURE
from tests.refusals.text_rules import TEXT_RULES
from tests.refusals.tier_rules import TIER_RULES

__all__ = [
    "DOCUMENTS",
    "HASH",
    "LADDER",
    "ROOT",
    "RULES",
    "STRUCTURE",
    "TIME",
    "Case",
    "Document",
    "put",
    "valid",
]

RULES = (*LADDER_RULES, *TIER_RULES, *DECISION_RULES, *OTHER_RULES, *BINDING_RULES, *TEXT_RULES)
