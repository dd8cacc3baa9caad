"""The charts on a real API server, by Helm 3 and 4: installed, upgraded, adopted, refused, uninstalled."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from riskladder.api.kinds import KINDS
from riskladder.cluster.client import Client
from riskladder.cluster.connection import connect
from riskladder.cluster.policies import State, look
from riskladder.cluster.shipped_policies import SHIPPED
from tests.charts.equal import key, of_chart
from tests.charts.helm import CHART, CRDS, RELEASE, Helm, HelmError, ensure_helm, packaged
from tests.cluster import LocalControlPlane
from tests.cluster.install import NAMESPACE, ROOT, InstallError, install, kubectl, service_account_kubeconfig
from tests.conftest import progress
from tests.integration.conftest import needs_local
from tests.patience import PATIENCE
from tests.refusals import DOCUMENTS

KIND_NAMES = sorted(f"{kind.plural}.riskladder.dev" for kind in KINDS.values())
WAITING = ("--wait", f"--timeout={PATIENCE:.0f}s")


@pytest.fixture(scope="module")
def programs(request: pytest.FixtureRequest) -> dict[int, Path]:
    return ensure_helm(progress(request.config))


@pytest.fixture(scope="module")
def bare(request: pytest.FixtureRequest, programs: dict[int, Path]) -> Iterator[LocalControlPlane]:
    """A control plane with nothing installed."""
    del programs  # Built before it runs.
    needs_local(request.config)
    with LocalControlPlane() as plane:
        yield plane


@pytest.fixture(scope="module")
def archives(programs: dict[int, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    home = tmp_path_factory.mktemp("charts")
    return {name: str(packaged(Helm(4, programs[4], home), name, home)) for name in (CHART, CRDS)}


@pytest.fixture
def cluster(bare: LocalControlPlane, programs: dict[int, Path], tmp_path: Path) -> Iterator[Path]:
    """The administrator's kubeconfig of a cluster that has nothing of ours, before and after."""
    yield bare.kubeconfig
    helm = Helm(4, programs[4], tmp_path, bare.kubeconfig)
    for release in json.loads(helm("list", "--all-namespaces", "--output=json")):
        helm("uninstall", release["name"], f"--namespace={release['namespace']}")
    there = {o["metadata"]["name"] for o in objects(bare.kubeconfig, "customresourcedefinitions")}
    for name in there & set(KIND_NAMES):
        kubectl(bare.kubeconfig, "annotate", "--overwrite", f"crd/{name}", f"riskladder.dev/confirm-delete={name}")
        kubectl(bare.kubeconfig, "delete", f"crd/{name}")


@pytest.fixture
def helm3(cluster: Path, programs: dict[int, Path], tmp_path: Path) -> Helm:
    """What both do alike is shown with the older one; what is rendered is compared for both in tests/charts."""
    return Helm(3, programs[3], tmp_path, cluster)


@pytest.fixture
def helm4(cluster: Path, programs: dict[int, Path], tmp_path: Path) -> Helm:
    return Helm(4, programs[4], tmp_path, cluster)


def objects(kubeconfig: Path, kind: str, *options: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(kubectl(kubeconfig, "get", kind, *options, "-o", "json"))["items"]
    return found


def exists(kubeconfig: Path, kind: str, name: str, namespace: str) -> bool:
    return bool(kubectl(kubeconfig, f"--namespace={namespace}", "get", kind, name, "--ignore-not-found"))


def deployment(kubeconfig: Path, namespace: str) -> dict[str, Any]:
    text = kubectl(kubeconfig, f"--namespace={namespace}", "get", "deployment/riskladder", "-o", "json")
    found: dict[str, Any] = json.loads(text)
    return found


def arguments(kubeconfig: Path, namespace: str) -> list[str]:
    container: dict[str, Any] = deployment(kubeconfig, namespace)["spec"]["template"]["spec"]["containers"][0]
    return list(container["args"])


def roles(kubeconfig: Path) -> set[str]:
    """Where the operator's ClusterRole is bound; the empty name is everywhere."""
    bound = objects(kubeconfig, "clusterrolebindings,rolebindings", "--all-namespaces")
    reference = {"kind": "ClusterRole", "name": "riskladder"}
    return {b["metadata"].get("namespace", "") for b in bound if reference.items() <= b["roleRef"].items()}


def record(kubeconfig: Path, operator: Path, namespace: str) -> str:
    """Write a record, which only the operator may."""
    uid = kubectl(kubeconfig, "get", "namespace", namespace, "-o", "jsonpath={.metadata.uid}")
    document = copy.deepcopy(DOCUMENTS["EscalationRecord"])
    document["metadata"] = {"name": "elsewhere-000001", "namespace": namespace}
    document["spec"] |= {"escalation": "elsewhere", "sequence": 1, "namespaceUid": uid}
    with pytest.raises(InstallError, match="only the operator, system:serviceaccount:"):
        kubectl(kubeconfig, "create", "-f", "-", given=yaml.safe_dump(document))
    return kubectl(operator, "create", "-o", "name", "-f", "-", given=yaml.safe_dump(document)).strip()


async def in_force(operator: Path) -> set[str]:
    """The policies that the operator finds in force, and as they are shipped."""
    connection = await connect(str(operator), agent="tests")
    try:
        return {found.name for found in await look(Client(connection)) if found.state is State.IN_FORCE}
    finally:
        await connection.close()


async def test_life_of_a_release(helm3: Helm, cluster: Path, archives: dict[str, str], tmp_path: Path) -> None:
    """In a namespace of another name than the manifests have."""
    namespace, models = f"risk-{helm3.version}", f"models-{helm3.version}"
    release = (RELEASE, archives[CHART], f"--namespace={namespace}")
    with pytest.raises(HelmError, match=f'namespaces "{namespace}" not found'):
        helm3("install", *release)
    notes = helm3("install", *release, "--create-namespace", *WAITING)
    assert 'image.repository is "riskladder", which no registry has' in notes
    assert f"kubectl -n {namespace} rollout status deployment/riskladder" in notes

    manifest = list(yaml.safe_load_all(helm3("get", "manifest", RELEASE, f"--namespace={namespace}")))
    expected = of_chart(helm3.render(Path(archives[CHART]), {}, "--kube-version=1.36.3", namespace=namespace))
    assert {key(document) for document in manifest if document} == expected.keys()
    operator = service_account_kubeconfig(cluster, tmp_path / "operator.kubeconfig", namespace=namespace)
    install_is_effective(cluster)
    assert await in_force(operator) == set(SHIPPED), "the operator knows them under the name that it has here"

    kubectl(cluster, "create", "namespace", models)
    kept = record(cluster, operator, models)

    helm3("upgrade", *release, "--set=components.keda=true,operator.replicas=1,crds.keep=true", *WAITING)
    assert arguments(cluster, namespace)[-1] == "--enable=keda"
    assert (deployment(cluster, namespace)["spec"]["replicas"], roles(cluster)) == (1, {""})
    helm3("upgrade", *release, "--reuse-values", f"--set=watchNamespaces={{{models}}},components.ingest=true", *WAITING)
    assert {f"--namespace={models}", "--enable=keda"} <= set(arguments(cluster, namespace))
    assert roles(cluster) == {models}
    assert exists(cluster, "deployment", "riskladder-ingest", namespace)
    helm3("upgrade", *release, "--reset-values", *WAITING)
    assert roles(cluster) == {""}
    assert not exists(cluster, "deployment", "riskladder-ingest", namespace)
    assert arguments(cluster, namespace) == ["operator", "--listen", "0.0.0.0:8080"]

    with pytest.raises(HelmError, match="exists and cannot be imported into the current release"):
        helm3("install", "second", archives[CHART], "--namespace=elsewhere", "--create-namespace")
    assert helm3("list", "--namespace=elsewhere", "--short") == ""
    assert deployment(cluster, namespace)["metadata"]["annotations"]["meta.helm.sh/release-name"] == RELEASE

    helm3("uninstall", RELEASE, f"--namespace={namespace}", "--wait")
    assert [
        o["metadata"]["name"] for o in objects(cluster, "crd") if "riskladder" in o["metadata"]["name"]
    ] == KIND_NAMES
    assert kubectl(cluster, f"--namespace={models}", "get", "-o", "name", kept).strip() == kept
    assert not exists(cluster, "deployment", "riskladder", namespace)
    assert not objects(
        cluster, "validatingadmissionpolicies,mutatingadmissionpolicies", "-l=app.kubernetes.io/name=riskladder"
    )

    helm3("install", *release, *WAITING)
    assert kubectl(cluster, f"--namespace={models}", "get", "-o", "name", kept).strip() == kept


def install_is_effective(kubeconfig: Path) -> None:
    from demo.install import wait_for_policies

    wait_for_policies(kubeconfig)


async def test_takes_over_from_kustomize(helm4: Helm, cluster: Path, archives: dict[str, str], tmp_path: Path) -> None:
    install(cluster)
    uids = {o["metadata"]["name"]: o["metadata"]["uid"] for o in objects(cluster, "crd,clusterroles,deployments", "-A")}
    release = (RELEASE, archives[CHART], f"--namespace={NAMESPACE}")
    with pytest.raises(HelmError, match="cannot be imported into the current release: invalid ownership metadata"):
        helm4("upgrade", "--install", *release)
    assert helm4("list", f"--namespace={NAMESPACE}", "--short") == "", "nothing was changed"
    helm4("upgrade", "--install", *release, "--take-ownership", "--server-side=false", *WAITING)
    found = objects(cluster, "crd,clusterroles,deployments", "-A")
    assert {o["metadata"]["name"]: o["metadata"]["uid"] for o in found}.items() >= uids.items(), "nothing was replaced"
    assert deployment(cluster, NAMESPACE)["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "Helm"
    operator = service_account_kubeconfig(cluster, tmp_path / "operator.kubeconfig")
    assert await in_force(operator) == set(SHIPPED)
    helm4("upgrade", *release, "--set=operator.replicas=1", *WAITING)
    assert deployment(cluster, NAMESPACE)["spec"]["replicas"] == 1


def test_whoever_may_not_create_policies_is_told_which(helm4: Helm, cluster: Path, archives: dict[str, str]) -> None:
    """With the policies applied by somebody who may, the rest can be installed."""
    groups = (
        *("", "apps", "policy", "networking.k8s.io", "rbac.authorization.k8s.io", "flowcontrol.apiserver.k8s.io"),
        "apiextensions.k8s.io",
    )
    rules = [{"apiGroups": list(groups), "resources": ["*"], "verbs": ["*"]}]
    role = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": {"name": "installer"},
        "rules": rules,
    }
    kubectl(cluster, "create", "-f", "-", given=yaml.safe_dump(role))
    kubectl(cluster, "create", "clusterrolebinding", "installer", "--clusterrole=installer", "--user=installer")
    installer = Helm(4, helm4.program, helm4.home, cluster, user="installer")
    release = (RELEASE, archives[CHART], "--namespace=limited", "--create-namespace")
    with pytest.raises(HelmError) as refusal:
        installer("install", *release, "--rollback-on-failure", *WAITING)
    words = r'admissionpolicies.admissionregistration.k8s.io ".*" is forbidden: User "installer" cannot get resource'
    assert re.search(words, str(refusal.value)), str(refusal.value)
    assert installer("list", "--namespace=limited", "--short") == "", "nothing was installed"
    kubectl(cluster, "apply", "--server-side", "-k", str(ROOT / "manifests/policies"))
    installer("upgrade", "--install", *release, "--set=policies.enabled=false", *WAITING)
    kubectl(cluster, "delete", "-k", str(ROOT / "manifests/policies"))


def test_kinds_as_a_release_of_their_own(helm4: Helm, cluster: Path, archives: dict[str, str]) -> None:
    """Without ``keep`` they go with it, but not while the policy guards them."""
    helm4("install", CRDS, archives[CRDS], "--namespace=kinds", "--create-namespace", "--set=keep=false")
    helm4(
        *("install", RELEASE, archives[CHART], "--namespace=apart", "--create-namespace", "--set=crds.enabled=false"),
        *WAITING,
    )
    install_is_effective(cluster)
    with pytest.raises(HelmError, match="deleting it deletes every object of the kind, in all namespaces and for good"):
        helm4("uninstall", CRDS, "--namespace=kinds", "--debug")
    assert {o["metadata"]["name"] for o in objects(cluster, "crd")} >= set(KIND_NAMES)
    for name in KIND_NAMES:
        kubectl(cluster, "annotate", f"crd/{name}", f"riskladder.dev/confirm-delete={name}")
    helm4("uninstall", CRDS, "--namespace=kinds", "--wait")
    assert not {o["metadata"]["name"] for o in objects(cluster, "crd")} & set(KIND_NAMES)
