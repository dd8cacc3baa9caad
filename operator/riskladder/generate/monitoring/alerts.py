"""The alerts. Each has a section of its name in docs/operations.md, which says what to do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from riskladder.cluster.resources import WATCHED
from riskladder.cluster.server_clock import TOLERANCE

RUNBOOKS = "https://github.com/riskladder/riskladder/blob/main/docs/operations.md"

CRITICAL, WARNING, INFO = "critical", "warning", "info"

DAY = 86_400

BY_LADDER = ("namespace", "ladder")
BY_ESCALATION = (*BY_LADDER, "escalation")
UNEVENTFUL = "|".join(resource.title.replace(".", "[.]") for resource in WATCHED)
"""Of these nothing is heard as long as nothing changes, so that their watches may be silent for long."""


@dataclass(frozen=True, slots=True)
class Alert:
    """One alert."""

    name: str
    severity: str
    expression: str
    summary: str
    """In one sentence; `{{ $labels.… }}` names what it is about."""
    why: str
    """Why this threshold, and why for so long."""
    lasts: str = "0m"
    """For how long the expression has to be true."""

    @property
    def anchor(self) -> str:
        """The anchor of its section in docs/operations.md."""
        return self.name.lower()

    def rule(self) -> dict[str, Any]:
        """Return it as a rule of Prometheus."""
        return {
            "alert": self.name,
            "expr": " ".join(self.expression.split()),
            **({"for": self.lasts} if self.lasts != "0m" else {}),
            "labels": {"severity": self.severity},
            "annotations": {"summary": self.summary, "runbook_url": f"{RUNBOOKS}#{self.anchor}"},
        }


def newest(selector: str, *by: str) -> str:
    """Return a gauge that the leader alone shows, once also while one leader follows another."""
    return f"max by ({', '.join(by)}) ({selector})"


def happened(selector: str, *by: str) -> str:
    """Return what has counted something within an hour, also where its series begins with that."""
    labels = ", ".join(by)
    return (
        f"sum by ({labels}) (increase({selector}[1h])) > 0\n"
        f"or sum by ({labels}) ({selector} unless {selector} offset 1h) > 0"
    )


def trail(reasons: str, *, drills: bool = False) -> str:
    """Return what went on record within an hour, by ladder and reason."""
    only = "" if drills else ', drill="false"'
    return happened(f'riskladder_trail_total{{reason=~"{reasons}"{only}}}', *BY_LADDER, "reason")


def condition(name: str) -> str:
    """Return the ladders of which a condition is False, with the reason."""
    return newest(f'riskladder_ladder_condition{{condition="{name}", status="False"}}', *BY_LADDER, "reason") + " > 0"


LADDER, ESCALATION = "{{ $labels.namespace }}/{{ $labels.ladder }}", "{{ $labels.namespace }}/{{ $labels.escalation }}"

OPERATOR = (
    Alert(
        "RiskladderNoLeader",
        CRITICAL,
        "sum by (namespace) (riskladder_leading) < 1\nor absent(riskladder_leading)",
        "No replica of the operator leads, or none is scraped: no breach is acted on.",
        "A standby leads within two seconds of the death of the leader, so a minute is no change of leader.",
        "1m",
    ),
    Alert(
        "RiskladderTwoLeaders",
        WARNING,
        "sum by (namespace) (riskladder_leading) > 1",
        "{{ $value }} replicas of the operator in {{ $labels.namespace }} lead at once.",
        "The Lease lets one lead. Two for a scrape or so are one that ends and one that begins.",
        "2m",
    ),
    Alert(
        "RiskladderNoStandby",
        WARNING,
        "count by (namespace) (riskladder_leading) < 2",
        "One replica of the operator runs in {{ $labels.namespace }}: if it dies, breaches wait for the next one.",
        "A rollout, or a node that is drained, takes one replica away for some minutes.",
        "15m",
    ),
    Alert(
        "RiskladderQueueStuck",
        CRITICAL,
        newest("riskladder_queue_oldest_seconds", "namespace") + " > 10",
        "Something has waited in the operator for {{ $value | humanizeDuration }}: it cannot keep up, or cannot write.",
        "A containment takes tens of milliseconds; ten seconds of waiting, for a minute, is no load that passes.",
        "1m",
    ),
    Alert(
        "RiskladderWatchSilent",
        WARNING,
        newest(f'riskladder_watch_age_seconds{{resource!~"{UNEVENTFUL}"}}', "namespace", "pod", "resource") + " > 60",
        "The operator has not heard of {{ $labels.resource }} for {{ $value | humanizeDuration }}.",
        "The API server ends each watch after 15 s, whatever it had to say. Ladders, signals and decisions "
        "are left out.",
        "2m",
    ),
    Alert(
        "RiskladderClockWrong",
        CRITICAL,
        newest("abs(riskladder_clock_skew_seconds)", "namespace") + f" > {TOLERANCE:.0f}",
        "The clocks of operator and API server differ by {{ $value | humanizeDuration }}: no deadline has its effect.",
        "Beyond this the operator itself does nothing that time alone would cause.",
        "1m",
    ),
    Alert(
        "RiskladderPolicyNotInForce",
        CRITICAL,
        newest('riskladder_policies{state=~"Missing|Altered|Unknown"}', "name", "state") + " > 0",
        "The admission policy {{ $labels.name }} is {{ $labels.state }}: what it protects is not protected.",
        "An upgrade replaces policies and image within seconds of each other.",
        "2m",
    ),
    Alert(
        "RiskladderCustomResourcesNotCurrent",
        CRITICAL,
        newest('riskladder_custom_resources{state=~"Missing|Outdated|Altered"}', "name", "state") + " > 0",
        "The CustomResourceDefinition {{ $labels.name }} is {{ $labels.state }}: what people decide may wait for it.",
        "An upgrade applies the kinds before it rolls out the image, and they are looked at every 30 s.",
        "5m",
    ),
    Alert(
        "RiskladderForbidden",
        WARNING,
        'sum by (verb, resource) (rate(riskladder_api_requests_total{result="Forbidden"}[5m])) > 0',
        "The API server does not allow Riskladder to {{ $labels.verb }} {{ $labels.resource }}.",
        "A permission that is missing is tried again every 10 s; one that was granted late is not worth a page.",
        "10m",
    ),
    Alert(
        "RiskladderApiServerUnreachable",
        CRITICAL,
        'sum by (namespace, pod) (rate(riskladder_api_requests_total{result="unreachable"}[5m]))\n'
        "/ sum by (namespace, pod) (rate(riskladder_api_requests_total[5m])) > 0.05",
        "{{ $value | humanizePercentage }} of the requests of {{ $labels.pod }} to the API server are not answered.",
        "An API server that starts again is away for seconds. One request in twenty, for five minutes, is "
        "more than that.",
        "5m",
    ),
    Alert(
        "RiskladderSeriesLeftOut",
        INFO,
        "max(riskladder_readings_not_exported) > 0\nor max(riskladder_governance_series_not_exported) > 0",
        "The boards and some alerts do not see everything: {{ $value }} series or streams are too many.",
        "It says that the boards are not complete, and nothing of the models.",
        "10m",
    ),
)

CONTAINMENT = (
    Alert(
        "RiskladderContainmentNotInForce",
        CRITICAL,
        newest(
            'riskladder_escalation_state{state=~"Late|Blocked|Reverted", drill="false"}',
            *BY_ESCALATION,
            "target",
            "state",
        )
        + " > 0",
        "{{ $labels.target }} in {{ $labels.namespace }} is to be contained and is not: {{ $labels.state }}.",
        "What is reverted is re-applied within 15 s at most; what is still not in force after a minute needs somebody.",
        "1m",
    ),
    Alert(
        "RiskladderContainmentReverted",
        WARNING,
        happened("riskladder_containment_reverted_total", "field_manager"),
        "{{ $labels.field_manager }} has reverted a containment, which was re-applied.",
        "Each is re-applied by itself; who does it should stop. It stays for an hour, since it may be over in "
        "a moment.",
    ),
    Alert(
        "RiskladderBlastRadiusExceeded",
        CRITICAL,
        newest("riskladder_withheld_containments", *BY_LADDER) + " > 0",
        f"{{{{ $value }}}} containments of ladder {LADDER} wait for people: a monitor is broken, or many models are.",
        "Models that are to be stopped run on until somebody decides, or their deadline.",
    ),
    Alert(
        "RiskladderLadderNotReady",
        CRITICAL,
        condition("Ready"),
        f"Ladder {LADDER} does not act as it is written: {{{{ $labels.reason }}}}.",
        "While manifests are applied a ladder may lack a permission for moments.",
        "5m",
    ),
    Alert(
        "RiskladderBreachUnusable",
        CRITICAL,
        newest("riskladder_unusable_signals", *BY_LADDER, "reason") + " > 0",
        f"A breach may go unseen: signals of ladder {LADDER} cannot be used: {{{{ $labels.reason }}}}.",
        "A source that is corrected at once is no incident.",
        "5m",
    ),
    Alert(
        "RiskladderSignalsStale",
        WARNING,
        newest("riskladder_stale_signals", *BY_LADDER, "source") + " > 0",
        f"Source {{{{ $labels.source }}}} of ladder {LADDER} is silent for longer than the ladder allows.",
        "The ladder has said already for how long a source may be silent; ten minutes are for a monitor that "
        "is restarted.",
        "10m",
    ),
)

GOVERNANCE = (
    Alert(
        "RiskladderDeadlineMissed",
        CRITICAL,
        "time() - "
        + newest('riskladder_escalation_deadline_timestamp_seconds{drill="false"}', *BY_ESCALATION, "tier", "stage")
        + " > 0",
        f"Nobody did {{{{ $labels.stage }}}} in time: escalation {ESCALATION} of tier {{{{ $labels.tier }}}}.",
        "The ladder has set the deadline. It ends with the act, or with the next rung, which has a deadline "
        "of its own.",
    ),
    Alert(
        "RiskladderStalled",
        CRITICAL,
        trail("Stalled|Held|InterimContainment"),
        f"Nobody acted in time under ladder {LADDER}, and it went on by itself: {{{{ $labels.reason }}}}.",
        "Each of these had its effect, whoever acts later. It stays for an hour.",
    ),
    Alert(
        "RiskladderNotificationFailed",
        WARNING,
        trail("NotificationFailed", drills=True),
        f"Somebody could not be notified under ladder {LADDER}, and it is not tried again.",
        "A message is tried for about half an hour before it is given up. It stays for an hour. Drills count: "
        "they are there to find this.",
    ),
    Alert(
        "RiskladderChannelUnavailable",
        WARNING,
        condition("ChannelsAvailable"),
        f"A channel of ladder {LADDER} does not work.",
        "A message is tried again, at first after 2 s; a receiver that starts again is back by then.",
        "10m",
    ),
    Alert(
        "RiskladderDutyDueSoon",
        WARNING,
        (due := newest('riskladder_clock_due_timestamp_seconds{drill="false"}', *BY_ESCALATION, "clock", "role"))
        + f" - time() < {DAY}\nand {due} - time() > 0",
        f"Duty {{{{ $labels.clock }}}} of {{{{ $labels.role }}}} in escalation {ESCALATION} is due in "
        "{{ $value | humanizeDuration }}.",
        "A working day. A duty of less than a day is due soon from its start.",
    ),
    Alert(
        "RiskladderDutyMissed",
        CRITICAL,
        f"time() - {due} > 0",
        f"Duty {{{{ $labels.clock }}}} of {{{{ $labels.role }}}} in escalation {ESCALATION} is overdue by "
        "{{ $value | humanizeDuration }}.",
        "The ladder, or the law behind it, has set the date.",
    ),
    Alert(
        "RiskladderAcceptanceEnds",
        WARNING,
        newest("riskladder_risk_acceptance_until_timestamp_seconds", *BY_LADDER, "target", "tier")
        + f" - time() < {7 * DAY}",
        "The accepted risk of {{ $labels.target }} in {{ $labels.namespace }} ends in {{ $value | humanizeDuration }}.",
        "A week is time to accept it again, or to repair the model. An acceptance for less is about to end "
        "from its start.",
    ),
    Alert(
        "RiskladderAcceptanceReopened",
        CRITICAL,
        trail("RiskAcceptanceExpired|RiskAcceptanceOvertaken"),
        f"A risk that was accepted under ladder {LADDER} is open again: {{{{ $labels.reason }}}}.",
        "What was accepted is acted on again. It stays for an hour.",
    ),
    Alert(
        "RiskladderReviewOverdue",
        INFO,
        condition("ReviewCurrent"),
        f"Ladder {LADDER} was to be reviewed, as its charter says.",
        "The charter has set the date, and it is a date, not a time.",
        "1h",
    ),
)

COMPONENTS = (
    Alert(
        "RiskladderIngestFailing",
        WARNING,
        'sum by (status) (rate(riskladder_ingest_requests_total{status=~"5.."}[5m])) > 0',
        "What monitors send is answered by {{ $labels.status }}: readings may be lost.",
        "A sender that gets 5xx tries again; one that fails for five minutes may have given up.",
        "5m",
    ),
    Alert(
        "RiskladderSendersUnproved",
        WARNING,
        "sum(rate(riskladder_ingest_unproved_total[5m])) > 0",
        "Somebody sends readings and does not prove who they are.",
        "A token that has just been renewed fails once or twice; ten minutes are a configuration, or somebody "
        "who tries.",
        "10m",
    ),
    Alert(
        "RiskladderPollFailing",
        WARNING,
        'sum by (namespace, binding) (rate(riskladder_poll_queries_total{result="failed"}[5m])) > 0',
        "The query of binding {{ $labels.namespace }}/{{ $labels.binding }} has no answer that can be used.",
        "A query that fails is asked again at its interval; what lasts is a query or an endpoint that is wrong.",
        "10m",
    ),
    Alert(
        "RiskladderConsoleFailing",
        WARNING,
        'sum(rate(riskladder_console_requests_total{status="5xx"}[5m])) > 0',
        "Pages of the console fail: people may be unable to decide there.",
        "Pages answer 5xx where the API server does not answer, which may be over in seconds.",
        "5m",
    ),
)

GROUPS = {
    "riskladder-operator": OPERATOR,
    "riskladder-containment": CONTAINMENT,
    "riskladder-governance": GOVERNANCE,
    "riskladder-components": COMPONENTS,
}

ALERTS = tuple(alert for group in GROUPS.values() for alert in group)


def groups() -> list[dict[str, Any]]:
    """Return the groups of rules."""
    return [{"name": name, "rules": [alert.rule() for alert in alerts]} for name, alerts in GROUPS.items()]
