"""The board of how people do."""

from __future__ import annotations

from riskladder.generate.monitoring.alerts import newest
from riskladder.generate.monitoring.expressions import BAD, counted, number
from riskladder.generate.monitoring.panels import RED_FROM_ONE, Board, Panel, Query, Row, chosen_from, tile

HERE = 'namespace=~"$namespace", ladder=~"$ladder"'
REAL = f'{HERE}, drill="false"'
DEADLINE = "riskladder_escalation_deadline_timestamp_seconds"
DUE = "riskladder_clock_due_timestamp_seconds"
RESPONSE = "riskladder_escalation_response_seconds"
CLOSED = "riskladder_closed_escalations"

WHERE = {"namespace": "Namespace", "ladder": "Ladder"}


def took(stage: str, more: str = "", *, drill: str = "false", over: str = "$__range") -> str:
    """Return how long a stage took in each escalation, tier and role, once for each, over a time."""
    selector = f'{RESPONSE}{{{HERE}, drill="{drill}", stage{stage}{more}}}'
    by = ("namespace", "escalation", "stage", "tier", "role")
    return newest(f"max_over_time({selector}[{over}])", *by)


def mean(stage: str, *by: str, more: str = "", drill: str = "false") -> str:
    """Return the mean of that over escalations."""
    return f"avg by ({', '.join(by)}) ({took(stage, more, drill=drill)})"


def later_than_now(metric: str, *by: str) -> str:
    """Return how many of some times have passed."""
    return f"count({newest(f'{metric}{{{REAL}}}', *by)} < time())"


NOW = (
    tile(
        "Open escalations",
        "Without drills.",
        (number(f"sum({newest(f'riskladder_escalation_state{{{REAL}}}', 'namespace', 'escalation')})"),),
    ),
    tile(
        "Waiting for people",
        "Acknowledgements and decisions that have a deadline and are still to come.",
        (number(f"count({newest(f'{DEADLINE}{{{REAL}}}', 'namespace', 'escalation', 'stage')})"),),
    ),
    tile(
        "Deadlines missed",
        "Those of them whose deadline has passed.",
        (number(later_than_now(DEADLINE, "namespace", "escalation", "stage")),),
        thresholds=RED_FROM_ONE,
    ),
    tile(
        "Duties overdue",
        "Duties with a clock that are not met, though it has run out.",
        (number(later_than_now(DUE, "namespace", "escalation", "clock")),),
        thresholds=RED_FROM_ONE,
    ),
    tile(
        "Accepted risks",
        "Targets whose risk is accepted until a date.",
        (
            number(
                "count("
                + newest(
                    f"riskladder_risk_acceptance_until_timestamp_seconds{{{HERE}}}", "namespace", "ladder", "target"
                )
                + ")"
            ),
        ),
    ),
    tile(
        "Stale signals",
        "Signals of which an indicator has been silent for longer than its ladder allows.",
        (number(f"sum({newest(f'riskladder_stale_signals{{{HERE}}}', 'namespace', 'ladder', 'source')})"),),
        thresholds=RED_FROM_ONE,
    ),
    Panel(
        "table",
        "Open escalations, one by one",
        "Where each stands.",
        (
            Query(
                newest(
                    f"riskladder_escalation_state{{{REAL}}}",
                    *("namespace", "ladder", "escalation", "target", "tier", "state"),
                )
            ),
        ),
        width=12,
        columns={
            **WHERE,
            "escalation": "Escalation",
            "target": "Target",
            "tier": "Tier",
            "state": "State",
            "Value": "",
        },
    ),
    Panel(
        "table",
        "Next deadlines",
        "By when somebody has to acknowledge or decide, the next one first.",
        (
            Query(
                "sort("
                + newest(f"{DEADLINE}{{{REAL}}}", "namespace", "ladder", "escalation", "tier", "stage")
                + " * 1000)"
            ),
        ),
        "dateTimeAsIso",
        width=12,
        columns={**WHERE, "escalation": "Escalation", "tier": "Tier", "stage": "To", "Value": "By"},
    ),
)

EVERY, WEEKLY = took('=~".+"'), took('="acknowledge"', over="7d")

PEOPLE = (
    Panel(
        "bargauge",
        "Time to notify, by tier and role",
        "From queueing a message to its delivery, over the quickest channel of the role. Mean over the escalations of "
        "the time that is shown, as in the panels next to it.",
        (Query(mean('="notify"', "tier", "role"), "{{tier}}: {{role}}"),),
        "s",
        width=8,
    ),
    Panel(
        "bargauge",
        "Time to acknowledge, by tier and role",
        "From entering the rung to the first answer of the role.",
        (Query(mean('="acknowledge"', "tier", "role"), "{{tier}}: {{role}}"),),
        "s",
        width=8,
    ),
    Panel(
        "bargauge",
        "Time to decide, by tier and role",
        "From entering the rung to the first vote of the role.",
        (Query(mean('="decide"', "tier", "role", more=', role!=""'), "{{tier}}: {{role}}"),),
        "s",
        width=8,
    ),
    Panel(
        "bargauge",
        "Time to the quorum, by tier",
        "From entering the rung until all who are asked agree.",
        (Query(mean('="decide"', "tier", more=', role=""'), "{{tier}}"),),
        "s",
        width=8,
    ),
    Panel(
        "bargauge",
        "Time to contain, by tier",
        "From the intent to the proof.",
        (Query(mean('="contain"', "tier"), "{{tier}}"),),
        "s",
        width=8,
    ),
    Panel(
        "bargauge",
        "Time to resume, by tier",
        "From the quorum to the last step of the Resume.",
        (Query(mean('="resume"', "tier"), "{{tier}}"),),
        "s",
        width=8,
    ),
    Panel(
        "table",
        "How long it takes",
        "By stage and tier: median, 90th percentile, longest, and how many there were: of what people do, one for each "
        "role.",
        (
            Query(f"quantile by (stage, tier) (0.5, {EVERY})"),
            Query(f"quantile by (stage, tier) (0.9, {EVERY})"),
            Query(f"max by (stage, tier) ({EVERY})"),
            Query(f"count by (stage, tier) ({EVERY})"),
        ),
        "s",
        width=12,
        columns={
            "stage": "Stage",
            "tier": "Tier",
            "Value #A": "Median",
            "Value #B": "90th percentile",
            "Value #C": "Longest",
            "Value #D": "How many",
        },
        units={"How many": "short"},
    ),
    Panel(
        "timeseries",
        "Time to acknowledge, mean of 7 days",
        "Over the escalations of the last seven days, at each point in time.",
        (Query(f"avg by (tier) ({WEEKLY})", "{{tier}}"),),
        "s",
        width=6,
    ),
    Panel(
        "bargauge",
        "What went on without people",
        "Deadlines that passed, and messages that were not delivered.",
        (
            Query(
                counted(
                    "riskladder_trail_total{"
                    + REAL
                    + ', reason=~"AcknowledgementOverdue|DecisionOverdue|Stalled|Held|InterimContainment|'
                    'NotificationFailed|ClockOverdue"}',
                    "reason",
                ),
                "{{reason}}",
            ),
        ),
        width=6,
        thresholds=BAD,
    ),
)

PROMISES = (
    Panel(
        "table",
        "Accepted risks and their ends",
        "Until when, the next end first. It goes on where the escalation was closed with it.",
        (
            Query(
                "sort("
                + newest(
                    f"riskladder_risk_acceptance_until_timestamp_seconds{{{HERE}}}",
                    *("namespace", "ladder", "target", "tier"),
                )
                + " * 1000)"
            ),
        ),
        "dateTimeAsIso",
        width=12,
        columns={**WHERE, "target": "Target", "tier": "Tier", "Value": "Until"},
    ),
    Panel(
        "table",
        "Duties due",
        "Duties with a clock that are not met, the next one first.",
        (
            Query(
                "sort(" + newest(f"{DUE}{{{REAL}}}", "namespace", "ladder", "escalation", "clock", "role") + " * 1000)"
            ),
        ),
        "dateTimeAsIso",
        width=12,
        columns={**WHERE, "escalation": "Escalation", "clock": "Duty", "role": "Role", "Value": "Due"},
    ),
)

INDICATORS = (
    Panel(
        "table",
        "Stale signals, by source",
        "How many signals are silent for longer than their ladder allows.",
        (Query(newest(f"riskladder_stale_signals{{{HERE}}}", "namespace", "ladder", "source") + " > 0"),),
        columns={**WHERE, "source": "Source", "Value": "Signals"},
    ),
    Panel(
        "table",
        "Oldest readings",
        "The twenty streams that were observed longest ago.",
        (
            Query(
                "topk(20, time() - "
                + newest(
                    f"riskladder_reading_observed_timestamp_seconds{{{HERE}}}",
                    *("namespace", "ladder", "target", "source", "indicator"),
                )
                + ")"
            ),
        ),
        "s",
        columns={**WHERE, "target": "Target", "source": "Source", "indicator": "Indicator", "Value": "Age"},
    ),
    Panel(
        "bargauge",
        "Breaches that cannot be used",
        "Signals that report a breach, or something of an unknown indicator, by why they are not used.",
        (
            Query(
                "sum by (reason) ("
                + newest(f"riskladder_unusable_signals{{{HERE}}}", "namespace", "ladder", "reason")
                + ")",
                "{{reason}}",
            ),
        ),
        thresholds=RED_FROM_ONE,
    ),
)


def ended(more: str, *by: str) -> str:
    """Return how many closed escalations are stored."""
    labels = ("namespace", "ladder", "reason", "reviewed", "drill")
    return f"sum by ({', '.join(by)}) ({newest(f'{CLOSED}{{{HERE}, {more}}}', *labels)})"


REVIEWS = newest(f"riskladder_stored_reviews{{{HERE}}}", "namespace", "ladder", "satisfaction", "policy_updated")

EXERCISES = (
    Panel(
        "table",
        "Last drill",
        "When the last drill of each ladder ended, the oldest first.",
        (
            Query(
                "sort("
                + newest(f"riskladder_last_drill_timestamp_seconds{{{HERE}}}", "namespace", "ladder")
                + " * 1000)"
            ),
        ),
        "dateTimeAsIso",
        columns={**WHERE, "Value": "Ended"},
    ),
    Panel(
        "bargauge",
        "How drills ended",
        "DrillExpired: nobody has answered in time.",
        (Query(ended('drill="true"', "reason"), "{{reason}}"),),
    ),
    Panel(
        "bargauge",
        "Time to acknowledge in drills",
        "By tier and role.",
        (Query(mean('="acknowledge"', "tier", "role", drill="true"), "{{tier}}: {{role}}"),),
        "s",
    ),
    Panel(
        "bargauge",
        "How escalations ended",
        "Of those that are stored.",
        (Query(ended('drill="false"', "reason"), "{{reason}}"),),
        width=6,
    ),
    Panel(
        "bargauge",
        "Reviewed after the close",
        "Closed escalations, by whether they were reviewed.",
        (Query(ended('drill="false"', "reviewed"), "{{reviewed}}"),),
        width=6,
    ),
    Panel(
        "bargauge",
        "Satisfaction",
        "Reviews by satisfaction, from 1 to 5.",
        (Query(f"sum by (satisfaction) ({REVIEWS})", "{{satisfaction}}"),),
        width=6,
    ),
    Panel(
        "bargauge",
        "Reviews that change the policy",
        "Reviews, by whether the policy is changed because of them.",
        (Query(f"sum by (policy_updated) ({REVIEWS})", "{{policy_updated}}"),),
        width=6,
    ),
    Panel(
        "table",
        "Reviews of the policy",
        "ReviewOverdue: the charter of the ladder asks for a review. NoReviewCadence: it never does.",
        (
            Query(
                newest(
                    f'riskladder_ladder_condition{{{HERE}, condition="ReviewCurrent"}}', "namespace", "ladder", "reason"
                )
            ),
        ),
        width=24,
        columns={**WHERE, "reason": "Review", "Value": ""},
    ),
)

GOVERNANCE_BOARD = Board(
    uid="riskladder-governance",
    title="Riskladder / Governance",
    about="How people do: how long they take, what they have accepted, which duties are due, drills and reviews.",
    rows=(
        Row("Now", NOW),
        Row("How long people take", PEOPLE),
        Row("Acceptances and duties", PROMISES),
        Row("Indicators", INDICATORS),
        Row("Drills and reviews", EXERCISES),
    ),
    variables=(
        chosen_from("namespace", "Namespace", "riskladder_ladder_condition"),
        chosen_from("ladder", "Ladder", 'riskladder_ladder_condition{namespace=~"$namespace"}'),
    ),
    since="now-30d",
)
