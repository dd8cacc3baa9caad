"""What the values of the charts are: the models that values.yaml, its schema and the table in the README are made from.

A default that is in the manifests too is taken from there.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, create_model

from riskladder.generate.helm.sources import Component, Document
from riskladder.poll.endpoints import Endpoint

Text = dict[str, str]
Objects = list[dict[str, Any]]
OWN_LABELS = (
    *(f"app.kubernetes.io/{name}" for name in ("name", "component", "part-of", "instance", "managed-by", "version")),
    "helm.sh/chart",
)
"""Labels that no value can replace: by some of them pods are selected."""

Labels = Annotated[Text, Field(json_schema_extra={"properties": dict.fromkeys(OWN_LABELS, False)})]
Quantity = Annotated[str, Field(pattern=r"^[0-9]+(\.[0-9]+)?([eE][0-9]+|[numkMGTPE]|[KMGTPE]i)?$")] | int | float
NamespaceName = Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", max_length=63)]


class Part(BaseModel):
    """A part of the values. An attribute's docstring is its description."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)


class Image(Part):
    """The image of all that the chart runs."""

    repository: Annotated[str, Field(min_length=1)] = "riskladder"
    """Registry and name. The default is in no registry: build the image, push it to one of yours, and name it here."""

    tag: str = ""
    """Tag; by default the chart's appVersion."""

    digest: Annotated[str, Field(pattern=r"^(sha256:[0-9a-f]{64})?$")] = ""
    """Digest, `sha256:…`. With one, the tag counts for nothing."""

    pullPolicy: Literal["", "Always", "IfNotPresent", "Never"] = ""  # noqa: N815 - as it is written in the file
    """When nodes pull it; by default as the cluster does."""


class CustomResourceDefinitions(Part):
    """The kinds, from the chart riskladder-crds."""

    enabled: bool = True
    """Install the kinds along with the operator. Turn it off where they are a release of their own."""

    keep: bool = True
    """Leave the kinds, and with them every ladder and record, when the release is uninstalled."""


class Policies(Part):
    """The admission policies, which make the trail trustworthy."""

    enabled: bool = True
    """Install the policies. Turn it off only where somebody else has applied `manifests/policies`: without them the
    operator counts no decision."""

    identity: Literal["auto", "always", "never"] = "auto"
    """Whether the API server writes down who decides and who reports, which takes Kubernetes 1.36. `auto`: where the
    cluster has it."""

    keep: bool = False
    """Leave the policies when the release is uninstalled: records stay append-only, and a contained model stays
    locked."""


class NetworkPolicies(Part):
    """What may connect to the pods, and where they may connect to."""

    enabled: bool = True
    """Install the NetworkPolicies."""


class Fairness(Part):
    """Seats of the API server for the operator alone."""

    enabled: bool = True
    """Install a FlowSchema and a PriorityLevelConfiguration. Turn it off where you may not create them."""


class Quota(Part):
    """Some clusters allow the class system-cluster-critical only where a quota says so."""

    enabled: bool = True
    """Install a ResourceQuota for pods of that class."""


class UserRoles(Part):
    """What people get in addition to the roles that they have."""

    enabled: bool = True
    """Install ClusterRoles that are aggregated to `view`, `edit` and `admin`."""


class Resources(Part):
    """What a container asks for, and gets at most."""

    requests: dict[str, Quantity] = Field(default_factory=dict)
    """Requests by resource."""

    limits: dict[str, Quantity] = Field(default_factory=dict)
    """Limits by resource."""


class Workload(Part):
    """A Deployment of the chart."""

    resources: Resources = Field(default_factory=Resources)
    """Requests and limits of the container. No limit of CPU: throttling would delay a containment."""

    priorityClassName: str = ""  # noqa: N815
    """Priority class of the pods."""

    nodeSelector: Text = Field(default_factory=dict)  # noqa: N815
    """Labels that a node must have."""

    tolerations: Objects = Field(default_factory=list)
    """Taints that are tolerated."""

    affinity: dict[str, Any] = Field(default_factory=dict)
    """Affinity of the pods."""

    topologySpreadConstraints: Objects = Field(default_factory=list)  # noqa: N815
    """How the replicas are spread."""

    podLabels: Labels = Field(default_factory=dict)  # noqa: N815
    """More labels of the pods."""

    podAnnotations: Text = Field(default_factory=dict)  # noqa: N815
    """More annotations of the pods."""

    extraArgs: list[str] = Field(default_factory=list)  # noqa: N815
    """More arguments, such as `--log-level=DEBUG`."""

    extraEnv: Objects = Field(default_factory=list)  # noqa: N815
    """More environment variables, as a container has them."""

    extraVolumes: Objects = Field(default_factory=list)  # noqa: N815
    """More volumes, as a pod has them."""

    extraVolumeMounts: Objects = Field(default_factory=list)  # noqa: N815
    """Where these are mounted."""

    extraEgress: Objects = Field(default_factory=list)  # noqa: N815
    """More rules of egress in the NetworkPolicy, such as for a mail server."""


class Replicated(Workload):
    """A Deployment that may have several replicas."""

    replicas: Annotated[int, Field(ge=0)] = 2
    """Number of pods."""


class Operator(Replicated):
    """The operator. One replica leads, the others stand by."""


class Ingest(Replicated):
    """`riskladder ingest`, with `components.ingest`."""


class Poll(Replicated):
    """`riskladder poll`, with `components.poll`."""

    endpoints: Annotated[list[Endpoint], Field(min_length=1, max_length=64)]
    """The servers that a MonitorBinding may name in `spec.poll.endpoint`, each with `name` and `url`, and perhaps
    `caFile`, `tokenFile`, `headers` and `timeout`."""


class Console(Workload):
    """`riskladder console`, with `components.console`. It has one replica, since it keeps sessions in memory."""

    url: Annotated[str, Field(pattern=r"^https?://[^/?#\s@]+/?$")]
    """Where people reach it: a host name of its own, without a path. Messages link to it."""


class CrdValues(CustomResourceDefinitions):
    """Values of the chart riskladder-crds."""

    enabled: bool = True
    """Nothing in this chart. In the chart riskladder, `crds.enabled` says whether this one is installed along with
    it."""


class ChartValues(Part):
    """Values of the chart riskladder, but for its components."""

    image: Image = Field(default_factory=Image)
    imagePullSecrets: Objects = Field(default_factory=list)  # noqa: N815
    """Secrets to pull the image with, each as `name: …`."""

    components: Part
    watchNamespaces: Annotated[list[NamespaceName], Field(json_schema_extra={"uniqueItems": True})] = Field(  # noqa: N815
        default_factory=list
    )
    """Namespaces to watch, and to have permissions in. They must exist. Empty: all namespaces."""

    commonLabels: Labels = Field(default_factory=dict)  # noqa: N815
    """More labels of every object."""

    crds: CustomResourceDefinitions = Field(default_factory=CustomResourceDefinitions)
    policies: Policies = Field(default_factory=Policies)
    networkPolicies: NetworkPolicies = Field(default_factory=NetworkPolicies)  # noqa: N815
    fairness: Fairness = Field(default_factory=Fairness)
    quota: Quota = Field(default_factory=Quota)
    userRoles: UserRoles = Field(default_factory=UserRoles)  # noqa: N815
    operator: Operator
    ingest: Ingest
    poll: Poll
    console: Console


def values_model(components: list[Component]) -> type[ChartValues]:
    """Return the model of the values, with a switch for each component."""
    switches: dict[str, Any] = {
        component.name: (bool, Field(default=False, description=component.about)) for component in components
    }
    part = create_model("Components", __base__=Part, **switches)
    part.__doc__ = "What is optional. The names are those of `manifests/components`."
    return create_model("Values", __base__=ChartValues, components=(part, Field(default_factory=part)))


def workload_defaults(deployment: Document) -> dict[str, Any]:
    """Return the defaults of a Deployment's values, from its manifest."""
    pod = deployment["spec"]["template"]["spec"]
    taken = {key: pod[key] for key in ("priorityClassName", "tolerations", "topologySpreadConstraints") if key in pod}
    return taken | {"resources": pod["containers"][0]["resources"]}
