"""The ladders: what they say of themselves, what they ask for, and who holds their roles."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from ipaddress import ip_network

from riskladder.api.decision import DecisionAction
from riskladder.api.reasons import ConditionType, Reason
from riskladder.api.resource import Resource
from riskladder.api.text import count, first
from riskladder.cli import notify
from riskladder.cli.doctor.report import Check, bad, ok, skipped, warn
from riskladder.cli.doctor.site import Ladder, Options, Site
from riskladder.cluster.authority import STAKEHOLDERS, granted, is_about_roles
from riskladder.cluster.client import Client, Forbidden, Object
from riskladder.notify.egress import Egress
from riskladder.notify.http import TOTAL_SECONDS
from riskladder.policy.enabled import ends_no_pods as without_prompt_stop
from riskladder.policy.enabled import missing_components, slow_stops

LADDERS, COMPONENTS, ROLES, CHANNELS = "ladders", "components", "roles", "channels"

RBAC = "rbac.authorization.k8s.io"
ROLE = Resource(RBAC, "v1", "roles", "Role")
CLUSTER_ROLE = Resource(RBAC, "v1", "clusterroles", "ClusterRole")
ROLE_BINDING = Resource(RBAC, "v1", "rolebindings", "RoleBinding")
CLUSTER_ROLE_BINDING = Resource(RBAC, "v1", "clusterrolebindings", "ClusterRoleBinding")

UNJUDGED = timedelta(seconds=30)
"""For how long a ladder may have no status: an operator looks at it within seconds."""

SERIOUS = (ConditionType.READY, ConditionType.DECISIONS_COUNT, ConditionType.POLICIES_IN_FORCE)
"""Conditions of a ladder that must not be False; of the others, some have to be known."""
TO_KNOW = (
    ConditionType.CHANNELS_AVAILABLE,
    ConditionType.CLOCK_AGREES,
    ConditionType.CUSTOM_RESOURCES_CURRENT,
    ConditionType.REVIEW_CURRENT,
    ConditionType.STOPS_PROMPTLY,
)

CHECKED_ELSEWHERE = frozenset({Reason.NOT_ENABLED, Reason.PROMPT_STOP_MISSING})
"""Reasons that a check of its own gives, from what the operator was started with, where that is seen."""

VERBS = tuple(action.verb for action in DecisionAction)


async def check_ladders(site: Site) -> list[Check]:
    """Return what the ladders say is wrong; what many of them say is said once."""
    found = await site.ladders()
    if not found:
        return [ok(LADDERS, "there is none")]
    said: dict[tuple[ConditionType, str, str], list[str]] = defaultdict(list)
    silent = []
    for ladder in found:
        if not ladder.conditions:
            silent.append(ladder)
        for kind in (*SERIOUS, *TO_KNOW):
            one = ladder.conditions.get(kind, {})
            is_said_again = site.deployment is not None and one.get("reason") in CHECKED_ELSEWHERE
            if one.get("status") == "False" and not is_said_again:
                said[kind, str(one.get("reason")), str(one.get("message"))].append(ladder.title)
    checks = [
        (bad if kind in SERIOUS else warn)(LADDERS, f"{first(titles)}: {kind}=False, {reason}: {message}")
        for (kind, reason, message), titles in said.items()
    ]
    late = [ladder.title for ladder in silent if _age(ladder) > UNJUDGED]
    if late:
        what = f"{first(late)}: no status. The operator does not run, does not watch that namespace, or may not"
        checks.append(bad(LADDERS, what))
    return checks or [ok(LADDERS, f"{count(len(found), 'ladder')}, with nothing to mend")]


def _age(ladder: Ladder) -> timedelta:
    return datetime.now(UTC) - datetime.fromisoformat(ladder.stored["metadata"]["creationTimestamp"])


async def check_components(site: Site) -> list[Check]:
    """Return what ladders ask for that the operator has not been enabled to do: in the words of their conditions."""
    runtimes = site.runtimes
    if runtimes is None:
        return [skipped(COMPONENTS, "the Deployment of the operator is not seen, and what it was started with")]
    checks = []
    for ladder in await site.ladders():
        if ladder.spec is None:
            continue
        if missing := missing_components(ladder.spec, runtimes):
            checks.append(bad(COMPONENTS, f"{ladder.title}: {'; '.join(missing)}"))
        if slow := slow_stops(ladder.spec, without_prompt_stop(runtimes)):
            checks.append(warn(COMPONENTS, f"{ladder.title}: {slow}"))
    enabled = ", ".join(site.options.enable) if site.options is not None else ""
    return checks or [ok(COMPONENTS, f"enabled: {enabled or 'none'}; no ladder asks for another one")]


# --- Roles ------------------------------------------------------------------------------------------------------------


async def check_roles(site: Site) -> list[Check]:
    """Return the roles of ladders that nobody holds, by RBAC. Who may do everything is not counted."""
    checks, seen = [], 0
    try:
        rules = {obj["metadata"]["name"]: obj.get("rules") or [] for obj in await site.client.list(CLUSTER_ROLE)}
        everywhere = _bound(await site.client.list(CLUSTER_ROLE_BINDING), rules, {})
        by_namespace: dict[str, list[Ladder]] = defaultdict(list)
        for ladder in await site.ladders():
            by_namespace[ladder.namespace].append(ladder)
        for namespace, ladders in sorted(by_namespace.items()):
            own = await _own_rules(site.client, namespace)
            held = everywhere + _bound(await site.client.list(ROLE_BINDING, namespace), rules, own)
            for ladder in ladders:
                roles = [s.role for s in ladder.spec.stakeholders] if ladder.spec is not None else []
                holders = {role for _, role in granted(held, VERBS, roles)}
                seen += len(roles)
                if without := [role for role in roles if role not in holders]:
                    checks.append(_unheld(ladder, without))
    except Forbidden as error:
        return [skipped(ROLES, f"you may not {error.verb} {error.resource}")]
    return checks or [ok(ROLES, f"every one of {count(seen, 'role')} is held by somebody" if seen else "there is none")]


def _unheld(ladder: Ladder, roles: Sequence[str]) -> Check:
    what = f"{ladder.title}: nobody holds {first(roles)}, but for who may do everything in the cluster"
    named = ", ".join(f"{STAKEHOLDERS}.riskladder.dev/{role}" for role in roles[:5])
    return warn(ROLES, what, f"bind a Role with the verbs on {named} there, as in docs/examples/people-rbac.yaml")


async def _own_rules(client: Client, namespace: str) -> Mapping[str, list[Object]]:
    return {obj["metadata"]["name"]: obj.get("rules") or [] for obj in await client.list(ROLE, namespace)}


def _bound(
    bindings: Iterable[Object], cluster: Mapping[str, list[Object]], own: Mapping[str, list[Object]]
) -> list[Object]:
    """Return the rules about roles of a ladder that are bound to anybody; rules about everything are left out."""
    found = []
    for binding in bindings:
        reference = binding.get("roleRef") or {}
        rules = cluster if reference.get("kind") == CLUSTER_ROLE.kind else own
        if binding.get("subjects"):
            found += [rule for rule in rules.get(reference.get("name", ""), ()) if "*" not in rule.get("apiGroups", ())]
    return [rule for rule in found if is_about_roles(rule)]


# --- Channels ---------------------------------------------------------------------------------------------------------


async def check_channels(site: Site, *, send: bool) -> list[Check]:
    """Return which channels do not work: with a message marked as TEST through each, as ``riskladder notify test``.

    Args:
        site: The installation.
        send: Whether to send anything.
    """
    ladders = [ladder for ladder in await site.ladders() if ladder.spec is not None and ladder.spec.channels]
    if not ladders:
        return [ok(CHANNELS, "no ladder has one: everybody is notified by Events")]
    if not send:
        number = count(sum(len(ladder.spec.channels) for ladder in ladders if ladder.spec), "channel")
        return [skipped(CHANNELS, f"{number} not tried: --channels sends a message marked as TEST through each")]
    options = site.options or Options()
    try:
        egress = Egress(options.hosts, tuple(ip_network(network) for network in options.networks))
    except ValueError as error:
        return [skipped(CHANNELS, f"the operator's --notify-host and --notify-network are not understood: {error}")]
    checks = []
    for ladder in ladders:
        assert ladder.spec is not None  # noqa: S101
        found = notify.trials(ladder.spec, None)
        if isinstance(found, str):
            continue
        try:
            needs_secret = any(trial.channel.secret_key for trial in found)
            values = await notify.credentials(site.client, ladder.namespace) if needs_secret else None
        except Forbidden as error:
            checks.append(skipped(CHANNELS, f"{ladder.title}: you may not {error.verb} {error.resource}"))
            continue
        name = str(ladder.stored["metadata"]["name"])
        outcomes = await notify.send_all(found, values, notify.Notices(ladder.namespace, name), egress, TOTAL_SECONDS)
        failed = [outcome for outcome in outcomes if outcome.error]
        checks += [bad(CHANNELS, f"{ladder.title}: channel {o.trial.channel.name} {o.text}") for o in failed]
        if not failed:
            checks.append(ok(CHANNELS, f"{ladder.title}: {count(len(outcomes), 'channel')} tried from here"))
    return checks
