"""Each safe state in words, the same in Events, records, messages and the command line."""

from __future__ import annotations

from riskladder.api.intent import Intent, NetworkTargetRef
from riskladder.api.tiers import Connections, ContainmentAction, Fallback
from riskladder.workloads.network import HTTPROUTES, SERVICES

OPEN_ONES_GO_ON = "open ones may go on"
OPEN_ONES_ENDED = "its pods were restarted, so that open connections ended"
"""What becomes of open connections under an Isolate, by ``containment.connections``."""


def path_of(fallback: Fallback | None) -> NetworkTargetRef | None:
    """Return the Service or HTTPRoute that a ladder names for a Fallback, and where its traffic goes."""
    if fallback is None:
        return None
    if fallback.service is not None:
        return NetworkTargetRef(kind=SERVICES.kind, name=fallback.service, selector=dict(fallback.selector or {}))
    return NetworkTargetRef(kind=HTTPROUTES.kind, name=fallback.http_route or "", backend=fallback.backend)


def destination(target_ref: NetworkTargetRef) -> str:
    """Return where traffic goes under a Fallback."""
    if target_ref.backend:
        return f"Service {target_ref.backend}"
    return ",".join(f"{key}={value}" for key, value in sorted((target_ref.selector or {}).items()))


def outcome(
    action: ContainmentAction, *, target_ref: NetworkTargetRef | None = None, revision: str | None = None
) -> str:
    """Return what a safe state does, without a subject: ``scaled to zero``.

    Args:
        action: The safe state.
        target_ref: What it acts on in place of the workload, as far as that is known.
        revision: The revision that a Rollback goes back to, as far as that is known.
    """
    if action is ContainmentAction.ISOLATE:
        return f"isolated by NetworkPolicy {target_ref.name}" if target_ref else "isolated by a NetworkPolicy"
    if action is ContainmentAction.FALLBACK:
        if target_ref is None:
            return "traffic goes to the fallback"
        return f"traffic of {target_ref.kind} {target_ref.name} goes to {destination(target_ref)}"
    if action is ContainmentAction.ROLLBACK:
        return f"rolled back to revision {revision}" if revision else "rolled back to its last good revision"
    return "scaled to zero"


def done(intent: Intent) -> str:
    """Return what an intent did."""
    return outcome(intent.action, target_ref=intent.target_ref, revision=intent.revision)


def sentence(
    target: str,
    action: ContainmentAction,
    *,
    target_ref: NetworkTargetRef | None = None,
    revision: str | None = None,
    connections: Connections | None = None,
    lock: bool = False,
    rehearsed: bool = False,
) -> str:
    """Return what a safe state does to a target: ``Deployment/scorer is scaled to zero and locked``.

    Of a drill, which touches nothing, what it would do.

    Args:
        target: The workload, as ``Kind/name``.
        action: The safe state.
        target_ref: What it acts on in place of the workload, as far as that is known.
        revision: The revision that a Rollback goes back to, as far as that is known.
        connections: What becomes of open connections under an Isolate.
        lock: Whether admission is to hold it.
        rehearsed: Whether it is a drill.
    """
    what = outcome(action, target_ref=target_ref, revision=revision)
    if action is ContainmentAction.FALLBACK:
        what = what.replace(" goes to ", " would go to ", 1) if rehearsed else what
        locked = ", and that would be locked" if rehearsed else ", and that is locked"
        return f"{what}{locked if lock else ''}"
    if action is ContainmentAction.ISOLATE:
        ends = connections is Connections.CLOSE
        after = "its pods are restarted, so that open ones end" if ends else OPEN_ONES_GO_ON
        what = f"{what} (new connections are turned away; {after})"
    return f"{target} {'would be' if rehearsed else 'is'} {what}{' and locked' if lock else ''}"


def restored(
    target: str,
    action: ContainmentAction,
    *,
    target_ref: NetworkTargetRef | None = None,
    revision: str | None = None,
    replicas: int | None = None,
) -> str:
    """Return what a Resume restores after a safe state.

    Args:
        target: The workload, as ``Kind/name``.
        action: The safe state.
        target_ref: What it acts on in place of the workload, as far as that is known.
        revision: The revision that a Rollback went back to, as far as that is known.
        replicas: The replicas that come back after a ScaleToZero, as far as they are known.
    """
    if action is ContainmentAction.ISOLATE:
        return f"NetworkPolicy {target_ref.name} is deleted" if target_ref else "the NetworkPolicy is deleted"
    if action is ContainmentAction.FALLBACK:
        return (
            f"traffic of {target_ref.kind} {target_ref.name} goes back to {target}"
            if target_ref
            else "traffic goes back"
        )
    if action is ContainmentAction.ROLLBACK:
        serving = f"revision {revision}" if revision else "the revision in place"
        return f"{serving} serves on until another is rolled out"
    return f"replicas go back to {replicas}" if replicas is not None else "its replicas come back"
