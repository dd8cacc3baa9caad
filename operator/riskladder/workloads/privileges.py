"""What the pods of a workload may do beyond running: compared before a rollback, and by the policy riskladder-operator.

A rollback puts an older pod template back. That may never give the workload anything that it does not have now, since
whoever holds the operator's token could write any template. The policy (``generate/operator_policy.py``) says the same
in CEL; both are held against each other on a real API server.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

HOST_FLAGS = ("hostNetwork", "hostPID", "hostIPC")

HASH_SUFFIX = r"-[2456789bcdfghkmt]{10}$"
"""What kustomize appends to the name of a Secret that it generates, so that each content has a name of its own."""

_SUFFIX = re.compile(HASH_SUFFIX)


def privileges(template: Mapping[str, Any]) -> frozenset[str]:
    """Return what a pod template grants its pods, each as a reader would call it."""
    return _once(frozenset(_of_pod(template.get("spec") or {})))


@lru_cache(maxsize=1024)
def _once(found: frozenset[str]) -> frozenset[str]:
    """Return the first that says the same: thousands of pod templates do, and all are kept."""
    return found


def gained(before: frozenset[str], after: frozenset[str]) -> str:
    """Return what pods would be granted that they are not now, for people; empty for nothing."""
    return ", ".join(sorted(after - before))


def _of_pod(spec: Mapping[str, Any]) -> Iterator[str]:
    yield f"service account {spec.get('serviceAccountName') or spec.get('serviceAccount') or 'default'}"
    if spec.get("automountServiceAccountToken", True):
        yield "a service account token"
    yield from (flag for flag in HOST_FLAGS if spec.get(flag))
    for volume in spec.get("volumes") or ():
        yield from _of_volume(volume)
    for container in (*(spec.get("containers") or ()), *(spec.get("initContainers") or ())):
        yield from _of_container(container)


def _of_volume(volume: Mapping[str, Any]) -> Iterator[str]:
    if "hostPath" in volume:
        yield f"hostPath {volume['hostPath'].get('path', '')}"
    if "secret" in volume:
        yield _secret(volume["secret"].get("secretName"))
    if "csi" in volume:
        yield f"CSI driver {volume['csi'].get('driver', '')}"
    for source in (volume.get("projected") or {}).get("sources") or ():
        if "secret" in source:
            yield _secret(source["secret"].get("name"))
        if "serviceAccountToken" in source:
            yield f"a token for audience {source['serviceAccountToken'].get('audience', '')}".rstrip()


def _of_container(container: Mapping[str, Any]) -> Iterator[str]:
    context = container.get("securityContext") or {}
    if context.get("privileged"):
        yield "a privileged container"
    if context.get("procMount", "Default") == "Unmasked":
        yield "procMount Unmasked"
    yield from (f"capability {name}" for name in (context.get("capabilities") or {}).get("add") or ())
    for variable in container.get("env") or ():
        if "secretKeyRef" in (variable.get("valueFrom") or {}):
            yield _secret(variable["valueFrom"]["secretKeyRef"].get("name"))
    for source in container.get("envFrom") or ():
        if "secretRef" in source:
            yield _secret(source["secretRef"].get("name"))


def _secret(name: str | None) -> str:
    return f"Secret {_SUFFIX.sub('', name or '')}"
