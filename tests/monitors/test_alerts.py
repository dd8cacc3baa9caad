"""The alerts, by promtool: each fires alone on what it is about, and ends with it. Boards name what there is."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from riskladder.console.metrics import Metrics as ConsoleMetrics
from riskladder.controller.metrics import Metrics
from riskladder.generate.monitoring.alerts import ALERTS, RUNBOOKS, Alert
from riskladder.generate.monitoring.boards import BOARDS
from riskladder.generate.monitoring.panels import COLUMNS
from riskladder.ingest.metrics import Metrics as IngestMetrics
from riskladder.poll.metrics import Metrics as PollMetrics
from tests.unit.test_docs import OPERATIONS, ROOT, anchors, blocks, exported

COMPONENT = ROOT / "manifests/components/monitoring"
REGISTRIES = [metrics().registry for metrics in (Metrics, IngestMetrics, PollMetrics, ConsoleMetrics)]
HOUR, DAY = 3600, 86_400

each_alert = pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert.name)


class Case(NamedTuple):
    """What makes one alert fire, and end."""

    series: dict[str, str]
    """Input series and their values, one a minute, as promtool writes them."""
    fires: dict[str, str]
    """Its labels."""
    at: str
    """When it fires."""
    ends: str
    """When it is over."""
    before: str = "5m"
    """When nothing fires yet."""


LEADING = {
    'riskladder_leading{namespace="riskladder-system", pod="a", instance="a"}': "1x6000",
    'riskladder_leading{namespace="riskladder-system", pod="b", instance="b"}': "0x6000",
}
"""Two replicas, as they should be."""

PLACE = {"namespace": "models", "ladder": "credit"}
LADDER = 'namespace="models", ladder="credit"'
ESCALATION = LADDER + ', escalation="scorer-1"'
ONE = PLACE | {"escalation": "scorer-1"}
POD = 'namespace="riskladder-system", pod="a", instance="a"'
WHERE = {"namespace": "riskladder-system"}


def condition(name: str, reason: str, for_minutes: int) -> dict[str, str]:
    """A ladder of which a condition is False for so many minutes, from the tenth on."""
    about = f'riskladder_ladder_condition{{{LADDER}, condition="{name}"'
    return {
        f'{about}, status="True", reason="Valid"}}': f"1x9 _x{for_minutes} 1x300",
        f'{about}, status="False", reason="{reason}"}}': f"_x9 1x{for_minutes} stale",
    }


def trail(reason: str, drill: str = "false") -> dict[str, str]:
    """A record of that reason, the first one, in the tenth minute."""
    about = f'tier="high", drill="{drill}", reason="{reason}", pod="a", instance="a"'
    return {f"riskladder_trail_total{{{LADDER}, {about}}}": "_x9 1x300"}


CASES = {
    "RiskladderNoLeader": Case(
        {f"riskladder_leading{{{POD}}}": "1x9 0x20 1x100", list(LEADING)[1]: "0x300"}, WHERE, "12m", "31m"
    ),
    "RiskladderTwoLeaders": Case({**LEADING, list(LEADING)[1]: "0x9 1x20 0x100"}, WHERE, "13m", "31m"),
    "RiskladderNoStandby": Case({**LEADING, list(LEADING)[1]: "0x9 stale _x20 0x100"}, WHERE, "26m", "33m"),
    "RiskladderQueueStuck": Case({f"riskladder_queue_oldest_seconds{{{POD}}}": "0x9 30x10 0x100"}, WHERE, "12m", "21m"),
    "RiskladderWatchSilent": Case(
        {
            f'riskladder_watch_age_seconds{{{POD}, resource="deployments.apps"}}': "5x9 70+60x10 3x100",
            f'riskladder_watch_age_seconds{{{POD}, resource="escalationladders.riskladder.dev"}}': "0+60x200",
        },
        WHERE | {"pod": "a", "resource": "deployments.apps"},
        "13m",
        "22m",
    ),
    "RiskladderClockWrong": Case({f"riskladder_clock_skew_seconds{{{POD}}}": "0x9 -45x10 1x100"}, WHERE, "12m", "21m"),
    "RiskladderPolicyNotInForce": Case(
        {
            f'riskladder_policies{{{POD}, name="riskladder-lock", state="Altered"}}': "0x9 1x10 0x100",
            f'riskladder_policies{{{POD}, name="riskladder-lock", state="InForce"}}': "1x9 0x10 1x100",
            f'riskladder_policies{{{POD}, name="riskladder-identity", state="NotInstalled"}}': "1x200",
        },
        {"name": "riskladder-lock", "state": "Altered"},
        "13m",
        "21m",
    ),
    "RiskladderCustomResourcesNotCurrent": Case(
        {
            f'riskladder_custom_resources{{{POD}, name="records.example", state="Outdated"}}': "0x9 1x10 0x100",
            f'riskladder_custom_resources{{{POD}, name="records.example", state="Current"}}': "1x9 0x10 1x100",
            f'riskladder_custom_resources{{{POD}, name="bindings.example", state="Newer"}}': "1x200",
        },
        {"name": "records.example", "state": "Outdated"},
        "16m",
        "21m",
        before="14m",
    ),
    "RiskladderForbidden": Case(
        {
            f'riskladder_api_requests_total{{{POD}, verb="patch", resource="deployments.apps", result="Forbidden"}}': (
                "0x9 0+6x20 120x100"
            )
        },
        {"verb": "patch", "resource": "deployments.apps"},
        "25m",
        "37m",
    ),
    "RiskladderApiServerUnreachable": Case(
        {
            f'riskladder_api_requests_total{{{POD}, verb="get", resource="leases", result="unreachable"}}': (
                "0x9 0+30x12 360x100"
            ),
            f'riskladder_api_requests_total{{{POD}, verb="get", resource="leases", result="ok"}}': "0+100x150",
        },
        WHERE | {"pod": "a"},
        "18m",
        "30m",
    ),
    "RiskladderSeriesLeftOut": Case(
        {f"riskladder_governance_series_not_exported{{{POD}}}": "0x9 12x20 0x100"}, {}, "21m", "31m"
    ),
    "RiskladderContainmentNotInForce": Case(
        {
            f'riskladder_escalation_state{{{ESCALATION}, target="Deployment/scorer", tier="high", drill="false", '
            'state="Containing"}': "1x9 stale",
            f'riskladder_escalation_state{{{ESCALATION}, target="Deployment/scorer", tier="high", drill="false", '
            'state="Blocked"}': "_x9 1x10 stale",
        },
        ONE | {"target": "Deployment/scorer", "state": "Blocked"},
        "12m",
        "25m",
    ),
    "RiskladderContainmentReverted": Case(
        {f'riskladder_containment_reverted_total{{{POD}, field_manager="keda"}}': "2x99 3x200"},
        {"field_manager": "keda"},
        "101m",
        "165m",
        "90m",  # a Prometheus that has just been started takes what it sees first for new
    ),
    "RiskladderBlastRadiusExceeded": Case(
        {f"riskladder_withheld_containments{{{LADDER}}}": "0x9 2x10 0x100"}, PLACE, "10m", "21m"
    ),
    "RiskladderLadderNotReady": Case(
        condition("Ready", "PermissionMissing", 20), PLACE | {"reason": "PermissionMissing"}, "16m", "32m"
    ),
    "RiskladderBreachUnusable": Case(
        {f'riskladder_unusable_signals{{{LADDER}, reason="UnknownTier"}}': "_x9 1x20 stale"},
        PLACE | {"reason": "UnknownTier"},
        "16m",
        "32m",
    ),
    "RiskladderSignalsStale": Case(
        {f'riskladder_stale_signals{{{LADDER}, source="monitor"}}': "_x9 3x20 stale"},
        PLACE | {"source": "monitor"},
        "21m",
        "32m",
    ),
    "RiskladderDeadlineMissed": Case(
        {
            f'riskladder_escalation_deadline_timestamp_seconds{{{ESCALATION}, tier="high", stage="decide", '
            'drill="false"}': f"{HOUR}x90 stale",
            f'riskladder_escalation_deadline_timestamp_seconds{{{LADDER}, escalation="drill-1", tier="high", '
            'stage="decide", drill="true"}': "60x300",
        },
        ONE | {"tier": "high", "stage": "decide"},
        "61m",
        "95m",
    ),
    "RiskladderStalled": Case(trail("Held"), PLACE | {"reason": "Held"}, "11m", "75m"),
    "RiskladderNotificationFailed": Case(
        trail("NotificationFailed", "true"), PLACE | {"reason": "NotificationFailed"}, "11m", "75m"
    ),
    "RiskladderChannelUnavailable": Case(
        condition("ChannelsAvailable", "ChannelUnavailable", 20), PLACE | {"reason": "ChannelUnavailable"}, "21m", "32m"
    ),
    "RiskladderDutyDueSoon": Case(
        {
            f'riskladder_clock_due_timestamp_seconds{{{ESCALATION}, clock="authority", role="legal", drill="false"}}': (
                f"{DAY + 600}x20 stale"
            )
        },
        ONE | {"clock": "authority", "role": "legal"},
        "11m",
        "25m",
    ),
    "RiskladderDutyMissed": Case(
        {
            f'riskladder_clock_due_timestamp_seconds{{{ESCALATION}, clock="authority", role="legal", drill="false"}}': (
                f"_x69 {HOUR}x60 stale"
            )
        },
        ONE | {"clock": "authority", "role": "legal"},
        "71m",
        "135m",
    ),
    "RiskladderAcceptanceEnds": Case(
        {
            f'riskladder_risk_acceptance_until_timestamp_seconds{{{LADDER}, target="Deployment/scorer", '
            'tier="high"}': f"{7 * DAY + 600}x20 stale"
        },
        PLACE | {"target": "Deployment/scorer", "tier": "high"},
        "11m",
        "25m",
    ),
    "RiskladderAcceptanceReopened": Case(
        trail("RiskAcceptanceExpired"), PLACE | {"reason": "RiskAcceptanceExpired"}, "11m", "75m"
    ),
    "RiskladderReviewOverdue": Case(
        condition("ReviewCurrent", "ReviewOverdue", 90), PLACE | {"reason": "ReviewOverdue"}, "75m", "102m"
    ),
    "RiskladderIngestFailing": Case(
        {'riskladder_ingest_requests_total{instance="i", status="503"}': "0x9 0+2x20 40x100"},
        {"status": "503"},
        "17m",
        "37m",
    ),
    "RiskladderSendersUnproved": Case(
        {'riskladder_ingest_unproved_total{instance="i"}': "0x9 0+2x20 40x100"}, {}, "22m", "37m"
    ),
    "RiskladderPollFailing": Case(
        {'riskladder_poll_queries_total{namespace="models", binding="polled", result="failed"}': "0x9 0+2x20 40x100"},
        {"namespace": "models", "binding": "polled"},
        "22m",
        "37m",
    ),
    "RiskladderConsoleFailing": Case(
        {'riskladder_console_requests_total{page="/models", status="5xx"}': "0x9 0+2x20 40x100"}, {}, "17m", "37m"
    ),
}


def promtool(*arguments: str) -> None:
    program = shutil.which("promtool")
    if program is None:
        pytest.skip("needs promtool: apt-get install --no-install-recommends prometheus")
    done = subprocess.run([program, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"


def rules(directory: Path) -> Path:
    """The rules of the component, in the form that Prometheus reads."""
    file = directory / "rules.yaml"
    resource = yaml.safe_load((COMPONENT / "rules.yaml").read_text())
    file.write_text(yaml.safe_dump({"groups": resource["spec"]["groups"]}))
    return file


def written(labels: dict[str, str]) -> str:
    return "ALERTS{" + ", ".join(f'{name}="{value}"' for name, value in labels.items()) + "}"


def story(alert: Alert) -> dict[str, Any]:
    """A test of promtool: nothing fires before, this one alone fires, and nothing afterwards."""
    case = CASES[alert.name]
    labels = {"alertname": alert.name, "alertstate": "firing", "severity": alert.severity, **case.fires}
    firing = 'ALERTS{alertstate="firing"}'
    moments = [(case.before, []), (case.at, [{"labels": written(labels), "value": 1}]), (case.ends, [])]
    return {
        "name": alert.name,
        "interval": "1m",
        "input_series": [{"series": s, "values": values} for s, values in ({**LEADING, **case.series}).items()],
        "promql_expr_test": [{"expr": firing, "eval_time": at, "exp_samples": found} for at, found in moments],
    }


def test_every_alert_fires_alone_and_ends(tmp_path: Path) -> None:
    assert set(CASES) == {alert.name for alert in ALERTS}
    stories = [story(alert) for alert in ALERTS]
    file = tmp_path / "stories.yaml"
    file.write_text(
        yaml.safe_dump({"rule_files": [str(rules(tmp_path))], "evaluation_interval": "1m", "tests": stories})
    )
    promtool("test", "rules", str(file))


@each_alert
def test_runbook_has_a_section_for_the_alert_and_the_alert_names_labels_that_it_has(alert: Alert) -> None:
    annotations = alert.rule()["annotations"]
    assert annotations["runbook_url"] == f"{RUNBOOKS}#{alert.anchor}"
    assert alert.anchor in anchors(OPERATIONS)
    assert set(re.findall(r"\$labels\.(\w+)", alert.summary)) <= set(CASES[alert.name].fires)


def test_rules_are_valid_and_queries_of_the_docs_can_be_asked(tmp_path: Path) -> None:
    queries = [block.text for block in blocks(OPERATIONS, "promql")]
    assert queries
    file = tmp_path / "queries.yaml"
    recorded = [{"record": f"docs:query:{number}", "expr": query} for number, query in enumerate(queries)]
    file.write_text(yaml.safe_dump({"groups": [{"name": "docs", "rules": recorded}]}))
    promtool("check", "rules", str(rules(tmp_path)), str(file))


def named(expression: str) -> set[str]:
    return set(re.findall(r"riskladder_[a-z_]+", expression))


def known() -> set[str]:
    suffixes = {"histogram": ("_bucket", "_count", "_sum"), "counter": ("",), "gauge": ("",)}
    return {name + suffix for name, (kind, _) in exported(*REGISTRIES).items() for suffix in suffixes[kind]}


def test_alerts_and_boards_ask_for_metrics_and_labels_that_there_are() -> None:
    expressions = [alert.expression for alert in ALERTS]
    expressions += [query.expression for board in BOARDS for panel in board.panels for query in panel.queries]
    labels = {name: set(found) for name, (_, found) in exported(*REGISTRIES).items()}
    for expression in expressions:
        assert named(expression) <= known(), expression
        for metric, selector in re.findall(r"(riskladder_[a-z_]+)\{([^}]*)\}", expression):
            wanted = set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", selector))
            assert wanted <= labels[metric.removesuffix("_bucket")], expression


@pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.uid)
def test_board_is_whole(board: Any) -> None:
    """What Grafana makes of it cannot be tried here: the parts that it is made of are those of its core."""
    found = json.loads((COMPONENT / f"boards/{board.uid}.json").read_text())
    assert (found["uid"], found["schemaVersion"]) == (board.uid, 42)
    panels = found["panels"]
    assert {panel["type"] for panel in panels} <= {"row", "stat", "timeseries", "bargauge", "table"}
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= COLUMNS
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, f"{panel['title']} lies on another panel"
        taken |= cells
        for part in [panel, *panel.get("targets", ())] if panel["type"] != "row" else ():
            assert part["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
    variables = {variable["name"] for variable in found["templating"]["list"]}
    assert set(re.findall(r"\$\{?(\w+)", json.dumps(found))) - {"__range", "__rate_interval", "__all"} == variables
