"""What the API server itself has counted: the operator's own numbers are not taken on trust."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path

from bench.api import Api
from bench.contenders import LEASES, Requests, is_write

GROUP = "riskladder.dev"
WRITTEN = {
    ("POST", GROUP, "escalations", ""): ("create", f"escalations.{GROUP}"),
    ("PATCH", GROUP, "escalations", ""): ("patch", f"escalations.{GROUP}"),
    ("PATCH", GROUP, "escalations", "status"): ("patch", f"escalations.{GROUP}/status"),
    ("PATCH", GROUP, "modelrisksignals", "status"): ("patch", f"modelrisksignals.{GROUP}/status"),
    ("PATCH", GROUP, "escalationladders", "status"): ("patch", f"escalationladders.{GROUP}/status"),
    ("POST", GROUP, "escalationrecords", ""): ("create", f"escalationrecords.{GROUP}"),
    ("POST", GROUP, "containmentindexes", ""): ("create", f"containmentindexes.{GROUP}"),
    ("PUT", GROUP, "containmentindexes", ""): ("update", f"containmentindexes.{GROUP}"),
    ("PATCH", "apps", "deployments", ""): ("patch", "deployments.apps"),
    ("POST", "events.k8s.io", "events", ""): ("create", "events.events.k8s.io"),
}
"""Verbs and resources that nobody but the operator writes in these measurements.

The controllers of Kubernetes use PUT and the older Events, and the bench touches signals without their status. The
scheduler writes Events of this API too, but only as pods start, which none does while writes are counted.
"""

LINE = re.compile(r"^apiserver_request_total\{(?P<labels>[^}]*)\} (?P<value>\S+)$", re.MULTILINE)
LABEL = re.compile(r'(\w+)="([^"]*)"')


async def served(api: Api) -> Requests:
    """Return the writes of the operator's kinds that the API server has answered so far."""
    found: Requests = Counter()
    for line in LINE.finditer(await api.text("/metrics")):
        labels = dict(LABEL.findall(line["labels"]))
        key = WRITTEN.get((labels["verb"], labels["group"], labels["resource"], labels["subresource"]))
        if key is not None:
            found[key] += round(float(line["value"]))
    return found


CPU = re.compile(r"^process_cpu_seconds_total (?P<value>\S+)$", re.MULTILINE)


async def server_cpu(api: Api) -> float:
    """Return seconds of CPU that the API server has used so far, by its own account."""
    found = CPU.search(await api.text("/metrics"))
    assert found is not None
    return float(found["value"])


def audited(log: Path, user: str, after: int) -> list[tuple[str, str, str]]:
    """Return a user's requests from the audit log, in the order of their answers: verb, resource, name of the object.

    Args:
        log: The audit log.
        user: Its user name.
        after: How many bytes of the log to skip.
    """
    with log.open("rb") as file:
        file.seek(after)
        lines = file.read().splitlines()
    events = [json.loads(line) for line in lines if line.endswith(b"}")]
    mine = [event for event in events if event["user"]["username"] == user and event["stage"] == "ResponseComplete"]
    found = []
    for event in sorted(mine, key=lambda event: str(event["stageTimestamp"])):
        ref = event.get("objectRef") or {}
        resource = ".".join(filter(None, (ref.get("resource", ""), ref.get("apiGroup", ""))))
        resource += f"/{ref['subresource']}" if ref.get("subresource") else ""
        if event["verb"] != "watch" and resource != LEASES:
            found.append((event["verb"], resource, ref.get("name", "")))
    return found


def split_at_stop(requests: list[tuple[str, str, str]], target: str) -> tuple[int, int, int, int]:
    """Return the requests and writes of a breach up to the one that stopped the model, and in all."""
    stop = next(
        (
            i
            for i, (verb, resource, name) in enumerate(requests)
            if (verb, resource, name) == ("patch", "deployments.apps", target)
        ),
        len(requests) - 1,
    )
    before = requests[: stop + 1]
    return len(before), _writes(before), len(requests), _writes(requests)


def _writes(requests: list[tuple[str, str, str]]) -> int:
    return sum(is_write(verb, resource) for verb, resource, _ in requests)
