"""The board of how the operator does."""

from __future__ import annotations

from riskladder.generate.monitoring.alerts import newest
from riskladder.generate.monitoring.expressions import AT_LEAST_ONE, BAD, counted, number, quantile
from riskladder.generate.monitoring.panels import RED_FROM_ONE, Board, Panel, Query, Row, tile

LEADS = (
    tile(
        "Leading",
        "Replicas that lead. One, always.",
        (Query("sum(riskladder_leading)"),),
        thresholds=((None, "red"), (1.0, "green"), (2.0, "red")),
    ),
    tile(
        "Replicas",
        "Replicas that are scraped. With one there is no standby.",
        (Query("count(riskladder_leading)"),),
        thresholds=((None, "red"), (1.0, "orange"), (2.0, "green")),
    ),
    tile(
        "Oldest work",
        "How long the oldest key has waited in the queue of the leader.",
        (Query("max(riskladder_queue_oldest_seconds)"),),
        "s",
        thresholds=((None, "green"), (10.0, "red")),
    ),
    tile(
        "Policies not in force",
        "Admission policies that are missing, altered, or could not be looked at.",
        (number('count(max by (name) (riskladder_policies{state=~"Missing|Altered|Unknown"}) == 1)'),),
        thresholds=RED_FROM_ONE,
    ),
    tile(
        "Clock skew",
        "How far the clock of the operator and that of the API server differ. Beyond 30 s no deadline has its effect.",
        (Query("max(abs(riskladder_clock_skew_seconds))"),),
        "s",
        thresholds=((None, "green"), (30.0, "red")),
    ),
    tile(
        "Ladders not ready",
        "Ladders that do not act as they are written.",
        (number('count(max by (namespace, ladder) (riskladder_ladder_condition{condition="Ready", status="False"}))'),),
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
