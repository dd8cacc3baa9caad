"""The two boards: how the operator does, and how people do.

A gauge that the leader alone shows is taken by its maximum: it counts once also while one leader follows another.
"""

from __future__ import annotations

from riskladder.generate.monitoring.alerts import newest
from riskladder.generate.monitoring.panels import RED_FROM_ONE, Board, Panel, Query, Row, chosen_from

BAD = ((None, "green"), (1.0, "orange"))

AT_LEAST_ONE = ((None, "red"), (1.0, "green"))


def number(expression: str) -> Query:
    """Return a number that is 0 where there is nothing to count."""
    return Query(f"{expression} or vector(0)")


def counted(selector: str, *by: str) -> str:
    """Return how often something happened in the time that is shown, also where its series begins within it."""
    return (
        f"round(sum by ({', '.join(by)}) ((increase({selector}[$__range]) and {selector} offset $__range)\n"
        f"or {selector} or increase({selector}[$__range])))"
    )


def quantile(share: float, metric: str, *by: str) -> str:
    """Return a quantile of a histogram over the time that is shown."""
    return f"histogram_quantile({share}, sum by ({', '.join((*by, 'le'))}) (increase({metric}_bucket[$__range])))"


# --- The operator -----------------------------------------------------------------------------------------------------

LEADS = (
    Panel(
        "stat",
        "Leading",
        "Replicas that lead. One, always.",
        (Query("sum(riskladder_leading)"),),
        width=4,
        height=4,
        thresholds=((None, "red"), (1.0, "green"), (2.0, "red")),
    ),
    Panel(
        "stat",
        "Replicas",
        "Replicas that are scraped. With one there is no standby.",
        (Query("count(riskladder_leading)"),),
        width=4,
        height=4,
        thresholds=((None, "red"), (1.0, "orange"), (2.0, "green")),
    ),
    Panel(
        "stat",
        "Oldest work",
        "How long the oldest key has waited in the queue of the leader.",
        (Query("max(riskladder_queue_oldest_seconds)"),),
        "s",
        width=4,
        height=4,
        thresholds=((None, "green"), (10.0, "red")),
    ),
    Panel(
        "stat",
        "Policies not in force",
        "Admission policies that are missing, altered, or could not be looked at.",
        (number('count(max by (name) (riskladder_policies{state=~"Missing|Altered|Unknown"}) == 1)'),),
        width=4,
        height=4,
        thresholds=RED_FROM_ONE,
    ),
    Panel(
        "stat",
        "Clock skew",
        "How far the clock of the operator and that of the API server differ. Beyond 30 s no deadline has its effect.",
        (Query("max(abs(riskladder_clock_skew_seconds))"),),
        "s",
        width=4,
        height=4,
        thresholds=((None, "green"), (30.0, "red")),
    ),
    Panel(
        "stat",
        "Ladders not ready",
        "Ladders that do not act as they are written.",
        (number('count(max by (namespace, ladder) (riskladder_ladder_condition{condition="Ready", status="False"}))'),),
        width=4,
        height=4,
        thresholds=RED_FROM_ONE,
    ),
)

CONTAINS = (
    Panel(
        "bargauge",
        "Containment, median by stage",
        "From seeing a breach until the intent is saved, the workload is written, no Service lists a pod, no pod is "
        "left. In the time that is shown.",
        (Query(quantile(0.5, "riskladder_containment_seconds", "stage"), "{{stage}}"),),
        "s",
    ),
    Panel(
        "bargauge",
        "Containment, 95th percentile by stage",
        "The same of the slowest twentieth.",
        (Query(quantile(0.95, "riskladder_containment_seconds", "stage"), "{{stage}}"),),
        "s",
    ),
    Panel(
        "bargauge",
        "Open escalations by state",
        "Late, Blocked and Reverted are to be contained and are not.",
        (
            Query(
                "sum by (state) (" + newest("riskladder_escalation_state", "namespace", "escalation", "state") + ")",
                "{{state}}",
            ),
        ),
    ),
    Panel(
        "timeseries",
        "Open escalations by tier",
        "Drills included.",
        (
            Query(
                "sum by (tier) (" + newest("riskladder_open_escalations", "namespace", "ladder", "tier") + ")",
                "{{tier}}",
            ),
        ),
    ),
    Panel(
        "bargauge",
        "Containments reverted, by whom",
        "By field manager; each was re-applied.",
        (Query(counted("riskladder_containment_reverted_total", "field_manager"), "{{field_manager}}"),),
        thresholds=BAD,
    ),
    Panel(
        "stat",
        "Containments withheld",
        "They wait for people, since the blast radius of their ladder is exceeded.",
        (number("sum(" + newest("riskladder_withheld_containments", "namespace", "ladder") + ")"),),
        thresholds=RED_FROM_ONE,
    ),
)

WORKS = (
    Panel(
        "timeseries",
        "Queue",
        "Keys in the work queue. `later` includes deadlines and is never a backlog.",
        (Query("sum by (state) (riskladder_queue_depth)", "{{state}}"),),
    ),
    Panel(
        "timeseries",
        "Requests to the API server, by result",
        "Of all processes of Riskladder. AlreadyExists is how a repeated write is recognised.",
        (Query("sum by (result) (rate(riskladder_api_requests_total[$__rate_interval]))", "{{result}}"),),
        "reqps",
    ),
    Panel(
        "bargauge",
        "Requests that were refused, by resource",
        "In the time that is shown. A permission that is missing says Forbidden.",
        (
            Query(
                counted('riskladder_api_requests_total{result!="ok"}', "result", "resource"), "{{result}} {{resource}}"
            ),
        ),
        thresholds=BAD,
    ),
    Panel(
        "timeseries",
        "Watches: since something was heard",
        "For ladders, signals and decisions it grows while nothing changes; for the others a minute is too long.",
        (Query("max by (resource) (riskladder_watch_age_seconds)", "{{resource}}"),),
        "s",
    ),
    Panel(
        "table",
        "Admission policies",
        "How each stands.",
        (Query("max by (name, state) (riskladder_policies) == 1"),),
        columns={"name": "Policy", "state": "State", "Value": ""},
    ),
    Panel(
        "table",
        "Ladders that say something is wrong",
        "Conditions that are not as they should be, with the reason.",
        (
            Query(
                newest(
                    'riskladder_ladder_condition{condition!="Suspended", status="False"}',
                    *("namespace", "ladder", "condition", "reason"),
                )
                + "\nor "
                + newest(
                    'riskladder_ladder_condition{condition="Suspended", status="True"}',
                    *("namespace", "ladder", "condition", "reason"),
                )
            ),
        ),
        columns={
            "namespace": "Namespace",
            "ladder": "Ladder",
            "condition": "Condition",
            "reason": "Reason",
            "Value": "",
        },
    ),
)

HEARS = (
    Panel(
        "timeseries",
        "Ingest: requests by status",
        "What monitors send, and how it was answered.",
        (Query("sum by (status) (rate(riskladder_ingest_requests_total[$__rate_interval]))", "{{status}}"),),
        "reqps",
        width=6,
    ),
    Panel(
        "bargauge",
        "Ingest: time to answer",
        "Median and 95th percentile in the time that is shown.",
        (
            Query(quantile(0.5, "riskladder_ingest_request_seconds"), "median"),
            Query(quantile(0.95, "riskladder_ingest_request_seconds"), "95th percentile"),
        ),
        "s",
        width=6,
    ),
    Panel(
        "bargauge",
        "Ingest: what became of readings",
        "By verdict.",
        (Query(counted("riskladder_ingest_readings_total", "verdict"), "{{verdict}}"),),
        width=6,
    ),
    Panel(
        "stat",
        "Ingest: senders unproved",
        "Requests whose sender did not prove themselves.",
        (Query("round(sum(increase(riskladder_ingest_unproved_total[$__range])))"),),
        width=6,
        thresholds=BAD,
    ),
    Panel(
        "timeseries",
        "Poll: queries by result",
        "What the endpoints answered.",
        (Query("sum by (result) (rate(riskladder_poll_queries_total[$__rate_interval]))", "{{result}}"),),
        "reqps",
        width=6,
    ),
    Panel(
        "bargauge",
        "Poll: what became of samples",
        "By verdict.",
        (Query(counted("riskladder_poll_readings_total", "verdict"), "{{verdict}}"),),
        width=6,
    ),
    Panel(
        "stat",
        "Poll: replicas that ask",
        "One, always.",
        (Query("sum(riskladder_poll_leading)"),),
        width=6,
        thresholds=AT_LEAST_ONE,
    ),
    Panel(
        "stat",
        "Not exported",
        "Streams of readings, and series of escalations and ladders, that are too many to be shown.",
        (
            Query("max(riskladder_readings_not_exported)", "streams"),
            Query("max(riskladder_governance_series_not_exported)", "series"),
        ),
        width=6,
        thresholds=RED_FROM_ONE,
    ),
)

SHOWS = (
    Panel(
        "timeseries",
        "Console: requests by status",
        "By class of the HTTP status.",
        (Query("sum by (status) (rate(riskladder_console_requests_total[$__rate_interval]))", "{{status}}"),),
        "reqps",
    ),
    Panel(
        "table",
        "Console: pages",
        "Requests, and the 95th percentile of the time to answer them, in the time that is shown.",
        (
            Query(counted("riskladder_console_requests_total", "page")),
            Query(quantile(0.95, "riskladder_console_request_seconds", "page")),
        ),
        columns={"page": "Page", "Value #A": "Requests", "Value #B": "95th percentile"},
        units={"95th percentile": "s"},
    ),
    Panel(
        "bargauge",
        "Console: sign-ins",
        "By way and result.",
        (Query(counted("riskladder_console_sign_ins_total", "way", "result"), "{{way}}: {{result}}"),),
    ),
    Panel(
        "bargauge",
        "Console: decisions sent",
        "By action, and what became of them.",
        (Query(counted("riskladder_console_decisions_total", "action", "answer") + " > 0", "{{action}}: {{answer}}"),),
    ),
    Panel(
        "stat",
        "Console: pages that follow",
        "Live streams that are open.",
        (Query("sum(riskladder_console_streams)"),),
    ),
)

OPERATOR_BOARD = Board(
    uid="riskladder-operator",
    title="Riskladder / Operator",
    about="Whether Riskladder is at work: leader, queue, API server, policies, and the processes around it.",
    rows=(
        Row("Is it at work?", LEADS),
        Row("Containment", CONTAINS),
        Row("At work", WORKS),
        Row("Readings", HEARS),
        Row("Console", SHOWS),
    ),
)


# --- Governance -------------------------------------------------------------------------------------------------------

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
    Panel(
        "stat",
        "Open escalations",
        "Without drills.",
        (number(f"sum({newest(f'riskladder_escalation_state{{{REAL}}}', 'namespace', 'escalation')})"),),
        width=4,
        height=4,
    ),
    Panel(
        "stat",
        "Waiting for people",
        "Acknowledgements and decisions that have a deadline and are still to come.",
        (number(f"count({newest(f'{DEADLINE}{{{REAL}}}', 'namespace', 'escalation', 'stage')})"),),
        width=4,
        height=4,
    ),
    Panel(
        "stat",
        "Deadlines missed",
        "Those of them whose deadline has passed.",
        (number(later_than_now(DEADLINE, "namespace", "escalation", "stage")),),
        width=4,
        height=4,
        thresholds=RED_FROM_ONE,
    ),
    Panel(
        "stat",
        "Duties overdue",
        "Duties with a clock that are not met, though it has run out.",
        (number(later_than_now(DUE, "namespace", "escalation", "clock")),),
        width=4,
        height=4,
        thresholds=RED_FROM_ONE,
    ),
    Panel(
        "stat",
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
        width=4,
        height=4,
    ),
    Panel(
        "stat",
        "Stale signals",
        "Signals of which an indicator has been silent for longer than its ladder allows.",
        (number(f"sum({newest(f'riskladder_stale_signals{{{HERE}}}', 'namespace', 'ladder', 'source')})"),),
        width=4,
        height=4,
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

BOARDS = (OPERATOR_BOARD, GOVERNANCE_BOARD)
