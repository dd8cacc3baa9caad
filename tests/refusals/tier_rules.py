"""Rules within one tier, and durations that must not be zero."""

from __future__ import annotations

from tests.refusals.case import ABSENT, both, ladder, put

TIER_RULES = (
    ladder(
        "trigger_without_threshold",
        put("tiers", 1, "triggers", 1, "below", ABSENT),
        "spec.tiers[1].triggers[1]",
        "needs exactly one of above and below: two directions are two indicators, none is no threshold",
    ),
    ladder(
        "trigger_with_both_thresholds",
        put("tiers", 1, "triggers", 1, "above", 1),
        "spec.tiers[1].triggers[1]",
        "needs exactly one of above and below: two directions are two indicators, none is no threshold",
    ),
    ladder(
        "clears_above_its_threshold",
        put("tiers", 0, "triggers", 0, "clearsAt", 0.11),
        "spec.tiers[0].triggers[0].clearsAt",
        "clearsAt must not be greater than above: a breach clears on the safe side of its threshold",
    ),
    ladder(
        "clears_below_its_threshold",
        put("tiers", 0, "triggers", 2, "clearsAt", 0.5),
        "spec.tiers[0].triggers[2].clearsAt",
        "clearsAt must not be less than below: a breach clears on the safe side of its threshold",
    ),
    ladder(
        "tier_named_baseline",
        both(put("tiers", 0, "name", "baseline"), put("indicators", 0, "whenStale", "high")),
        "spec.tiers[0].name",
        "a tier must not be named baseline: that is what no breached tier is called",
    ),
    ladder(
        "contain_on_timeout_without_containment",
        put("tiers", 0, "onTimeout", "Contain"),
        "spec.tiers[0].onTimeout",
        "onTimeout: Contain has nothing left to do: add a containment with when: OnTimeout or OnDecision, or use Hold",
    ),
    ladder(
        "contain_on_timeout_when_contained_at_once",
        put("tiers", 1, "onTimeout", "Contain"),
        "spec.tiers[1].onTimeout",
        "onTimeout: Contain has nothing left to do: add a containment with when: OnTimeout or OnDecision, or use Hold",
    ),
    ladder(
        "timeout_without_deadline",
        both(put("tiers", 0, "acknowledge", ABSENT), put("tiers", 0, "decide", ABSENT)),
        "spec.tiers[0].onTimeout",
        "onTimeout: Escalate needs a deadline: add acknowledge or decide, or use Hold",
    ),
    ladder(
        "containment_on_a_timeout_that_holds",
        put("tiers", 1, "containment", "when", "OnTimeout"),
        "spec.tiers[1].containment.when",
        "containment.when: OnTimeout needs onTimeout: Contain, otherwise nothing would ever contain the model",
    ),
    ladder(
        "containment_on_a_decision_nobody_is_asked_for",
        both(
            put("tiers", 1, "containment", "when", "OnDecision"),
            put("tiers", 1, "decide", ABSENT),
            put("tiers", 1, "acceptRisk", ABSENT),
        ),
        "spec.tiers[1].containment.when",
        "containment.when: OnDecision needs decide, otherwise nobody would be asked to decide",
    ),
    ladder(
        "containment_that_nobody_can_end",
        both(
            put("tiers", 1, "decide", ABSENT), put("tiers", 1, "resume", ABSENT), put("tiers", 1, "acceptRisk", ABSENT)
        ),
        "spec.tiers[1].containment",
        "containment needs resume or decide, otherwise nobody could restore the model",
    ),
    ladder(
        "accept_risk_without_decide",
        put("tiers", 1, "decide", ABSENT),
        "spec.tiers[1].acceptRisk",
        "acceptRisk needs decide: its quorum is who accepts the risk",
    ),
    ladder(
        "reminders_rarer_than_the_deadline",
        put("tiers", 0, "acknowledge", {"within": "23h59m", "remindEvery": "1d"}),
        "spec.tiers[0].acknowledge.remindEvery",
        "remindEvery (1d) must not be longer than within (23h59m): no reminder would be sent before the deadline",
    ),
    ladder(
        "reminders_that_an_etcd_does_not_survive",
        put("tiers", 0, "acknowledge", {"within": "24h", "remindEvery": "9s"}),
        "spec.tiers[0].acknowledge.remindEvery",
        "remindEvery (9s) must not be shorter than 10s: every reminder is several writes to the API server",
    ),
    ladder(
        "fallback_missing",
        put("tiers", 1, "containment", "action", "Fallback"),
        "spec.tiers[1].containment.fallback",
        "action Fallback needs fallback: name the service and selector, or the httpRoute and backend, to use",
    ),
    ladder(
        "fallback_half_service",
        put("tiers", 1, "containment", "fallback", {"service": "credit-scorer"}),
        "spec.tiers[1].containment.fallback",
        "needs either service and selector, or httpRoute and backend",
    ),
    ladder(
        "fallback_half_route",
        put("tiers", 1, "containment", "fallback", {"backend": "rules"}),
        "spec.tiers[1].containment.fallback",
        "needs either service and selector, or httpRoute and backend",
    ),
    ladder(
        "steps_not_growing",
        put("tiers", 1, "resume", "steps", ["50%", "10%", "100%"]),
        "spec.tiers[1].resume.steps",
        "steps must grow strictly and end with 100%, for example [10%, 50%, 100%]",
    ),
    ladder(
        "steps_repeated",
        put("tiers", 1, "resume", "steps", ["50%", "50%", "100%"]),
        "spec.tiers[1].resume.steps",
        "steps must grow strictly and end with 100%, for example [10%, 50%, 100%]",
    ),
    ladder(
        "steps_unfinished",
        put("tiers", 1, "resume", "steps", ["10%", "50%"]),
        "spec.tiers[1].resume.steps",
        "steps must grow strictly and end with 100%, for example [10%, 50%, 100%]",
    ),
    *(
        ladder(
            f"zero_{'_'.join(str(step) for step in location)}",
            put(*location, "0h0s"),
            f"spec.{path}",
            "must be longer than zero, for example 30m",
        )
        for path, location in {
            "drillWithin": ("drillWithin",),
            "charter.review.every": ("charter", "review", "every"),
            "indicators[1].staleAfter": ("indicators", 1, "staleAfter"),
            "tiers[1].acknowledge.remindEvery": ("tiers", 1, "acknowledge", "remindEvery"),
            "tiers[1].decide.within": ("tiers", 1, "decide", "within"),
            "tiers[1].containment.within": ("tiers", 1, "containment", "within"),
            "tiers[1].acceptRisk.atMost": ("tiers", 1, "acceptRisk", "atMost"),
            "tiers[1].resume.watchFor": ("tiers", 1, "resume", "watchFor"),
            "tiers[1].clocks[0].within": ("tiers", 1, "clocks", 0, "within"),
        }.items()
    ),
)
