"""The files of the component: what Prometheus scrapes and evaluates, and boards as Grafana's sidecar takes them."""

from __future__ import annotations

import json
from typing import Any

from riskladder.generate.monitoring.alerts import groups
from riskladder.generate.monitoring.boards import BOARDS
from riskladder.generate.text import HEADER, dump

NAMESPACE = "riskladder-system"
API_VERSION = "monitoring.coreos.com/v1"
LABELS = {"app.kubernetes.io/name": "riskladder", "app.kubernetes.io/component": "monitoring"}

SCRAPED = {"riskladder.dev/metrics": "true"}
"""Label of the Services whose port `http` has the metrics of a process."""

INTERVAL = "15s"

SOURCE = HEADER.format(source="generate/monitoring")

KUSTOMIZATION = """\
{source}#
# For a cluster with Prometheus Operator and Grafana: see docs/operations.md. On top of any overlay.
apiVersion: kustomize.config.k8s.io/v1alpha1
kind: Component
resources:
- scrape.yaml
- rules.yaml
configMapGenerator:
{boards}generatorOptions:
  disableNameSuffixHash: true
"""

BOARD = """\
- name: {uid}
  namespace: {namespace}
  files: [boards/{uid}.json]
  options:
    labels: {{grafana_dashboard: "1", app.kubernetes.io/name: riskladder, app.kubernetes.io/component: monitoring}}
"""


def monitor() -> dict[str, Any]:
    """Return what has Prometheus scrape every process, each replica for itself."""
    endpoint = {
        "port": "http",
        "interval": INTERVAL,
        # The namespace of a metric is that of the ladder; else Prometheus would call it exported_namespace.
        "honorLabels": True,
    }
    return _resource("ServiceMonitor", {"selector": {"matchLabels": SCRAPED}, "endpoints": [endpoint]})


def rule() -> dict[str, Any]:
    """Return the alerts."""
    return _resource("PrometheusRule", {"groups": groups()})


def _resource(kind: str, spec: dict[str, Any]) -> dict[str, Any]:
    metadata = {"name": "riskladder", "namespace": NAMESPACE, "labels": LABELS}
    return {"apiVersion": API_VERSION, "kind": kind, "metadata": metadata, "spec": spec}


def files() -> dict[str, str]:
    """Return the files, by path within the component."""
    boards = "".join(BOARD.format(uid=board.uid, namespace=NAMESPACE) for board in BOARDS)
    return {
        "kustomization.yaml": KUSTOMIZATION.format(source=SOURCE, boards=boards),
        "scrape.yaml": SOURCE + dump(monitor()),
        "rules.yaml": SOURCE + dump(rule()),
        **{f"boards/{board.uid}.json": json.dumps(board.json(), indent=1) + "\n" for board in BOARDS},
    }
