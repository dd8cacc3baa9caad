"""The installation: kinds, policies, the operator and what it may do."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from riskladder import __version__
from riskladder.api.text import count, first, length, listed
from riskladder.cli.doctor.report import Check, bad, ok, skipped, warn
from riskladder.cli.doctor.site import LEASE, VERSION_LABEL, Site
from riskladder.cluster import definitions, policies
from riskladder.cluster.authority import AT_A_TIME
from riskladder.cluster.client import ApiError, Forbidden, NotFound, Object
from riskladder.cluster.grants import CLUSTER, NAMESPACED, NODE_LEASES, OWN_NAMESPACE, Grant
from riskladder.cluster.lease import LONGEST
from riskladder.cluster.permissions import Account, allowed, title_of
from riskladder.cluster.resources import LEASES, NAMESPACES
from riskladder.cluster.resources import NODE_LEASES as NODE_LEASES_NAMESPACE
from riskladder.controller import definition_watch, policy_watch
from riskladder.policy.installation import judge_definitions, judge_policies

KINDS, POLICIES, OPERATOR = "custom resources", "admission policies", "operator"
VERSION, PERMISSIONS, SINGLE, LEFTOVERS = "operator version", "operator permissions", "one installation", "leftovers"

INSTALL = "kubectl apply --server-side -k manifests/overlays/default"

STALE = timedelta(seconds=LONGEST)
"""For how long a Lease may not have been renewed: the longest time for which an operator asks for it."""

SHOWN = 8
"""Permissions that are named at most."""

MOST_NAMESPACES = 20
"""Namespaces in which permissions are asked for, where the operator has none in all of them."""


async def check_kinds(site: Site) -> list[Check]:
    """Return whether the kinds are there and those of this version: in the words of the condition."""
    seen = await site.kinds()
    if all(one.is_forbidden for one in seen):
        return [skipped(KINDS, f"you may not get {definitions.CRDS.title}")]
    if all(one.state is definitions.State.MISSING for one in seen):
        return [bad(KINDS, "none is installed", INSTALL)]
    found = definition_watch.findings(seen)
    verdict = judge_definitions(found)
    if verdict.status:
        return [ok(KINDS, verdict.message)]
    return [(warn if found.is_usable else bad)(KINDS, f"{verdict.reason}: {verdict.message}")]


async def check_policies(site: Site) -> list[Check]:
    """Return whether the policies are in force as shipped: in the words of the condition."""
    seen = await policies.look(site.client, site.account.user)
    if all(one.is_forbidden for one in seen):
        return [skipped(POLICIES, f"you may not get {policies.POLICIES.title}")]
    if all(one.state in (policies.State.MISSING, policies.State.NOT_INSTALLED) for one in seen):
        return [bad(POLICIES, "none is installed: nothing that is on record is proved, and nothing is held", INSTALL)]
    verdict = judge_policies(policy_watch.findings(seen))
    if verdict.status:
        return [ok(POLICIES, f"{verdict.message}, for {site.account.user}")]
    return [(skipped if verdict.status is None else bad)(POLICIES, f"{verdict.reason}: {verdict.message}")]


async def check_operator(site: Site) -> list[Check]:
    """Return whether an operator runs and leads."""
    deployment = site.deployment
    if site.deployments is None:
        found = [skipped(OPERATOR, f"you may not list deployments.apps in namespace {site.own_namespace}")]
    elif deployment is None:
        where = "in no namespace" if site.is_everywhere else f"not in namespace {site.own_namespace}"
        found = [bad(OPERATOR, f"there is no Deployment of an operator, {where}", INSTALL)]
    else:
        found = [_replicas(deployment)]
    try:
        lease = await site.client.get(LEASES, site.home, LEASE)
    except NotFound:
        what = f"nobody leads: there is no Lease {LEASE} in namespace {site.home}"
        return [*found, bad(OPERATOR, what, _logs(site.home))]
    except Forbidden:
        return [*found, skipped(OPERATOR, f"you may not get Lease {LEASE} in namespace {site.home}")]
    leads = _leads(lease, site)
    if deployment is None and site.deployments is not None and leads.outcome == "OK":
        found = [warn(OPERATOR, "it runs outside of a Deployment: what it was started with is not seen")]
    return [*found, leads]


def _replicas(deployment: Object) -> Check:
    wanted = (deployment.get("spec") or {}).get("replicas", 1)
    ready = (deployment.get("status") or {}).get("readyReplicas", 0)
    where = f"Deployment {deployment['metadata']['name']} in namespace {deployment['metadata']['namespace']}"
    logs = _logs(deployment["metadata"]["namespace"])
    if not wanted:
        what = f"{where} has 0 replicas: nothing is judged, notified or re-applied"
        return bad(
            OPERATOR, what, f"kubectl -n {deployment['metadata']['namespace']} scale deployment/riskladder --replicas=2"
        )
    if ready < wanted:
        return (warn if ready else bad)(OPERATOR, f"{where}: {ready} of {wanted} replicas are ready", logs)
    return ok(OPERATOR, f"{where}: {ready} of {wanted} replicas are ready")


def _logs(namespace: str) -> str:
    """Return how to see what an operator says."""
    return f"kubectl -n {namespace} logs -l app.kubernetes.io/component=operator --tail=20"


def _leads(lease: Object, site: Site) -> Check:
    spec = lease.get("spec") or {}
    holder, renewed = str(spec.get("holderIdentity") or ""), spec.get("renewTime")
    if not holder or not renewed:
        return bad(OPERATOR, f"nobody leads: Lease {LEASE} in namespace {site.home} has no holder", _logs(site.home))
    now = datetime.now(UTC) - timedelta(seconds=site.client.clock.skew)
    age = now - datetime.fromisoformat(str(renewed))
    if age > STALE:
        return bad(
            OPERATOR, f"nobody leads: {holder} has renewed the Lease {LEASE} {length(age)} ago for the last time"
        )
    return ok(OPERATOR, f"{holder} leads")


async def check_version(site: Site) -> list[Check]:
    """Return whether the operator is of the version of this program."""
    if site.deployment is None:
        return [skipped(VERSION, "the Deployment of the operator is not seen")]
    labels = site.deployment["metadata"].get("labels") or {}
    image = str(site.deployment["spec"]["template"]["spec"]["containers"][0].get("image") or "")
    name, _, _ = image.partition("@")
    tag = name.rpartition("/")[2].partition(":")[2]
    version = tag if tag[:1].isdigit() else str(labels.get(VERSION_LABEL) or "")
    if not version:
        return [skipped(VERSION, f"image {image} does not say it; this program is {__version__}")]
    if version.removeprefix("v") == __version__:
        return [ok(VERSION, f"{version}, as this program")]
    what = f"the operator is {version} (image {image}), and this program {__version__}: what it checks goes by its own"
    return [warn(VERSION, what, f"use riskladder {version}, or install {__version__}")]


async def check_permissions(site: Site) -> list[Check]:
    """Return what the account of the operator may not do."""
    account, options, runtimes = site.account, site.options, site.runtimes
    parts = (*runtimes, *runtimes.companions, *runtimes.safe_states) if runtimes is not None else ()
    grants = [g for g in (*NAMESPACED, *(g for part in parts for g in part.permissions)) if g.checked]
    try:
        missing = await _missing(site, account, CLUSTER, None)
        missing += await _missing(site, account, OWN_NAMESPACE, site.home)
        missing += await _missing(site, account, NODE_LEASES, NODE_LEASES_NAMESPACE)
        watched = list(options.namespaces) if options is not None else []
        everywhere = [] if watched else await _missing(site, account, grants, "")
        if everywhere:
            watched = sorted({ladder.namespace for ladder in await site.ladders()})
            missing += [] if watched else everywhere
        for namespace in watched[:MOST_NAMESPACES]:
            missing += await _missing(site, account, grants, namespace)
    except Forbidden:
        why = f"you may not create subjectaccessreviews.authorization.k8s.io, to ask about {account.user}"
        return [skipped(PERMISSIONS, why)]
    if missing:
        remedy = "apply the manifests again, or bind the ClusterRole riskladder in that namespace"
        named = list(dict.fromkeys(missing))
        return [bad(PERMISSIONS, f"the operator may not {first(named, SHOWN, '; ')}", remedy)]
    where = f"in {count(len(watched), 'namespace')}" if watched else "in all namespaces"
    note = "" if runtimes is not None else "; which components are enabled is not seen"
    return [ok(PERMISSIONS, f"{account.user} may do what it needs, {where}{note}")]


async def _missing(site: Site, account: Account, grants: Iterable[Grant], namespace: str | None) -> list[str]:
    """Return what is missing of grants, each as people say it."""
    seats = asyncio.Semaphore(AT_A_TIME)
    asked = dict.fromkeys(
        ((grant.group, resource, verb), name)
        for grant in grants
        for resource in grant.resources
        for verb in grant.verbs
        for name in grant.names or ("",)
    )

    async def ask(check: tuple[str, str, str], name: str) -> bool:
        async with seats:
            return await allowed(site.client, check, namespace, name=name, account=account)

    answers = await asyncio.gather(*(ask(*one) for one in asked))
    return [title_of(check, namespace, name) for (check, name), may in zip(asked, answers, strict=True) if not may]


async def check_single(site: Site) -> list[Check]:
    """Return whether there is another installation: both would judge, notify and contain."""
    if not site.is_everywhere:
        return [skipped(SINGLE, "you may not list deployments.apps in all namespaces")]
    homes = sorted({str(d["metadata"]["namespace"]) for d in site.deployments or ()})
    if len(homes) < 2:
        return [ok(SINGLE, "there is no operator in another namespace")]
    what = (
        f"there are operators in the namespaces {listed(homes)}: the kinds and the policies belong to the cluster, and "
        "the policies let only one of them write"
    )
    return [bad(SINGLE, what, "keep one: see Uninstall in docs/install.md")]


async def check_leftovers(site: Site) -> list[Check]:
    """Return what an uninstallation that was broken off has left behind."""
    found: list[Check] = []
    seen = await site.kinds()
    ending = [one.name for one in seen if one.is_ending]
    if ending:
        what = f"{listed(ending)} {'is' if len(ending) == 1 else 'are'} being deleted, with every object of the kind"
        found.append(bad(LEFTOVERS, what, f"wait until it is gone, then install again: {INSTALL}"))
    for one in seen:
        if one.is_unguarded and not one.is_ending:
            annotation = definitions.CONFIRM_DELETE
            what = f"{one.name} may be deleted with all of its objects, as its annotation {annotation} says"
            found.append(warn(LEFTOVERS, what, f"kubectl annotate crd {one.name} {annotation}-"))
    if await _is_ending(site):
        found.append(bad(LEFTOVERS, f"namespace {site.own_namespace} is being deleted", "wait until it is gone"))
    if found or not all(one.is_forbidden for one in seen):
        return found or [ok(LEFTOVERS, "nothing is being deleted, and no kind may be")]
    return [skipped(LEFTOVERS, f"you may not get {definitions.CRDS.title}")]


async def _is_ending(site: Site) -> bool:
    try:
        namespace = await site.client.get(NAMESPACES, None, site.own_namespace)
    except ApiError:
        return False
    return bool(namespace["metadata"].get("deletionTimestamp"))
