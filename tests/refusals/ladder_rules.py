"""Rules across the parts of a ladder, and those of its smaller parts."""

from __future__ import annotations

from collections.abc import Sequence

from tests.refusals.case import ABSENT, Case, ladder, put

_ADD_ROLE = "add it to spec.stakeholders or correct the name"


def _unknown_role(name: str, location: Sequence[str | int], what: str) -> Case:
    return ladder(
        name,
        put("tiers", 1, *location, "nobody"),
        "spec.tiers",
        f"tier high: {what} names the unknown role nobody: {_ADD_ROLE}",
    )


LADDER_RULES = (
    ladder(
        "source_contact_unknown",
        put("sourceContacts", 0, "role", "nobody"),
        "spec.sourceContacts",
        f"source drift-monitor: sourceContacts names the unknown role nobody: {_ADD_ROLE}",
    ),
    ladder(
        "owner_unknown",
        put("charter", "owner", "nobody"),
        "spec.charter.owner",
        f"charter.owner names the unknown role nobody: {_ADD_ROLE}",
    ),
    ladder(
        "channel_unknown",
        put("stakeholders", 3, "notify", 1, "fax"),
        "spec.stakeholders",
        "stakeholder legal: notify names the unknown channel fax: add it to spec.channels or correct the name",
    ),
    ladder(
        "alternate_unknown",
        put("stakeholders", 1, "alternates", ["ml-platform", "nobody"]),
        "spec.stakeholders",
        f"stakeholder data-science: alternates names the unknown role nobody: {_ADD_ROLE}",
    ),
    ladder(
        "alternate_of_itself",
        put("stakeholders", 3, "alternates", ["legal"]),
        "spec.stakeholders",
        "stakeholder legal: a role must not be its own alternate: name somebody else",
    ),
    ladder(
        "when_stale_unknown_tier",
        put("indicators", 0, "whenStale", "severe"),
        "spec.indicators",
        "indicator demographic_parity_difference: whenStale names the unknown tier severe: "
        "add it to spec.tiers or correct the name",
    ),
    ladder(
        "when_stale_without_stale_after",
        put("indicators", 0, "staleAfter", ABSENT),
        "spec.indicators[0].staleAfter",
        "whenStale needs staleAfter: say after what silence the indicator is stale",
    ),
    ladder(
        "max_age_that_no_reading_meets",
        put("indicators", 0, "maxAge", "59s"),
        "spec.indicators[0].maxAge",
        "maxAge (59s) must not be shorter than 1m: a reading takes its time to arrive, and would never be counted",
    ),
    ladder(
        "range_of_nothing",
        put("indicators", 0, "range", {}),
        "spec.indicators[0].range",
        "needs min or max: say between which values the indicator lies, or leave range out",
    ),
    ladder(
        "range_upside_down",
        put("indicators", 0, "range", {"min": 1.5, "max": 0.5}),
        "spec.indicators[0].range.min",
        "min must be smaller than max: give both ends in the unit of the indicator",
    ),
    ladder(
        "range_of_one_value",
        put("indicators", 0, "range", {"min": 0.5, "max": 0.5}),
        "spec.indicators[0].range.min",
        "min must be smaller than max: give both ends in the unit of the indicator",
    ),
    ladder(
        "indicator_unknown",
        put("tiers", 1, "triggers", 0, "indicator", "accuracy"),
        "spec.tiers",
        "tier high: triggers names the unknown indicator accuracy: add it to spec.indicators or correct the name",
    ),
    _unknown_role("notified_role_unknown", ("notify", 2, "role"), "notify"),
    _unknown_role("deciding_role_unknown", ("decide", "quorum", 0, "role"), "decide.quorum"),
    _unknown_role("resuming_role_unknown", ("resume", "quorum", 1, "role"), "resume.quorum"),
    _unknown_role("clock_role_unknown", ("clocks", 0, "role"), "clocks"),
    ladder(
        "thresholds_above_fall",
        put("tiers", 1, "triggers", 0, "above", 0.09),
        "spec.tiers",
        "indicator demographic_parity_difference: thresholds above must grow from each tier to the next higher one",
    ),
    ladder(
        "thresholds_above_equal",
        put("tiers", 1, "triggers", 0, "above", 0.10),
        "spec.tiers",
        "indicator demographic_parity_difference: thresholds above must grow from each tier to the next higher one",
    ),
    ladder(
        "thresholds_below_grow",
        put("tiers", 1, "triggers", 1, "below", 0.8),
        "spec.tiers",
        "indicator auc: thresholds below must fall from each tier to the next higher one",
    ),
    ladder(
        "thresholds_below_equal",
        put("tiers", 1, "triggers", 1, "below", 0.7),
        "spec.tiers",
        "indicator auc: thresholds below must fall from each tier to the next higher one",
    ),
    ladder(
        "decide_quorum_too_large",
        put("tiers", 1, "decide", "quorum", 0, "count", 3),
        "spec.tiers",
        "tier high: decide.quorum asks for more people of role legal than it and its alternates have seats: "
        "lower count or raise seats",
    ),
    ladder(
        "resume_quorum_too_large",
        put("tiers", 1, "resume", "quorum", 1, "count", 2),
        "spec.tiers",
        "tier high: resume.quorum asks for more people of role model-risk than it and its alternates have seats: "
        "lower count or raise seats",
    ),
    ladder(
        "last_tier_escalates",
        put("tiers", 1, "onTimeout", "Escalate"),
        "spec.tiers",
        "tier high: onTimeout: Escalate has nothing above the last tier to go to: use Hold or Contain",
    ),
    *(
        ladder(
            f"{channel_type.lower()}_without_secret_key",
            put("channels", index, "secretKey", ABSENT),
            f"spec.channels[{index}].secretKey",
            f"secretKey is needed by a channel of type {channel_type}: name a key of the Secret riskladder-channels",
        )
        for index, channel_type in ((0, "Apprise"), (1, "PagerDuty"), (3, "Webhook"))
    ),
    *(
        ladder(
            f"{channel_type.lower()}_without_url",
            put("channels", index, "url", ABSENT),
            f"spec.channels[{index}].url",
            f"url is needed by a channel of type {channel_type}",
        )
        for index, channel_type in ((2, "Alertmanager"), (3, "Webhook"))
    ),
    ladder(
        "url_not_http",
        put("channels", 2, "url", "file:///etc/passwd"),
        "spec.channels[2].url",
        "must be an http or https URL, for example https://host/path",
    ),
    ladder(
        "policy_url_not_http",
        put("charter", "policyUrl", "intranet.example/mr-12"),
        "spec.charter.policyUrl",
        "must be an http or https URL, for example https://host/path",
    ),
    ladder(
        "reviewed_before_its_time",
        put("charter", "review", "lastReviewed", "1970-01-01"),
        "spec.charter.review.lastReviewed",
        "must be in the years 2000 to 2199",
    ),
    ladder(
        "selector_empty",
        put("governs", "selector", {}),
        "spec.governs.selector",
        "selector must not be empty, it would govern everything: name the label that workloads opt in with",
    ),
    ladder(
        "selector_without_values",
        put("governs", "selector", {"matchExpressions": [{"key": "app", "operator": "In"}]}),
        "spec.governs.selector.matchExpressions[0].values",
        "operators In and NotIn need values, Exists and DoesNotExist take none",
    ),
    ladder(
        "selector_with_values_it_cannot_use",
        put("governs", "selector", {"matchExpressions": [{"key": "app", "operator": "Exists", "values": ["a"]}]}),
        "spec.governs.selector.matchExpressions[0].values",
        "operators In and NotIn need values, Exists and DoesNotExist take none",
    ),
)
