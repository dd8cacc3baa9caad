"""Whether Riskladder can be installed here, by whoever asks."""

from __future__ import annotations

import asyncio

from riskladder.api.text import listed
from riskladder.cli.doctor.installation import KINDS, LEFTOVERS, check_leftovers
from riskladder.cli.doctor.report import Check, Outcome, bad, ok, warn
from riskladder.cli.doctor.server import serves_mutating
from riskladder.cli.doctor.site import Site
from riskladder.cluster import definitions, policies
from riskladder.cluster.permissions import allowed, title_of

INSTALLER = "installer"

CREATED = (
    ("", "namespaces"),
    (definitions.CRDS.group, definitions.CRDS.plural),
    (policies.GROUP, policies.POLICIES.plural),
    (policies.GROUP, policies.BINDINGS.plural),
    ("rbac.authorization.k8s.io", "clusterroles"),
    ("rbac.authorization.k8s.io", "clusterrolebindings"),
    ("flowcontrol.apiserver.k8s.io", "flowschemas"),
    ("flowcontrol.apiserver.k8s.io", "prioritylevelconfigurations"),
)
"""What has no namespace and is created: API group and resource."""

CREATED_MUTATING = (
    (policies.GROUP, policies.MUTATING.plural),
    (policies.GROUP, policies.MUTATING_BINDINGS.plural),
)
"""The same of the default overlay alone."""

CREATED_INSIDE = (
    ("", "serviceaccounts"),
    ("", "services"),
    ("", "resourcequotas"),
    ("apps", "deployments"),
    ("networking.k8s.io", "networkpolicies"),
    ("policy", "poddisruptionbudgets"),
    ("rbac.authorization.k8s.io", "roles"),
    ("rbac.authorization.k8s.io", "rolebindings"),
)
"""What is created in the namespace of the operator."""


async def check_installer(site: Site) -> list[Check]:
    """Return what of an installation the caller may not create."""
    cluster = [*CREATED, *(CREATED_MUTATING if await serves_mutating(site) else ())]
    asked: list[tuple[tuple[str, str, str], str | None]] = [((g, r, "create"), None) for g, r in cluster]
    asked += [((g, r, "create"), site.own_namespace) for g, r in CREATED_INSIDE]
    # To grant what one does not hold takes a verb of its own; whoever may do everything holds it.
    asked.append((("rbac.authorization.k8s.io", "clusterroles", "escalate"), None))
    answers = await asyncio.gather(*(allowed(site.client, check, namespace) for check, namespace in asked))
    missing = [title_of(check, where) for (check, where), may in zip(asked, answers, strict=True) if not may]
    if missing:
        what = f"you may not {'; '.join(missing)}"
        return [bad(INSTALLER, what, "have a cluster administrator install it")]
    return [ok(INSTALLER, "you may create everything that an installation contains")]


async def check_nothing_there(site: Site) -> list[Check]:
    """Return what an installation would meet: another one, or one that is being removed."""
    seen = await site.kinds()
    there = [one.name for one in seen if one.state not in (definitions.State.MISSING, definitions.State.UNKNOWN)]
    found = [one for one in await check_leftovers(site) if one.outcome is not Outcome.OK]
    if site.deployment is not None:
        what = f"there is an operator in namespace {site.home}: to install is to upgrade it"
        found.append(warn(LEFTOVERS, what, "riskladder doctor"))
    elif there:
        found.append(warn(KINDS, f"{listed(there)} are there already, and their objects with them"))
    return found or [ok(KINDS, "none is installed yet")]
