"""The kustomize components of what is optional, generated from the adapters of the runtimes.

Each turns an option of the operator on, and grants what it needs, on top of any overlay.
"""

from __future__ import annotations

import json
import textwrap
from collections.abc import Sequence

from riskladder.cluster.grants import Grant
from riskladder.generate.rbac import NAME
from riskladder.generate.text import HEADER, WIDTH
from riskladder.workloads.registry import COMPANION_KINDS, OPTIONAL, SAFE_STATES


def component(name: str, options: Sequence[str], grants: Sequence[Grant], about: str) -> str:
    """Return what turns an option of the operator on, and grants what it needs, on top of any overlay."""
    role = "".join(f"    - op: add\n      path: /rules/-\n      value: {json.dumps(g.to_rule())}\n" for g in grants)
    args = "".join(
        f"    - op: add\n      path: /spec/template/spec/containers/0/args/-\n      value: {json.dumps(option)}\n"
        for option in options
    )
    reasons = "".join(f"# - {', '.join(g.verbs)} {', '.join(g.resources)}: {g.why}\n" for g in grants)
    head = textwrap.fill(about, width=WIDTH, initial_indent="# ", subsequent_indent="# ")
    return (
        f"{HEADER.format(source='workloads')}#\n{head}\n#\n{reasons}"
        "apiVersion: kustomize.config.k8s.io/v1alpha1\n"
        "kind: Component\n"
        "patches:\n"
        f"- target: {{kind: ClusterRole, name: {NAME}}}\n"
        f"  patch: |-\n{role}"
        f"- target: {{kind: Deployment, name: {NAME}}}\n"
        f"  patch: |-\n{args}"
    )


def components() -> dict[str, str]:
    """Return the kustomize components of what is optional, by name: one may serve several kinds."""
    found = {}
    for name in sorted({runtime.component for runtime in OPTIONAL}):
        served = [runtime for runtime in OPTIONAL if runtime.component == name]
        grants = tuple(dict.fromkeys(grant for runtime in served for grant in runtime.permissions))
        kinds = " and ".join(f"{runtime.resource.kind} ({runtime.resource.api_version})" for runtime in served)
        found[name] = component(name, [f"--enable={name}"], grants, f"Targets of kind {kinds}: see docs/runtimes.md.")
    for part in (*COMPANION_KINDS, *SAFE_STATES):
        about, name = f"{part.about}: see docs/runtimes.md.", part.component
        found[name] = component(name, [f"--enable={name}"], part.permissions, about)
    return found
