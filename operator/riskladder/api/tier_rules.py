"""CEL rules that concern one tier alone. `self` is the object that declares them; rules across tiers: ladder_rules.py.

They use nothing newer than the CEL of Kubernetes 1.30.
"""

from __future__ import annotations

from riskladder.api.base import Rule


def seconds(field: str) -> str:
    """Return CEL for a duration field in seconds. CEL's own durations know no days, so those are split off first.

    `+ '0s'` keeps what follows the days parseable when nothing does.
    """
    days = f"({field}.contains('d') ? int({field}.substring(0, {field}.indexOf('d'))) * 86400 : 0)"
    return f"{days} + duration({field}.substring({field}.indexOf('d') + 1) + '0s').getSeconds()"


TRIGGER = (
    Rule(
        "has(self.above) != has(self.below)",
        "needs exactly one of above and below: two directions are two indicators, none is no threshold",
    ),
    Rule(
        "!has(self.clearsAt) || !has(self.above) || self.clearsAt <= self.above",
        "clearsAt must not be greater than above: a breach clears on the safe side of its threshold",
        field_path=".clearsAt",
    ),
    Rule(
        "!has(self.clearsAt) || !has(self.below) || self.clearsAt >= self.below",
        "clearsAt must not be less than below: a breach clears on the safe side of its threshold",
        field_path=".clearsAt",
    ),
)

ACKNOWLEDGE = (
    Rule(
        f"!has(self.remindEvery) || {seconds('self.remindEvery')} <= {seconds('self.within')}",
        "remindEvery must not be longer than within: no reminder would be sent before the deadline",
        "'remindEvery (' + self.remindEvery + ') must not be longer than within (' + self.within + "
        "'): no reminder would be sent before the deadline'",
        field_path=".remindEvery",
    ),
    Rule(
        f"!has(self.remindEvery) || !self.remindEvery.matches('[1-9]') || {seconds('self.remindEvery')} >= 10",
        "remindEvery must not be shorter than 10s: every reminder is several writes to the API server",
        "'remindEvery (' + self.remindEvery + ') must not be shorter than 10s: every reminder is several writes to the "
        "API server'",
        field_path=".remindEvery",
    ),
)

FALLBACK = (
    Rule(
        "(has(self.service) && has(self.selector) && !has(self.httpRoute) && !has(self.backend)) || "
        "(has(self.httpRoute) && has(self.backend) && !has(self.service) && !has(self.selector))",
        "needs either service and selector, or httpRoute and backend",
    ),
)

CONTAINMENT = (
    Rule(
        "self.action != 'Fallback' || has(self.fallback)",
        "action Fallback needs fallback: name the service and selector, or the httpRoute and backend, to use",
        field_path=".fallback",
        reason="FieldValueRequired",
    ),
)

RESUME = (
    Rule(
        "size(self.steps) == 0 || (self.steps[size(self.steps) - 1] == '100%' && "
        "self.steps.map(s, int(s.substring(0, size(s) - 1))).isSorted() && "
        "self.steps.all(x, self.steps.exists_one(y, y == x)))",
        "steps must grow strictly and end with 100%, for example [10%, 50%, 100%]",
        field_path=".steps",
    ),
)

TIER = (
    Rule(
        "self.name != 'baseline'",
        "a tier must not be named baseline: that is what no breached tier is called",
        field_path=".name",
    ),
    Rule(
        "self.onTimeout != 'Contain' || (has(self.containment) && self.containment.when != 'Immediately')",
        "onTimeout: Contain has nothing left to do: add a containment with when: OnTimeout or OnDecision, or use Hold",
        field_path=".onTimeout",
    ),
    Rule(
        "self.onTimeout == 'Hold' || has(self.acknowledge) || has(self.decide)",
        "onTimeout needs a deadline: add acknowledge or decide, or use Hold",
        "'onTimeout: ' + self.onTimeout + ' needs a deadline: add acknowledge or decide, or use Hold'",
        field_path=".onTimeout",
    ),
    Rule(
        "!has(self.containment) || self.containment.when != 'OnTimeout' || self.onTimeout == 'Contain'",
        "containment.when: OnTimeout needs onTimeout: Contain, otherwise nothing would ever contain the model",
        field_path=".containment.when",
    ),
    Rule(
        "!has(self.containment) || self.containment.when != 'OnDecision' || has(self.decide)",
        "containment.when: OnDecision needs decide, otherwise nobody would be asked to decide",
        field_path=".containment.when",
    ),
    Rule(
        "!has(self.containment) || has(self.resume) || has(self.decide)",
        "containment needs resume or decide, otherwise nobody could restore the model",
        field_path=".containment",
    ),
    Rule(
        "!has(self.acceptRisk) || has(self.decide)",
        "acceptRisk needs decide: its quorum is who accepts the risk",
        field_path=".acceptRisk",
    ),
)
