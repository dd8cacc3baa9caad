"""Which ladder a report is under where it names none."""

from __future__ import annotations

from typing import TYPE_CHECKING

from riskladder.client.errors import Refused

if TYPE_CHECKING:
    from riskladder.cluster.client import Client

NAME_IT = "name it (ladder=… of riskladder.client, --ladder of riskladder signal)"


async def ladder_of(client: Client, namespace: str, kind: str, target: str) -> str:
    """Return the ladder that the target's label names, or the only one of the namespace.

    Raises:
        Refused: The target is not there, no ladder or several could be meant, or nothing of it may be read.
        ApiError: The API server could not be asked.
    """
    from riskladder.api.labels import LABEL_LADDER
    from riskladder.cluster.client import Forbidden, NotFound
    from riskladder.cluster.resources import LADDERS
    from riskladder.workloads.registry import ALL_RUNTIMES

    resource = next((r.resource for r in ALL_RUNTIMES if r.resource.kind == kind), None)
    may_read = resource is not None
    if resource is not None:
        try:
            labels = (await client.get(resource, namespace, target))["metadata"].get("labels") or {}
        except Forbidden:
            may_read = False
        except NotFound as error:
            message = f"there is no {kind} {target} in namespace {namespace}: name the workload that serves the model"
            raise Refused(message, reason="TargetNotFound", status=404) from error
        else:
            if name := labels.get(LABEL_LADDER):
                return str(name)
    try:
        names = [one["metadata"]["name"] for one in await client.list(LADDERS, namespace)]
    except Forbidden as error:
        doing = f"not list the ladders of namespace {namespace}"
        if not may_read:
            doing = f"neither read {kind} {target} nor list the ladders of namespace {namespace}"
        message = f"ladder: not given, and this account may {doing}: {NAME_IT}"
        raise Refused(message, reason="LadderUnknown", status=403) from error
    except NotFound as error:
        message = f"this cluster has no {LADDERS.title}: install Riskladder's CRDs first"
        raise Refused(message, reason="NotFound", status=404) from error
    if len(names) == 1:
        return str(names[0])
    found = f"{len(names)} in namespace {namespace} ({', '.join(names[:8])}{', …' if len(names) > 8 else ''})"
    if not names:
        found = f"none in namespace {namespace}"
    message = f"ladder: found {found}, expected one, or the label {LABEL_LADDER} on {kind} {target}: {NAME_IT}"
    raise Refused(message, reason="LadderUnknown")
