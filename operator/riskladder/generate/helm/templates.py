"""The templates of the chart riskladder, made of the manifests."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator
from typing import Any

from riskladder.generate.helm.actions import Each, Given, Include, Splice, Value, When, write
from riskladder.generate.helm.sources import Document, Source, Sources, enabled

WORKLOADS = {
    "riskladder": "operator",
    "riskladder-ingest": "ingest",
    "riskladder-poll": "poll",
    "riskladder-console": "console",
}
"""Deployments, and what their values are called. Their NetworkPolicies have the same names."""

KEEP = "helm.sh/resource-policy"
GENERATED = "{{{{- /* Generated from {source} by `make generate`. Do not edit. */ -}}}}\n"

SCHEDULING = ("nodeSelector", "affinity", "topologySpreadConstraints", "tolerations")
"""Fields of a pod that the values have under the same names."""

Part = tuple[str, Document]
"""The action around a document, and the document; no action where it is always rendered."""


def templates(sources: Sources) -> dict[str, str]:
    """Return the generated templates, text by name of the file in ``templates/``."""
    found = {}
    for source in sources.base:
        found[f"{source.name}.yaml"] = _template(source.path, _base(source, sources))
    for source in sources.policies:
        found[f"policy-{source.name}.yaml"] = _template(source.path, _policies(source, "$.Values.policies.enabled"))
    for source in sources.identity:
        condition = 'and $.Values.policies.enabled (include "riskladder.identity" $)'
        found[f"policy-{source.name}.yaml"] = _template(source.path, _policies(source, condition))
    for source in sources.optional:
        found[f"{source.name}.yaml"] = _template(source.path, _optional(source))
    return found


def crd_template(definition: Document, source: str) -> str:
    """Return the template of a CustomResourceDefinition, in the chart riskladder-crds."""
    return _template(source, [("", _labelled(_kept(definition, "$.Values.keep"), "riskladder-crds.labels"))])


def _template(source: str, parts: Iterable[Part]) -> str:
    text = [GENERATED.format(source=source)]
    for action, document in parts:
        lines = "\n".join(["---", *write(document)])
        text.append(f"{{{{- {action} }}}}\n{lines}\n{{{{- end }}}}\n" if action else f"{lines}\n")
    return "".join(text)


def _base(source: Source, sources: Sources) -> Iterator[Part]:
    for document in source.documents:
        document["metadata"].setdefault("labels", {}).update(sources.labels)
        condition = _condition(document)
        yield (f"if {condition}" if condition else ""), _labelled(_with_values(document))
        if _id(document) == ("ClusterRoleBinding", "riskladder"):
            confined = copy.deepcopy(sources.confined)
            confined["metadata"]["namespace"] = Value(". | quote")
            yield "range $.Values.watchNamespaces", _labelled(confined)


def _optional(source: Source) -> Iterator[Part]:
    for document in source.documents:
        conditions = [enabled(source.component), _condition(document)]
        whole = conditions[0] if not conditions[1] else f"and ({conditions[0]}) {conditions[1]}"
        yield f"if {whole}", _labelled(_with_values(document))


def _policies(source: Source, condition: str) -> Iterator[Part]:
    for document in source.documents:
        yield f"if {condition}", _labelled(_kept(document, "$.Values.policies.keep"))


def _kept(document: Document, condition: str) -> Document:
    annotations = {**document["metadata"].get("annotations", {}), KEEP: When(condition, "keep")}
    return {**document, "metadata": {**document["metadata"], "annotations": annotations}}


def _condition(document: Document) -> str:
    """Return the condition under which the values let an object be installed; empty for always."""
    match _id(document):
        case "NetworkPolicy", _:
            return "$.Values.networkPolicies.enabled"
        case "FlowSchema" | "PriorityLevelConfiguration", _:
            return "$.Values.fairness.enabled"
        case "ResourceQuota", _:
            return "$.Values.quota.enabled"
        case "ClusterRole", "riskladder-view" | "riskladder-edit":
            return "$.Values.userRoles.enabled"
        case "ClusterRoleBinding", "riskladder":
            return "not $.Values.watchNamespaces"
    return ""


def _with_values(document: Document) -> Document:
    match _id(document):
        case "Deployment", name:
            _deployment(document, WORKLOADS[name])
        case "NetworkPolicy", name:
            document["spec"]["egress"].append(Splice(f"$.Values.{WORKLOADS[name]}.extraEgress"))
        case "ConfigMap", "riskladder-poll":
            document["data"] = {"endpoints.yaml": Value('dict "endpoints" $.Values.poll.endpoints | toYaml | quote')}
        case "ConfigMap", "riskladder-console":
            document["data"] = {"url": Value("$.Values.console.url | quote")}
    return document


def _deployment(document: Document, name: str) -> None:
    """Let the values say what they say of a Deployment.

    Pods read what they are configured with when they start, so they are replaced where that has changed.
    """
    values = f"$.Values.{name}"
    spec, template = document["spec"], document["spec"]["template"]
    pod, [container] = template["spec"], template["spec"]["containers"]
    if name != "console":  # which has one
        spec["replicas"] = Value(f"{values}.replicas")
    url, endpoints = (
        Value(f"{value} | sha256sum") for value in ("$.Values.console.url", "$.Values.poll.endpoints | toYaml")
    )
    checksums: dict[str, dict[Any, Any]] = {
        "operator": {"checksum/console": When(enabled("console"), url)},
        "console": {"checksum/url": url},
        "poll": {"checksum/endpoints": endpoints},
    }
    template["metadata"]["annotations"] = {**checksums.get(name, {}), Splice(f"{values}.podAnnotations"): None}
    template["metadata"]["labels"] = {**template["metadata"]["labels"], Splice(f"{values}.podLabels"): None}
    pod["imagePullSecrets"] = Given("$.Values.imagePullSecrets")
    pod["priorityClassName"] = When(f"{values}.priorityClassName", Value(f"{values}.priorityClassName | quote"))
    for field in SCHEDULING:
        pod[field] = Given(f"{values}.{field}")
    container["image"] = Value('include "riskladder.image" $ | quote')
    container["imagePullPolicy"] = When("$.Values.image.pullPolicy", Value("$.Values.image.pullPolicy"))
    container["resources"] = Given(f"{values}.resources")
    always = [argument for argument in container["args"] if not isinstance(argument, When)]
    options = container["args"][len(always) :]
    if name == "operator":  # Before what components add, as where they are added to the overlay.
        always.append(Each("$.Values.watchNamespaces", 'printf "--namespace=%s" . | quote'))
    container["args"] = [*always, *options, Splice(f"{values}.extraArgs")]
    container["env"] = [*container.get("env", ()), Splice(f"{values}.extraEnv")]
    container["volumeMounts"].append(Splice(f"{values}.extraVolumeMounts"))
    pod["volumes"].append(Splice(f"{values}.extraVolumes"))


def _labelled(document: Document, template: str = "riskladder.labels") -> Document:
    labels = {**document["metadata"].get("labels", {}), Include(template): None}
    return {**document, "metadata": {**document["metadata"], "labels": labels}}


def _id(document: Document) -> tuple[str, str]:
    return document["kind"], document["metadata"]["name"]
