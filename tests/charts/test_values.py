"""The values of the charts: each does something, and what is wrong is refused in one clear line."""

from __future__ import annotations

import shutil
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from riskladder import __version__
from riskladder.api.kinds import KINDS
from riskladder.generate.__main__ import files
from riskladder.generate.helm.templates import WORKLOADS
from tests import yaml_text
from tests.charts.equal import key
from tests.charts.helm import CHART, CHARTS, CRDS, RELEASE, Helm, HelmError
from tests.charts.test_equal import COMPONENTS, KUBERNETES
from tests.cluster.install import ROOT

VALUES = yaml_text.load((CHARTS / CHART / "values.yaml").read_text("utf-8"))
EVERYTHING: dict[str, Any] = {"components": dict.fromkeys(COMPONENTS, True)}

POD: dict[str, Any] = {
    "priorityClassName": "other-class",
    "nodeSelector": {"zone": "other"},
    "tolerations": [{"key": "other", "operator": "Exists"}],
    "affinity": {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": []}},
    "topologySpreadConstraints": [{"topologyKey": "other"}],
}
"""Other values than the default, which a pod has under the same names."""

MORE: dict[str, Any] = {
    "podLabels": {"other": "label"},
    "podAnnotations": {"other": "annotation"},
    "extraArgs": ["--other"],
    "extraEnv": [{"name": "OTHER", "value": "{{ not a template }}"}],
    "extraVolumes": [{"name": "other", "emptyDir": {}}],
    "extraVolumeMounts": [{"name": "other", "mountPath": "/other"}],
    "extraEgress": [{"ports": [{"protocol": "TCP", "port": 587}]}],
}
RESOURCES = {"requests": {"cpu": "111m"}, "limits": {"memory": 1234567}}
ENDPOINTS = [{"name": "other", "url": "https://thanos.example", "timeout": "5s"}]
OWN: dict[str, dict[str, Any]] = {
    "operator": {"replicas": 7},
    "ingest": {"replicas": 7},
    "poll": {"replicas": 7, "endpoints": ENDPOINTS},
    "console": {"url": "https://other.example"},
}
DEPLOYMENT = ("Deployment", "riskladder")
DIGEST = f"sha256:{'0' * 64}"

SWITCHES: dict[tuple[str, str], set[str]] = {
    ("crds", "enabled"): {"CustomResourceDefinition"},
    ("policies", "enabled"): {
        f"{kind}AdmissionPolicy{part}" for kind in ("Validating", "Mutating") for part in ("", "Binding")
    },
    ("networkPolicies", "enabled"): {"NetworkPolicy"},
    ("fairness", "enabled"): {"FlowSchema", "PriorityLevelConfiguration"},
    ("quota", "enabled"): {"ResourceQuota"},
}
"""Switches, and the kinds that are not installed without them."""

ELSEWHERE = {("crds", "keep"), ("policies", "keep"), ("policies", "identity"), ("userRoles", "enabled")}
IMAGE = {("image", name) for name in ("repository", "tag", "digest", "pullPolicy")}
SHARED = {("imagePullSecrets",), ("commonLabels",), ("watchNamespaces",)}


def leaves(values: dict[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for name, value in values.items():
        section = isinstance(value, dict) and value and name not in POD | {"resources": None}
        yield from leaves(value, (*path, name)) if section else [(*path, name)]


def test_every_value_is_tried_here() -> None:
    tried = {(workload, name) for workload, own in OWN.items() for name in (*POD, *MORE, *own, "resources")}
    tried |= {("components", name) for name in COMPONENTS} | SWITCHES.keys() | ELSEWHERE | IMAGE | SHARED
    assert set(leaves(VALUES)) == tried


def test_values_of_every_workload(helm: Helm, chart: Path) -> None:
    values = EVERYTHING | {name: {**POD, **MORE, "resources": RESOURCES, **own} for name, own in OWN.items()}
    shared = {"imagePullSecrets": [{"name": "other"}], "commonLabels": {"of": "all"}, "watchNamespaces": ["a", "b"]}
    image = {"repository": "registry.example/other", "tag": "other", "pullPolicy": "Always"}
    before = {key(d): d for d in helm.render(chart, EVERYTHING, KUBERNETES)}
    documents = helm.render(chart, values | shared | {"image": image}, KUBERNETES)
    after = {key(d): d for d in documents}
    of_kinds = {k for k in after if k[0] == "CustomResourceDefinition"}
    assert {d["metadata"]["labels"].get("of") for k, d in after.items() if k not in of_kinds} == {"all"}
    for name, workload in WORKLOADS.items():
        where = ("Deployment", "riskladder-system", name)
        old, new = before[where]["spec"], after[where]["spec"]
        assert new.get("replicas") == OWN[workload].get("replicas", 1)
        assert new["selector"] == old["selector"]
        template, pod = new["template"], new["template"]["spec"]
        assert template["metadata"]["labels"] == {**old["template"]["metadata"]["labels"], "other": "label"}
        assert template["metadata"]["annotations"]["other"] == "annotation"
        assert {field: pod[field] for field in POD} == POD
        assert pod["imagePullSecrets"] == [{"name": "other"}]
        assert pod["volumes"][-1:] == MORE["extraVolumes"]
        [container], [was] = pod["containers"], old["template"]["spec"]["containers"]
        assert (container["image"], container["imagePullPolicy"]) == ("registry.example/other:other", "Always")
        assert container["resources"]["requests"] == {**was["resources"]["requests"], "cpu": "111m"}
        assert container["resources"]["limits"] == {**was["resources"]["limits"], "memory": 1234567}
        confined = ["--namespace=a", "--namespace=b"] if workload == "operator" else []
        assert [argument for argument in container["args"] if argument not in was["args"]] == [*confined, "--other"]
        assert container["args"][-1] == "--other"
        assert container["env"] == [*was.get("env", ()), *MORE["extraEnv"]]
        assert container["volumeMounts"][-1:] == MORE["extraVolumeMounts"]
        policy = after["NetworkPolicy", "riskladder-system", name]["spec"]
        assert policy["egress"][-1:] == MORE["extraEgress"]
    endpoints = after["ConfigMap", "riskladder-system", "riskladder-poll"]["data"]["endpoints.yaml"]
    assert yaml_text.load(endpoints) == {"endpoints": ENDPOINTS}
    assert after["ConfigMap", "riskladder-system", "riskladder-console"]["data"] == {"url": "https://other.example"}
    assert after.keys() - before.keys() == {("RoleBinding", namespace, "riskladder") for namespace in ("a", "b")}
    assert before.keys() - after.keys() == {("ClusterRoleBinding", "", "riskladder")}
    for name, annotation in (
        ("riskladder", "checksum/console"),
        ("riskladder-console", "checksum/url"),
        ("riskladder-poll", "checksum/endpoints"),
    ):
        found = [
            d["Deployment", "riskladder-system", name]["spec"]["template"]["metadata"]["annotations"][annotation]
            for d in (before, after)
        ]
        assert found[0] != found[1], f"pods of {name} are replaced"


@pytest.mark.parametrize(("section", "name"), SWITCHES)
def test_switch(helm4: Helm, chart: Path, section: str, name: str) -> None:
    every = {key(d) for d in helm4.render(chart, EVERYTHING, KUBERNETES)}
    found = {key(d) for d in helm4.render(chart, {**EVERYTHING, section: {name: False}}, KUBERNETES)}
    assert every - found == {k for k in every if k[0] in SWITCHES[section, name]} != set()
    assert found <= every


def test_roles_of_people_can_be_left_out(helm4: Helm, chart: Path) -> None:
    every = {key(d) for d in helm4.render(chart, {}, KUBERNETES)}
    found = {key(d) for d in helm4.render(chart, {"userRoles": {"enabled": False}}, KUBERNETES)}
    assert every - found == {("ClusterRole", "", name) for name in ("riskladder-view", "riskladder-edit")}


@pytest.mark.parametrize(("crds", "policies"), [(True, False), (False, True)])
def test_what_stays_when_the_release_is_uninstalled(helm4: Helm, chart: Path, crds: bool, policies: bool) -> None:
    values = {"crds": {"keep": crds}, "policies": {"keep": policies}}
    kept = {
        d["kind"]
        for d in helm4.render(chart, values, KUBERNETES)
        if d["metadata"].get("annotations", {}).get("helm.sh/resource-policy") == "keep"
    }
    assert kept == (SWITCHES["crds", "enabled"] if crds else SWITCHES["policies", "enabled"])


@pytest.mark.parametrize(
    ("version", "identity", "expected"),
    [
        ("1.36.0", "auto", True),
        ("v1.36.2-gke.1004", "auto", True),
        ("1.35.4", "auto", False),
        ("1.30.0-eks-1", "auto", False),
        ("1.35.4", "always", True),
        ("1.36.0", "never", False),
    ],
)
def test_policy_of_authors_is_installed_where_the_cluster_has_it(
    helm4: Helm, chart: Path, version: str, identity: str, expected: bool
) -> None:
    values = {"policies": {"identity": identity}}
    kinds = {d["kind"] for d in helm4.render(chart, values, f"--kube-version={version}")}
    assert ("MutatingAdmissionPolicy" in kinds) == expected
    assert "ValidatingAdmissionPolicy" in kinds


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        ({}, f"riskladder:{__version__}"),
        ({"repository": "registry.example:5000/a/b", "tag": "1.2"}, "registry.example:5000/a/b:1.2"),
        ({"tag": "1.2", "digest": DIGEST}, f"riskladder@{DIGEST}"),
    ],
)
def test_image(helm4: Helm, chart: Path, image: dict[str, str], expected: str) -> None:
    documents = helm4.render(chart, {**EVERYTHING, "image": image}, KUBERNETES)
    pods = [d["spec"]["template"]["spec"] for d in documents if d["kind"] == "Deployment"]
    assert [container["image"] for pod in pods for container in pod["containers"]] == [expected] * len(WORKLOADS)


def test_pod_of_helm_test_is_as_confined_as_the_operator(helm4: Helm, chart: Path) -> None:
    values = "--set=image.digest=" + DIGEST + ",operator.nodeSelector.zone=other"
    text = helm4("template", RELEASE, str(chart), KUBERNETES, "--namespace=risk", values)
    documents = {key(d): d for d in yaml_text.load_all(text) if d}
    pod, operator = (documents[kind, "risk", name] for kind, name in (("Pod", "riskladder-doctor"), DEPLOYMENT))
    its, theirs = pod["spec"], operator["spec"]["template"]["spec"]
    same = ("serviceAccountName", "securityContext", "nodeSelector", "tolerations", "volumes")
    assert {field: its[field] for field in same} == {field: theirs[field] for field in same}
    [tried], [container] = its["containers"], theirs["containers"]
    same = ("image", "securityContext", "volumeMounts", "resources")
    assert {field: tried[field] for field in same} == {field: container[field] for field in same}
    assert tried["args"] == ["doctor", "--operator-namespace", "risk"]
    labels = pod["metadata"]["labels"].items()
    assert not operator["spec"]["selector"]["matchLabels"].items() <= labels, "no Service sends it anything"


# --- What is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"components": {"tensorflow": True}}, ("/components", "'tensorflow' not allowed")),
        ({"components": {"keda": "yes"}}, ("/components/keda", "got string, want boolean")),
        ({"replicas": 3}, ("'replicas' not allowed",)),
        ({"operator": {"replicas": "3"}}, ("/operator/replicas", "got string, want integer")),
        ({"operator": {"replicas": -1}}, ("/operator/replicas", "minimum")),
        ({"console": {"replicas": 2}}, ("/console", "'replicas' not allowed")),
        ({"operator": {"extraArgs": "--log-level=DEBUG"}}, ("/operator/extraArgs", "got string, want array")),
        ({"operator": {"resources": {"limit": {}}}}, ("/operator/resources", "'limit' not allowed")),
        ({"image": {"digest": "sha256:123"}}, ("/image/digest", "does not match pattern")),
        ({"image": "riskladder"}, ("/image", "got string, want object")),
        ({"watchNamespaces": ["a", "A"]}, ("/watchNamespaces/1", "does not match pattern")),
        ({"watchNamespaces": ["a", "a"]}, ("/watchNamespaces", "items at 0 and 1 are equal")),
        (
            {"operator": {"podLabels": {"app.kubernetes.io/name": "other"}}},
            ("/operator/podLabels/app.kubernetes.io~1name", "false schema"),
        ),
        ({"commonLabels": {"helm.sh/chart": "other"}}, ("/commonLabels/helm.sh~1chart", "false schema")),
        ({"policies": {"identity": "yes"}}, ("/policies/identity", "'auto', 'always', 'never'")),
        ({"crds": {"install": True}}, ("/crds", "'install' not allowed")),
        ({"poll": {"endpoints": []}}, ("/poll/endpoints", "minItems")),
        ({"poll": {"endpoints": [{"name": "a", "url": "https://u:p@x"}]}}, ("/poll/endpoints/0/url", "pattern")),
        ({"console": {"url": "javascript:alert(1)"}}, ("/console/url", "does not match pattern")),
        (
            {"components": {"console-impersonation": True}},
            ("components.console-impersonation is true, and components.console is not",),
        ),
    ],
)
def test_wrong_values_are_refused(helm: Helm, chart: Path, values: dict[str, Any], words: tuple[str, ...]) -> None:
    with pytest.raises(HelmError) as refusal:
        helm.render(chart, values, KUBERNETES)
    lines = [line for line in str(refusal.value).splitlines() if all(word in line for word in words)]
    assert len(lines) == 1, str(refusal.value)


def test_wrong_value_of_the_kinds_is_refused(helm: Helm, crds_chart: Path) -> None:
    with pytest.raises(HelmError, match="at '/keep': got string, want boolean"):
        helm.render(crds_chart, {"keep": "yes"}, KUBERNETES)


@pytest.mark.parametrize("version", ["1.29.15", "v1.29.9-gke.1"])
def test_older_kubernetes_is_refused(helm: Helm, chart: Path, version: str) -> None:
    with pytest.raises(HelmError, match=r"chart requires kubeVersion: >=1\.30\.0-0 which is incompatible with"):
        helm.render(chart, {}, f"--kube-version={version}")


# --- The charts themselves --------------------------------------------------------------------------------------------


def test_chart_of_a_checkout_brings_the_kinds_along(helm: Helm, chart: Path, tmp_path: Path) -> None:
    """As the documentation has it. Helm writes the archive of the kinds into the directory of the chart."""
    shutil.copytree(CHARTS, tmp_path / "charts", ignore=shutil.ignore_patterns("*.tgz", "Chart.lock"))
    directory = tmp_path / "charts" / CHART
    with pytest.raises(HelmError, match=r"missing in charts/ directory: riskladder-crds"):
        helm.render(directory, {}, KUBERNETES)
    text = helm("template", RELEASE, str(directory), "--dependency-update", KUBERNETES, "--skip-tests")
    assert text.count("kind: CustomResourceDefinition\n") == len(KINDS)


def test_charts_pass_the_linter(helm: Helm, chart: Path, crds_chart: Path) -> None:
    for archive in (chart, crds_chart):
        assert "0 chart(s) failed" in helm("lint", "--strict", "--kube-version=1.36.3", str(archive))


def test_no_generated_template_is_left_of_what_is_no_more() -> None:
    written = {path for path in files(ROOT) if path.is_relative_to(CHARTS)}
    generated = {path for path in CHARTS.rglob("*.yaml") if "`make generate`" in path.read_text("utf-8")}
    assert generated <= written


@pytest.mark.parametrize(("name", "templates"), [(CHART, 20), (CRDS, len(KINDS))])
def test_archive_has_what_it_needs_and_nothing_else(
    helm4: Helm, chart: Path, crds_chart: Path, name: str, templates: int
) -> None:
    with tarfile.open(chart if name == CHART else crds_chart) as archive:
        names = [member.name.removeprefix(f"{name}/") for member in archive.getmembers()]
    own = [file for file in names if not file.startswith("charts/")]
    assert {file for file in own if "/" not in file} >= {"Chart.yaml", "README.md", "values.yaml", "values.schema.json"}
    assert len([file for file in own if file.startswith("templates/") and file.endswith(".yaml")]) >= templates
    assert not [file for file in names if file.rpartition("/")[2].startswith(".") and not file.endswith(".helmignore")]
