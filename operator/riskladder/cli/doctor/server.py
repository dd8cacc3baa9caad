"""The API server: its version, and what of it Riskladder uses. Pure, but for the requests."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from riskladder.cli.doctor.report import Check, bad, ok, skipped, warn
from riskladder.cli.doctor.site import Site
from riskladder.cluster.client import NotFound
from riskladder.cluster.policies import GROUP, IDENTITY, MUTATING
from riskladder.cluster.policies import VERSION as POLICY_VERSION
from riskladder.cluster.server_clock import TOLERANCE

SERVER, IDENTITY_SERVED, CLOCK = "API server", "identity policy", "clock"

LEAST = (1, 30)
"""The oldest version of Kubernetes: it has ValidatingAdmissionPolicy v1."""

USES = (
    ((1, 32), "who decided is on record with the credential that was used"),
    ((1, 35), "resourceVersions can be compared"),
    ((1, 36), "MutatingAdmissionPolicy v1 (policies/identity) and constrained impersonation (console, ingest, poll)"),
)
"""What a version of Kubernetes brings that is used where it is there."""

WITHOUT_MUTATING = "manifests/overlays/without-mutating-admission"


def judge_version(info: Mapping[str, Any]) -> Check:
    """Return whether Riskladder runs on a version of Kubernetes, and what of it it does without.

    Args:
        info: The answer to ``/version``.
    """
    text = str(info.get("gitVersion") or "")
    found = re.match(r"v?(\d+)\.(\d+)", text)
    if found is None:
        return skipped(SERVER, f"its version is {text or 'not said'}, expected for example v1.36.3")
    version = (int(found[1]), int(found[2]))
    if version < LEAST:
        what = f"Kubernetes {text}, and 1.30 or newer is needed: before that there is no ValidatingAdmissionPolicy v1"
        return bad(SERVER, what, "upgrade the cluster")
    lacking = [f"{'.'.join(map(str, since))}: {what}" for since, what in USES if version < since]
    return ok(SERVER, f"Kubernetes {text}" + (f"; not used, from {'; from '.join(lacking)}" if lacking else ""))


async def check_version(site: Site) -> list[Check]:
    """Return whether the API server is new enough."""
    info = await site.client.request("GET", "/version", verb="get", resource="version")
    return [judge_version(info)]


async def serves_mutating(site: Site) -> bool:
    """Return whether the API server has MutatingAdmissionPolicy v1.

    Raises:
        ApiError: It could not be asked.
    """
    path = f"/apis/{GROUP}/{POLICY_VERSION}"
    try:
        found = await site.client.request("GET", path, verb="get", resource="apiresourcelists")
    except NotFound:
        return False
    return any(resource["name"] == MUTATING.plural for resource in found.get("resources") or ())


async def check_mutating(site: Site) -> list[Check]:
    """Return whether the policy that writes the author of a decision can be there, and is."""
    name = IDENTITY_SERVED
    if not await serves_mutating(site):
        what = "MutatingAdmissionPolicy v1 is not served: the client has to say who decides; what is proved is the same"
        return [ok(name, f"{what} ({WITHOUT_MUTATING})")]
    try:
        await site.client.get(MUTATING, None, IDENTITY)
    except NotFound:
        what = f"{IDENTITY} is not installed, and could be: with kubectl, people have to write who they are"
        return [warn(name, what, "kubectl apply --server-side -k manifests/policies/identity")]
    return [ok(name, "the API server writes who decides")]


async def check_clock(site: Site) -> list[Check]:
    """Return whether the clock of this machine agrees with the API server's; it comes last, after many answers."""
    skew = site.client.clock.skew
    if abs(skew) <= TOLERANCE:
        return [ok(CLOCK, "the clock here agrees with the API server's")]
    where = "ahead of" if skew > 0 else "behind"
    most = f"at most {TOLERANCE:.0f} s are expected"
    what = f"the clock here is about {abs(skew):.0f} s {where} the API server's, and {most}"
    return [warn(CLOCK, what, "set the clock of this machine, or of the API server's")]
