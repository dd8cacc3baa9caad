"""``riskladder bind rbac``: what a binding needs: to be acted for, and the account that is acted as."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import typer
import yaml

from riskladder.api.base import GROUP
from riskladder.cli.bind import sample
from riskladder.cli.bind.sample import Bound
from riskladder.cli.output import fail

_RBAC = "rbac.authorization.k8s.io"
_AUTHENTICATION = "authentication.k8s.io"
_SIGNALS = "modelrisksignals"
_CONSTRAINED = (
    "Lets {process} act as {account}, for two requests only: to create and to patch signals here. Needs\n"
    "# Kubernetes 1.36; for an older one, use --legacy."
)
_LEGACY = (
    "Lets {process} act as {account}, in everything that this account may do: before Kubernetes 1.36 there is no\n"
    "# narrower verb. Grant the account nothing but what is below; from 1.36 on, use the constrained verbs."
)
_ACCOUNT = "What {account} may do: write signals, and report as {source}."
_SHARED = (
    "\n# It lives next to the models: whoever may edit this namespace may act as it. serviceAccountNamespace of the\n"
    "# binding gives it one of its own."
)


def rbac(
    binding: Annotated[str, typer.Argument(metavar="BINDING", help="File with MonitorBindings.")],
    legacy: Annotated[
        bool, typer.Option("--legacy", help="For Kubernetes before 1.36: the old verb impersonate, which is wider.")
    ] = False,
    ingest_namespace: Annotated[
        str, typer.Option(help="Namespace of riskladder ingest and riskladder poll.")
    ] = "riskladder-system",
    namespace: Annotated[
        str | None, typer.Option("--namespace", "-n", help="Of bindings that name none themselves.")
    ] = None,
) -> None:
    """Write the Roles and RoleBindings that a binding needs, for kubectl apply.

    riskladder ingest, or riskladder poll for a binding that asks, may then act as
    the service account of the binding, and that account may report as its source.

    Exit code 0: written; 2: the file could not be used.

    \b
    riskladder bind rbac binding.yaml -n models | kubectl apply -f -
    """
    texts = []
    for bound in sample.bindings(binding):
        where = bound.namespace or namespace
        if not where:
            fail(f"{binding}: binding {bound.name} names no namespace: give --namespace")
        for comment, documents in objects(bound, where, ingest_namespace, legacy=legacy):
            texts += [f"# {comment}\n" + yaml.safe_dump(documents[0], sort_keys=False)]
            texts += [yaml.safe_dump(document, sort_keys=False) for document in documents[1:]]
    typer.echo("---\n".join(dict.fromkeys(texts)), nl=False)


def objects(
    bound: Bound, namespace: str, ingest_namespace: str, *, legacy: bool
) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Yield what a binding needs: a comment, and the objects that it is about."""
    process = "riskladder-poll" if bound.spec.poll is not None else "riskladder-ingest"
    account, source = bound.spec.service_account, bound.spec.source
    home = bound.spec.service_account_namespace or namespace
    subject = {"kind": "ServiceAccount", "name": process, "namespace": ingest_namespace}
    acting = [
        _granted(f"{process}-as-{account}", where, rules, subject)
        for where, rules in _acting(account, home, namespace, legacy=legacy).items()
    ]
    yield (
        (_LEGACY if legacy else _CONSTRAINED).format(process=process, account=account),
        [part for parts in acting for part in parts],
    )
    rules = [
        {"apiGroups": [GROUP], "resources": [_SIGNALS], "verbs": ["create", "patch"]},
        {"apiGroups": [GROUP], "resources": ["sources"], "resourceNames": [source], "verbs": ["report"]},
    ]
    itself = {"kind": "ServiceAccount", "name": account, "namespace": home}
    comment = _ACCOUNT.format(account=account, source=source) + (_SHARED if home == namespace else "")
    yield comment, _granted(f"{account}-as-{source}", namespace, rules, itself)


def _acting(account: str, home: str, namespace: str, *, legacy: bool) -> dict[str, list[dict[str, Any]]]:
    """Return the rules by which another account may act as one, by namespace: where it lives, and where it writes."""
    as_account = {
        "apiGroups": ["" if legacy else _AUTHENTICATION],
        "resources": ["serviceaccounts"],
        "resourceNames": [account],
        "verbs": ["impersonate" if legacy else "impersonate:serviceaccount"],
    }
    rules: dict[str, list[dict[str, Any]]] = {home: [as_account]}
    if not legacy:
        verbs = ["impersonate-on:serviceaccount:create", "impersonate-on:serviceaccount:patch"]
        rules.setdefault(namespace, []).append({"apiGroups": [GROUP], "resources": [_SIGNALS], "verbs": verbs})
    return rules


def _granted(
    name: str, namespace: str, rules: list[dict[str, Any]], subject: Mapping[str, str]
) -> list[dict[str, Any]]:
    metadata = {"name": name, "namespace": namespace}
    return [
        {"apiVersion": f"{_RBAC}/v1", "kind": "Role", "metadata": dict(metadata), "rules": rules},
        {
            "apiVersion": f"{_RBAC}/v1",
            "kind": "RoleBinding",
            "metadata": dict(metadata),
            "roleRef": {"apiGroup": _RBAC, "kind": "Role", "name": name},
            "subjects": [dict(subject)],
        },
    ]
