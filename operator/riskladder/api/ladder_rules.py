"""CEL rules across the parts of a ladder: every name is known, thresholds grow, a quorum can be met.

They use nothing newer than the CEL of Kubernetes 1.30, and stay below its cost limits at the largest ladder the schema
allows. The estimator loses the declared limits of whatever comes out of `filter`, `split`, `string` or a list literal,
and then assumes the worst; hence `map(x, condition, value)[0]` to name a culprit, and no variables.
"""

from __future__ import annotations

from riskladder.api.base import Rule
from riskladder.api.tier_rules import seconds

GOVERNS = (
    Rule(
        "size(self.selector.matchLabels) > 0 || size(self.selector.matchExpressions) > 0",
        "selector must not be empty, it would govern everything: name the label that workloads opt in with",
        field_path=".selector",
    ),
)

LABEL_REQUIREMENT = (
    Rule(
        "(self.operator in ['In', 'NotIn']) == (size(self.values) > 0)",
        "operators In and NotIn need values, Exists and DoesNotExist take none",
        field_path=".values",
    ),
)

INDICATOR_RANGE = (
    Rule(
        "has(self.min) || has(self.max)",
        "needs min or max: say between which values the indicator lies, or leave range out",
    ),
    Rule(
        "!has(self.min) || !has(self.max) || self.min < self.max",
        "min must be smaller than max: give both ends in the unit of the indicator",
        field_path=".min",
    ),
)

INDICATOR = (
    Rule(
        "!has(self.whenStale) || has(self.staleAfter)",
        "whenStale needs staleAfter: say after what silence the indicator is stale",
        field_path=".staleAfter",
        reason="FieldValueRequired",
    ),
    Rule(
        f"!has(self.maxAge) || !self.maxAge.matches('[1-9]') || {seconds('self.maxAge')} >= 60",
        "maxAge must not be shorter than 1m: a reading takes its time to arrive, and would never be counted",
        "'maxAge (' + self.maxAge + ') must not be shorter than 1m: a reading takes its time to arrive, and would "
        "never be counted'",
        field_path=".maxAge",
    ),
)

CHANNEL = (
    Rule(
        "has(self.url) || !(self.type in ['Alertmanager', 'Webhook'])",
        "url is needed by a channel of type Alertmanager or Webhook",
        "'url is needed by a channel of type ' + self.type",
        field_path=".url",
        reason="FieldValueRequired",
    ),
    Rule(
        "has(self.secretKey) || !(self.type in ['Apprise', 'PagerDuty', 'Webhook', 'Slack'])",
        "secretKey is needed by a channel of type Apprise, PagerDuty, Webhook or Slack",
        "'secretKey is needed by a channel of type ' + self.type + ': name a key of the Secret riskladder-channels'",
        field_path=".secretKey",
        reason="FieldValueRequired",
    ),
)


def _names(message: str, *parts: str) -> str:
    """Return CEL that joins text and expressions: `_names("tier {} is {}", "t.name", "x")`."""
    pieces = [repr(piece) for piece in message.split("{}")]
    joined = [piece for pair in zip(pieces, (*parts, ""), strict=True) for piece in pair if piece]
    return " + ".join(joined)


def _known(
    items: str,
    owner: str,
    names: str,
    known: str,
    message: str,
    culprit: str,
    *,
    where: str,
    condition: str = "",
) -> Rule:
    """Require that every name on an item of a list is declared.

    Args:
        items: the list of `owner`, as `self.tiers`.
        owner: the variable that is one of them.
        names: the list below the owner whose items `x` name something.
        known: CEL that is true when `x` is declared.
        message: what to say, with `{}` for the owner's name and for the unknown name.
        culprit: CEL for the unknown name, given `x`.
        where: the field to point at.
        condition: CEL that must hold for `names` to exist.
    """
    key = "role" if owner == "s" else "name"
    exists = f"{names}.exists(x, !{known})"
    unknown = f"{names}.map(x, !{known}, {culprit})[0]"
    return Rule(
        f"{items}.all({owner}, !({condition}) || {names}.all(x, {known}))"
        if condition
        else f"{items}.all({owner}, {names}.all(x, {known}))",
        message.format("…", "…"),
        f"{items}.map({owner}, {condition + ' && ' if condition else ''}{exists}, "
        f"{_names(message, f'{owner}.{key}', unknown)})[0]",
        field_path=where,
    )


_ADD_ROLE = ": add it to spec.stakeholders or correct the name"


def _known_roles(part: str, condition: str = "") -> Rule:
    """Require that every role in a list of a tier is a stakeholder."""
    return _known(
        "self.tiers",
        "t",
        f"t.{part}",
        "self.stakeholders.exists(s, s.role == x.role)",
        f"tier {{}}: {part} names the unknown role {{}}{_ADD_ROLE}",
        "x.role",
        where=".tiers",
        condition=condition,
    )


def _thresholds_grow(field: str, sign: str, verb: str) -> tuple[Rule, Rule]:
    """Require that along the tiers the thresholds of an indicator in one direction grow strictly in severity.

    In order and different, as two rules, because one rule for both is beyond the cost limit.
    """
    mine = f"g.indicator == i.name && has(g.{field})"
    thresholds = f"self.tiers.map(t, t.triggers.exists(g, {mine}), t.triggers.map(g, {mine}, {sign}g.{field})[0])"
    unique = (
        f"!has(g.{field}) || self.tiers.exists_one(u, u.triggers.exists(h, "
        f"h.indicator == g.indicator && has(h.{field}) && h.{field} == g.{field}))"
    )
    text = f"indicator {{}}: thresholds {field} must {verb} from each tier to the next higher one"
    return (
        Rule(
            f"self.indicators.all(i, {thresholds}.isSorted())",
            text.format("…"),
            _names(text, f"self.indicators.map(i, !{thresholds}.isSorted(), i.name)[0]"),
            field_path=".tiers",
        ),
        Rule(
            f"self.tiers.all(t, t.triggers.all(g, {unique}))",
            text.format("…"),
            f"self.tiers.map(t, t.triggers.exists(g, !({unique})), "
            + _names(text, f"t.triggers.map(g, !({unique}), g.indicator)[0]")
            + ")[0]",
            field_path=".tiers",
        ),
    )


def _quorum_can_be_met(part: str, condition: str) -> Rule:
    """Require that a count is at most the seats of the role plus those of its alternates."""
    seats = "self.stakeholders.map(s, s.role == p.role || s.role in p.alternates, s.seats).sum()"
    met = f"self.stakeholders.all(p, p.role != q.role || {seats} >= q.count)"
    message = (
        f"tier {{}}: {part} asks for more people of role {{}} than it and its alternates have seats: "
        "lower count or raise seats"
    )
    culprit = f"t.{part}.map(q, !{met}, q.role)[0]"
    return Rule(
        f"self.tiers.all(t, !{condition} || t.{part}.all(q, {met}))",
        message.format("…", "…"),
        f"self.tiers.map(t, {condition} && t.{part}.exists(q, !{met}), {_names(message, 't.name', culprit)})[0]",
        field_path=".tiers",
    )


_STALE_UNKNOWN = "has(i.whenStale) && !self.tiers.exists(t, t.name == i.whenStale)"
_CONTACT_UNKNOWN = "!self.stakeholders.exists(s, s.role == c.role)"


LADDER = (
    Rule(
        "!has(self.charter) || self.stakeholders.exists(s, s.role == self.charter.owner)",
        f"charter.owner names an unknown role{_ADD_ROLE}",
        _names(f"charter.owner names the unknown role {{}}{_ADD_ROLE}", "self.charter.owner"),
        field_path=".charter.owner",
    ),
    Rule(
        f"self.sourceContacts.all(c, !({_CONTACT_UNKNOWN}))",
        f"sourceContacts names an unknown role{_ADD_ROLE}",
        f"self.sourceContacts.map(c, {_CONTACT_UNKNOWN}, "
        + _names(f"source {{}}: sourceContacts names the unknown role {{}}{_ADD_ROLE}", "c.source", "c.role")
        + ")[0]",
        field_path=".sourceContacts",
    ),
    _known(
        "self.stakeholders",
        "s",
        "s.notify",
        "self.channels.exists(c, c.name == x)",
        "stakeholder {}: notify names the unknown channel {}: add it to spec.channels or correct the name",
        "x",
        where=".stakeholders",
    ),
    _known(
        "self.stakeholders",
        "s",
        "s.alternates",
        "self.stakeholders.exists(o, o.role == x)",
        f"stakeholder {{}}: alternates names the unknown role {{}}{_ADD_ROLE}",
        "x",
        where=".stakeholders",
    ),
    Rule(
        "self.stakeholders.all(s, !(s.role in s.alternates))",
        "a role must not be its own alternate: name somebody else",
        _names(
            "stakeholder {}: a role must not be its own alternate: name somebody else",
            "self.stakeholders.map(s, s.role in s.alternates, s.role)[0]",
        ),
        field_path=".stakeholders",
    ),
    Rule(
        f"self.indicators.all(i, !({_STALE_UNKNOWN}))",
        "whenStale names an unknown tier: add it to spec.tiers or correct the name",
        f"self.indicators.map(i, {_STALE_UNKNOWN}, "
        + _names(
            "indicator {}: whenStale names the unknown tier {}: add it to spec.tiers or correct the name",
            "i.name",
            "i.whenStale",
        )
        + ")[0]",
        field_path=".indicators",
    ),
    _known(
        "self.tiers",
        "t",
        "t.triggers",
        "self.indicators.exists(i, i.name == x.indicator)",
        "tier {}: triggers names the unknown indicator {}: add it to spec.indicators or correct the name",
        "x.indicator",
        where=".tiers",
    ),
    _known_roles("notify"),
    _known_roles("decide.quorum", "has(t.decide)"),
    _known_roles("resume.quorum", "has(t.resume)"),
    _known_roles("clocks"),
    *_thresholds_grow("above", "", "grow"),
    *_thresholds_grow("below", "-", "fall"),
    _quorum_can_be_met("decide.quorum", "has(t.decide)"),
    _quorum_can_be_met("resume.quorum", "has(t.resume)"),
    Rule(
        "self.tiers[size(self.tiers) - 1].onTimeout != 'Escalate'",
        "onTimeout: Escalate has nothing above the last tier to go to: use Hold or Contain",
        _names(
            "tier {}: onTimeout: Escalate has nothing above the last tier to go to: use Hold or Contain",
            "self.tiers[size(self.tiers) - 1].name",
        ),
        field_path=".tiers",
    ),
)
