"""Each safe state in words, the same in Events, records, messages and the command line."""

from __future__ import annotations

from riskladder.api.escalation import Intent, Through
from riskladder.api.tiers import ContainmentAction, Fallback
from riskladder.workloads.network import HTTPROUTES, SERVICES


def path_of(fallback: Fallback | None) -> Through | None:
    """Return the Service or HTTPRoute that a ladder names for a Fallback, and where its traffic goes."""
    if fallback is None:
        return None
    if fallback.service is not None:
        return Through(kind=SERVICES.kind, name=fallback.service, selector=dict(fallback.selector or {}))
    return Through(kind=HTTPROUTES.kind, name=fallback.http_route or "", backend=fallback.backend)


def destination(through: Through) -> str:
    """Return where traffic goes under a Fallback."""
    if through.backend:
        return f"Service {through.backend}"
    return ",".join(f"{key}={value}" for key, value in sorted((through.selector or {}).items()))


def outcome(action: ContainmentAction, *, through: Through | None = None, revision: str | None = None) -> str:
    """Return what a safe state does, without a subject: ``scaled to zero``.

    Args:
        action: The safe state.
        through: What it acts on in place of the workload, as far as that is known.
        revision: The revision that a Rollback goes back to, as far as that is known.
    """
    if action is ContainmentAction.ISOLATE:
        return f"isolated by NetworkPolicy {through.name}" if through else "isolated by a NetworkPolicy"
    if action is ContainmentAction.FALLBACK:
        if through is None:
            return "traffic goes to the fallback"
        return f"traffic of {through.kind} {through.name} goes to {destination(through)}"
    if action is ContainmentAction.ROLLBACK:
        return f"rolled back to revision {revision}" if revision else "rolled back to its last good revision"
    return "scaled to zero"


def done(intent: Intent) -> str:
    """Return what an intent did."""
    return outcome(intent.action, through=intent.through, revision=intent.revision)


def sentence(
    target: str,
    action: ContainmentAction,
    *,
    through: Through | None = None,
    revision: str | None = None,
    lock: bool = False,
) -> str:
    """Return what a safe state does to a target: ``Deployment/scorer is scaled to zero and locked``.

    Args:
        target: The workload, as ``Kind/name``.
        action: The safe state.
        through: What it acts on in place of the workload, as far as that is known.
        revision: The revision that a Rollback goes back to, as far as that is known.
        lock: Whether admission is to hold it.
    """
    what = outcome(action, through=through, revision=revision)
    if action is ContainmentAction.FALLBACK:
        return f"{what}{', and that is locked' if lock else ''}"
    return f"{target} is {what}{' and locked' if lock else ''}"


def restored(
    target: str,
    action: ContainmentAction,
    *,
    through: Through | None = None,
    revision: str | None = None,
    replicas: int | None = None,
) -> str:
    """Return what a Resume restores after a safe state.

    Args:
        target: The workload, as ``Kind/name``.
        action: The safe state.
        through: What it acts on in place of the workload, as far as that is known.
        revision: The revision that a Rollback went back to, as far as that is known.
        replicas: The replicas that come back after a ScaleToZero, as far as they are known.
    """
    if action is ContainmentAction.ISOLATE:
        return f"NetworkPolicy {through.name} is deleted" if through else "the NetworkPolicy is deleted"
    if action is ContainmentAction.FALLBACK:
        return f"traffic of {through.kind} {through.name} goes back to {target}" if through else "traffic goes back"
    if action is ContainmentAction.ROLLBACK:
        serving = f"revision {revision}" if revision else "the revision in place"
        return f"{serving} serves on until another is rolled out"
    return f"replicas go back to {replicas}" if replicas is not None else "its replicas come back"
