"""What the operator, and what reports for monitors, may do, once: the roles are generated from these tables.

The operator checks itself against them.

Each rule says who needs it and why, so that a reviewer can strike one out and know what is lost. No wildcard, no
``delete`` of anything (component isolate may delete its NetworkPolicies), and of Secrets only the one that holds the
channels' credentials.
"""

from __future__ import annotations

from riskladder.api.base import GROUP
from riskladder.api.labels import CHANNELS_SECRET, CONSOLE, INGEST_SECRET, VIA
from riskladder.cluster.definitions import CRDS, NAMES
from riskladder.cluster.policies import IDENTITY
from riskladder.cluster.shipped_policies import SHIPPED
from riskladder.workloads.grant import Grant as Grant

NAMESPACED = (
    Grant(
        GROUP,
        ("escalationladders", "modelrisksignals", "escalations", "escalationdecisions"),
        ("get", "list", "watch"),
        "the watchers: every decision is made from these, and nothing of them is kept outside of the API",
    ),
    Grant(
        GROUP,
        ("escalations",),
        ("create", "patch"),
        "the reconciler: opens an escalation from what it has contained; its labels carry tier and lock",
    ),
    Grant(
        GROUP,
        ("escalationladders/status", "modelrisksignals/status", "escalations/status", "escalationdecisions/status"),
        ("patch",),
        "the reconciler: writes what it found; what people wrote (spec) stays theirs",
    ),
    Grant(
        GROUP,
        ("escalationrecords",),
        ("create", "get"),
        "the ledger: appends to the chain, and reads the record that stands in its place after a conflict",
    ),
    Grant(
        "",
        ("namespaces",),
        ("get",),
        "the ledger: names the uid of the namespace in each record, since one that was created again has chains of its "
        "own. Bound in a namespace, it grants to read that one namespace object and no other",
    ),
    Grant(
        GROUP,
        ("containmentindexes",),
        ("get", "list", "create", "update"),
        "the lock: keeps the names of what is contained, by which admission knows who creates or scales it",
    ),
    Grant(
        "authorization.k8s.io",
        ("localsubjectaccessreviews",),
        ("create",),
        "authority: asks whether who decided still holds the role when the decision is counted",
    ),
    Grant(
        "apps",
        ("deployments", "statefulsets"),
        ("get", "list", "watch"),
        "the watchers: the targets, where a ladder governs them",
    ),
    Grant("apps", ("deployments", "statefulsets"), ("patch",), "containment: scales to zero and rolls back"),
    Grant(
        "apps",
        ("replicasets", "controllerrevisions"),
        ("get", "list", "watch"),
        "containment: the revisions that a rollback can go back to",
    ),
    Grant("", ("pods",), ("list", "watch"), "the trail: evidence of what ran, and proof that it is gone"),
    Grant(
        "discovery.k8s.io", ("endpointslices",), ("list", "watch"), "the trail: proof that nothing is served any more"
    ),
    Grant(
        "batch",
        ("cronjobs", "jobs"),
        ("get", "patch"),
        "alsoSuspend: suspends what a tier names as companion workloads, and lets it run again",
        checked=False,
    ),
    Grant("events.k8s.io", ("events",), ("create",), "the trail: Events on ladders, signals, escalations and targets"),
    Grant(
        "",
        ("secrets",),
        ("get",),
        "notification: the credentials of the channels, from this one Secret and no other",
        names=(CHANNELS_SECRET,),
        checked=False,
    ),
)
"""In every namespace with a ladder: the ClusterRole, bound cluster-wide or by a RoleBinding in each of them."""

OWN_NAMESPACE = (
    Grant("coordination.k8s.io", ("leases",), ("create",), "leader election: makes its Lease", checked=False),
    Grant(
        "coordination.k8s.io",
        ("leases",),
        ("get", "update"),
        "leader election: holds it and gives it up",
        names=("riskladder",),
        checked=False,
    ),
)
"""In the operator's own namespace."""

NODE_LEASES = (
    Grant(
        "coordination.k8s.io",
        ("leases",),
        ("get",),
        "the trail: hears of a node again on which a pod has vanished that the node has not said to have ended",
        checked=False,
    ),
)
"""In the namespace where kubelets renew the Leases of their nodes."""

CLUSTER = (
    Grant(
        "admissionregistration.k8s.io",
        ("validatingadmissionpolicies", "validatingadmissionpolicybindings"),
        ("get",),
        "authority: sees that every policy is in force and as it was shipped: it counts no decision without the one "
        "that proves them, and says on each ladder which is missing or altered",
        names=tuple(name for name in sorted(SHIPPED) if name != IDENTITY),
        checked=False,
    ),
    Grant(
        "admissionregistration.k8s.io",
        ("mutatingadmissionpolicies", "mutatingadmissionpolicybindings"),
        ("get",),
        "authority: the same of the one policy that fills something in, where that is installed",
        names=(IDENTITY,),
        checked=False,
    ),
    Grant(
        CRDS.group,
        (CRDS.plural,),
        ("get",),
        "the kinds: sees whether they store what this version writes, and says on each ladder where they do not",
        names=NAMES,
        checked=False,
    ),
)
"""Of the cluster, however few namespaces it is bound in: what has no namespace."""

BINDINGS = (
    Grant(GROUP, ("monitorbindings",), ("get", "list", "watch"), "what a monitor's words mean, and who may send them"),
    Grant(GROUP, ("monitorbindings/status",), ("patch",), "says on each binding what came of it"),
    Grant("events.k8s.io", ("events",), ("create",), "a Warning on the binding where something becomes no reading"),
)
"""Of whatever reports for monitors. To write signals is none of it: the service account that a binding names has to be
allowed to, and each of them has to let it act in its name (riskladder bind rbac)."""

INGEST = (
    *BINDINGS,
    Grant("authentication.k8s.io", ("tokenreviews",), ("create",), "asks the API server whose a sender's token is"),
    Grant(
        "",
        ("secrets",),
        ("get",),
        "the keys by which monitors sign, from this one Secret and no other",
        names=(INGEST_SECRET,),
    ),
)
"""Of riskladder ingest, cluster-wide."""

POLL = BINDINGS
"""Of riskladder poll, cluster-wide."""

POLL_OWN_NAMESPACE = (
    Grant("coordination.k8s.io", ("leases",), ("create",), "leader election: makes its Lease"),
    Grant(
        "coordination.k8s.io",
        ("leases",),
        ("get", "update"),
        "leader election: holds it and gives it up",
        names=("riskladder-poll",),
    ),
)
"""Of riskladder poll, in its own namespace."""

_ACTING = "impersonate-on:user-info:"

CONSOLE_ACTING = (
    Grant(
        "authentication.k8s.io",
        ("users", "groups"),
        ("impersonate:user-info",),
        "names whoever has signed in at the provider; alone it lets nothing be done in their name",
    ),
    Grant(
        "authentication.k8s.io",
        (f"userextras/{VIA}",),
        ("impersonate:user-info",),
        "says that it was by the console: it is on record with the decision",
        names=(CONSOLE,),
    ),
    Grant(
        GROUP,
        ("escalationdecisions",),
        (f"{_ACTING}create",),
        "the one thing that is written in somebody's name; RBAC and the policies judge it as theirs",
    ),
    Grant(
        GROUP,
        ("escalationladders", "modelrisksignals", "escalations", "escalationdecisions", "escalationrecords"),
        (f"{_ACTING}get", f"{_ACTING}list", f"{_ACTING}watch"),
        "reads in their name what they may read",
    ),
    Grant(
        "authentication.k8s.io",
        ("selfsubjectreviews",),
        (f"{_ACTING}create",),
        "asks whom the API server takes them for",
    ),
    Grant(
        "authorization.k8s.io",
        ("selfsubjectaccessreviews", "selfsubjectrulesreviews"),
        (f"{_ACTING}create",),
        "asks what they may do",
    ),
)
"""Of riskladder console --impersonate, cluster-wide: constrained impersonation, which Kubernetes has from 1.36 on."""
