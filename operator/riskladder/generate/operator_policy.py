"""The policy that bounds the operator's own user, made from its grants: a stolen token does not rule the cluster."""

from __future__ import annotations

import json
import textwrap
from collections import defaultdict
from collections.abc import Iterable, Mapping

from riskladder.api.base import GROUP
from riskladder.api.labels import ANNOTATION_CONTAINMENT, LABEL_CONTAINED_BY, LABEL_ESCALATION, LABEL_LOCK
from riskladder.cluster.grants import NAMESPACED, OWN_NAMESPACE, Grant
from riskladder.generate.text import WIDTH
from riskladder.workloads.companions import keda, suspend
from riskladder.workloads.network import HTTPROUTES, NETWORKPOLICIES, SERVICES
from riskladder.workloads.privileges import HASH_SUFFIX, HOST_FLAGS
from riskladder.workloads.registry import ALL_RUNTIMES, COMPANION_KINDS, SAFE_STATES
from riskladder.workloads.runtimes.kserve import STOP

OPERATIONS = {"create": "CREATE", "update": "UPDATE", "patch": "UPDATE", "delete": "DELETE"}
"""What a verb of RBAC is at admission; reading is never asked about."""

FIELDS: Mapping[str, tuple[str, ...]] = {
    "apps/deployments": ("replicas", "template"),
    "apps/statefulsets": ("replicas", "template"),
    "argoproj.io/rollouts": ("replicas", "template", "workloadRef", "paused", "strategy"),
    "serving.kserve.io/inferenceservices": ("predictor", "transformer", "explainer", "canary"),
    "serving.kserve.io/llminferenceservices": (),
    "mlops.seldon.io/models": ("replicas", "minReplicas", "storageUri"),
    "ray.io/rayclusters": ("suspend",),
    "ray.io/rayservices": ("suspend",),
    f"{SERVICES.group}/{SERVICES.plural}": ("selector",),
    f"{HTTPROUTES.group}/{HTTPROUTES.plural}": ("rules",),
    f"{NETWORKPOLICIES.group}/{NETWORKPOLICIES.plural}": ("podSelector", "policyTypes", "ingress", "egress"),
    **{f"{resource.group}/{resource.plural}": ("suspend",) for resource in suspend.SWITCHED},
    f"{keda.SCALEDOBJECTS.group}/{keda.SCALEDOBJECTS.plural}": (),
}
"""By group and resource: the fields of ``spec`` that the operator writes."""

LABELS = (LABEL_CONTAINED_BY, LABEL_LOCK)
ANNOTATIONS = (ANNOTATION_CONTAINMENT, STOP, keda.ANNOTATION)

NEVER: Mapping[str, tuple[str, ...]] = {
    "": (
        *("secrets", "configmaps", "serviceaccounts", "serviceaccounts/token", "namespaces", "namespaces/finalize"),
        *("nodes", "nodes/proxy", "persistentvolumes", "persistentvolumeclaims", "pods", "pods/ephemeralcontainers"),
        *("pods/exec", "pods/attach", "pods/portforward", "pods/proxy", "pods/eviction", "pods/binding"),
        *("pods/resize", "bindings", "services/proxy", "replicationcontrollers", "podtemplates"),
    ),
    "apps": ("daemonsets", "replicasets", "controllerrevisions"),
    "rbac.authorization.k8s.io": ("*",),
    "apiextensions.k8s.io": ("customresourcedefinitions",),
    "apiregistration.k8s.io": ("apiservices",),
    "certificates.k8s.io": ("certificatesigningrequests", "certificatesigningrequests/approval"),
    "networking.k8s.io": ("ingresses",),
    GROUP: ("escalationladders", "modelrisksignals", "escalationdecisions"),
}
"""What gives power over others. RBAC grants none of it; where somebody widens that, this still holds, but for what the
grants name."""

KEPT = ("escalations", "containmentindexes")
"""Its own kinds: it writes them, and deletes none. (Records are the matter of riskladder-records, for everybody.)"""

POLICY = """\
# What the operator's own user may write, whoever holds its token: what containing a model takes, and nothing else.
#
# RBAC says which kinds it may patch. It cannot say what in them, and to patch a Deployment is to run anything under any
# service account of its namespace, on the host as well. So this policy looks at what is changed, and fails closed:
#
# - Of workloads: replicas, the switches of each runtime, and the pod template. The pods gain nothing that they do not
#   have already: no other service account or token, no host network, PID or IPC namespace, no hostPath, no privilege or
#   capability, no Secret. (A rollback to a revision that had more is impossible, and ifImpossible takes its place.)
# - Of Services the selector, of HTTPRoutes the rules, of companion workloads what suspends them, of NetworkPolicies
#   those that it has made, which allow nothing.
# - Of metadata: its own labels and annotations. What another admission plugin adds to a workload in the same write is
#   let through, or a new plugin would keep a model from being stopped; what was there is not changed or taken away.
# - Nothing in kube-system, kube-public, kube-node-lease and its own namespace, but for the Lease and Events.
# - No Secrets, service accounts, RBAC objects, kinds, ladders, signals or decisions, however RBAC is widened, and of
#   pods nothing but their deletion, which the component prompt-stop grants.
#   (What admission is never asked about is left to RBAC: reading, and policies like this one.)
#
# A stolen token still can stop and restore models, put another image into the pods of one, and append records. To
# revoke it delete the pods of the operator, to which it is bound, or the service account: docs/security.md.
#
# Break glass: `kubectl delete validatingadmissionpolicybinding riskladder-operator`; more in kustomization.yaml.
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata:
  name: riskladder-operator
  labels:
    app.kubernetes.io/name: riskladder
    app.kubernetes.io/component: policies
spec:
  failurePolicy: Fail
  matchConstraints:
    resourceRules:
%(rules)s
  matchConditions:
  - name: the-operator
    expression: request.userInfo.username == 'system:serviceaccount:riskladder-system:riskladder'
  variables:
  - name: subresource
    expression: "has(request.subResource) ? request.subResource : ''"
  - name: key
    expression: >-
      request.resource.group + '/' + request.resource.resource
      + (variables.subresource == '' ? '' : '/' + variables.subresource)
  - name: allowed  # by group and resource: the operations that it needs
    expression: >-
%(allowed)s
  - name: isAllowed
    expression: >-
      variables.key in variables.allowed ? request.operation in variables.allowed[variables.key]
      : variables.subresource == 'scale' && request.operation == 'UPDATE'
  - name: isUpdate  # of the whole object
    expression: variables.isAllowed && request.operation == 'UPDATE' && variables.subresource == ''
  - name: isWorkload
    expression: >-
%(workloads)s
  - name: after
    expression: "request.operation == 'DELETE' || object == null ? dyn({}) : dyn(object)"
  - name: before
    expression: "oldObject == null ? dyn({}) : dyn(oldObject)"
  - name: fields  # of the spec, by group and resource: what it writes
    expression: >-
%(fields)s
  - name: ownFields
    expression: "variables.key in variables.fields ? variables.fields[variables.key] : ['']"
  - name: specAfter
    expression: variables.after.?spec.orValue({})
  - name: specBefore
    expression: variables.before.?spec.orValue({})
  - name: strangeFields
    expression: >-
      variables.specBefore.filter(k, !(k in variables.ownFields)
      && (!(k in variables.specAfter) || variables.specAfter[k] != variables.specBefore[k]))
      + variables.specAfter.filter(k, !(k in variables.ownFields) && !(k in variables.specBefore)
      && !variables.isWorkload)
  - name: labelsAfter
    expression: variables.after.?metadata.?labels.orValue({})
  - name: labelsBefore
    expression: variables.before.?metadata.?labels.orValue({})
  - name: annotationsAfter
    expression: variables.after.?metadata.?annotations.orValue({})
  - name: annotationsBefore
    expression: variables.before.?metadata.?annotations.orValue({})
  - name: strangeMetadata
    expression: >-
      variables.labelsBefore.filter(k, !(k in %(labels)s)
      && (!(k in variables.labelsAfter) || variables.labelsAfter[k] != variables.labelsBefore[k]))
      + variables.labelsAfter.filter(k, !(k in %(labels)s)
      && !(k in variables.labelsBefore) && !variables.isWorkload)
      + variables.annotationsBefore.filter(k,
      !(k in %(annotations)s)
      && (!(k in variables.annotationsAfter) || variables.annotationsAfter[k] != variables.annotationsBefore[k]))
      + variables.annotationsAfter.filter(k,
      !(k in %(annotations)s)
      && !(k in variables.annotationsBefore) && !variables.isWorkload)
      + (variables.after.?metadata.?ownerReferences.orValue([])
      == variables.before.?metadata.?ownerReferences.orValue([]) ? [] : ['ownerReferences'])
      + (variables.after.?metadata.?finalizers.orValue([])
      == variables.before.?metadata.?finalizers.orValue([]) ? [] : ['finalizers'])
  - name: podsAfter
    expression: >-
%(podsAfter)s
  - name: podsBefore
    expression: >-
%(podsBefore)s
  - name: grantsAfter
    expression: >-
%(grantsAfter)s
  - name: grantsBefore
    expression: >-
%(grantsBefore)s
  - name: gained  # where the pods change at all: the write that stops a model does not change them, and must not wait
    expression: >-
      !variables.isUpdate || variables.podsAfter == variables.podsBefore ? []
      : variables.grantsAfter.map(lists, lists.map(list, list.filter(one,
      !variables.grantsBefore.exists(others, others.exists(other, one in other))).join(', '))
      .filter(text, text != '').join(', ')).filter(text, text != '')
  - name: isOwnPolicy  # a NetworkPolicy that it has made
    expression: >-
      request.name.startsWith('riskladder-') && (request.operation == 'CREATE' ? variables.labelsAfter
      : variables.labelsBefore)[?'%(escalation)s'].hasValue()
  - name: isClosed  # one that selects some pods, and allows them nothing
    expression: >-
      size(variables.specAfter.?policyTypes.orValue([])) == 2
      && size(variables.specAfter.?ingress.orValue([])) == 0 && size(variables.specAfter.?egress.orValue([])) == 0
      && size(variables.specAfter.?podSelector.orValue({})) > 0
  - name: notMore
    expression: >-
      '. The policy riskladder-operator bounds ' + request.userInfo.username + ' to what containing a model takes: if
      this is not the operator at work, somebody holds its token'
  validations:
  - expression: variables.isAllowed
    messageExpression: >-
      'the operator does not ' + request.operation.lowerAscii() + ' ' + variables.key + variables.notMore
    reason: Forbidden
  - expression: >-
      !variables.isAllowed || !(request.namespace in ['kube-system', 'kube-public', 'kube-node-lease',
      request.userInfo.username.split(':')[2]])
    messageExpression: >-
      'the operator changes no ' + variables.key + ' in namespace ' + request.namespace + variables.notMore
    reason: Forbidden
  - expression: "!variables.isUpdate || size(variables.strangeFields) == 0"
    messageExpression: >-
      'spec of ' + variables.key + ' ' + request.name + ': ' + variables.strangeFields.join(', ')
      + ' would be changed, and the operator changes only: '
      + (size(variables.ownFields) == 0 ? 'nothing' : variables.ownFields.join(', ')) + variables.notMore
    reason: Forbidden
  - expression: "!variables.isUpdate || size(variables.strangeMetadata) == 0"
    messageExpression: >-
      'metadata of ' + variables.key + ' ' + request.name + ': ' + variables.strangeMetadata.join(', ')
      + ' would be changed, and the operator changes only labels and annotations of its own' + variables.notMore
    reason: Forbidden
  - expression: size(variables.gained) == 0
    messageExpression: >-
      'the pods of ' + variables.key + ' ' + request.name + ' would gain: ' + variables.gained.join(', ')
      + '. The operator puts no pod template back that grants more than the one in place' + variables.notMore
    reason: Forbidden
  - expression: >-
      variables.key != 'networking.k8s.io/networkpolicies' || !variables.isAllowed
      || (variables.isOwnPolicy && (request.operation == 'DELETE' || variables.isClosed))
    messageExpression: >-
      'NetworkPolicy ' + request.name + ': the operator writes only those that it has made (riskladder-…, with the label
      %(escalation)s), and they select some pods and allow nothing' + variables.notMore
    reason: Forbidden
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata:
  name: riskladder-operator
  labels:
    app.kubernetes.io/name: riskladder
    app.kubernetes.io/component: policies
spec:
  policyName: riskladder-operator
  validationActions: [Deny]
"""


def grants() -> tuple[Grant, ...]:
    """Return everything that the operator may be allowed, with all of its components."""
    runtimes = (grant for runtime in ALL_RUNTIMES for grant in runtime.permissions)
    further = (grant for part in (*COMPANION_KINDS, *SAFE_STATES) for grant in part.permissions)
    return (*NAMESPACED, *OWN_NAMESPACE, *runtimes, *further)


def allowed() -> dict[str, list[str]]:
    """Return the operations that the grants need, by group and resource."""
    found: dict[str, list[str]] = defaultdict(list)
    for grant in grants():
        for resource in grant.resources:
            for verb in grant.verbs:
                if verb in OPERATIONS and OPERATIONS[verb] not in found[f"{grant.group}/{resource}"]:
                    found[f"{grant.group}/{resource}"].append(OPERATIONS[verb])
    return {key: sorted(operations) for key, operations in sorted(found.items()) if operations}


def policy() -> str:
    """Return the policy and its binding, as YAML."""
    workloads = [f"{runtime.resource.group}/{runtime.resource.plural}" for runtime in ALL_RUNTIMES]
    matched = {key: operations for key, operations in allowed().items() if key in _matched()}
    return POLICY % {
        "rules": "\n".join(_rules()),
        "allowed": _folded(_map(matched)),
        "fields": _folded(_map(FIELDS)),
        "workloads": _folded(f"variables.key in {_list(workloads)}"),
        "labels": _list(LABELS),
        "annotations": _list(ANNOTATIONS),
        "escalation": LABEL_ESCALATION,
        "podsAfter": _folded(_pods("variables.specAfter")),
        "podsBefore": _folded(_pods("variables.specBefore")),
        "grantsAfter": _folded(f"variables.podsAfter.map(p, {_grants()})"),
        "grantsBefore": _folded(f"variables.podsBefore.map(p, {_grants()})"),
    }


def _matched() -> set[str]:
    """Return what admission is to be asked about, by group and resource."""
    return {*FIELDS, *(f"{group}/{resource}" for group, found in NEVER.items() for resource in found)}


def _rules() -> list[str]:
    """Return the rules of what is matched: what it writes, what it never does, and all that scales."""
    groups: dict[str, list[str]] = defaultdict(list)
    for key in FIELDS:
        group, _, resource = key.partition("/")
        groups[group].append(resource)
    for group, resources in NEVER.items():
        groups[group] += resources
    return [
        *(_rule(group, resources, '"*"') for group, resources in sorted(groups.items())),
        _rule(GROUP, KEPT, "DELETE"),
        _rule('"*"', ['"*/scale"'], "UPDATE"),
    ]


def _rule(group: str, resources: Iterable[str], operations: str) -> str:
    names = [json.dumps(name) if name == "*" else name for name in resources]
    listed = textwrap.fill(
        ", ".join(names), width=WIDTH, initial_indent=" " * 8, subsequent_indent=" " * 8, break_on_hyphens=False
    ).strip()
    return (
        f"    - apiGroups: [{group or json.dumps(group)}]\n"
        '      apiVersions: ["*"]\n'
        f"      resources: [{listed}]\n"
        f"      operations: [{operations}]"
    )


def _pods(spec: str) -> str:
    """Return CEL: the pod specs of an object, where it has any."""
    kserve = f"['predictor', 'transformer', 'explainer'].filter(k, k in {spec}).map(k, {spec}[k])"
    canaries = f"{spec}.?canary.orValue([]).filter(c, has(c.predictor)).map(c, c.predictor)"
    return (
        "variables.key in ['apps/deployments', 'apps/statefulsets', 'argoproj.io/rollouts'] "
        f"? [{spec}.?template.?spec.orValue({{}})] "
        f": variables.key == 'serving.kserve.io/inferenceservices' ? {kserve} + {canaries} : []"
    )


def _grants() -> str:
    """Return CEL: what the pod spec ``p`` grants, as lists of words; ``workloads/privileges.py`` says the same."""
    containers = "(p.?containers.orValue([]) + p.?initContainers.orValue([]) + (has(p.model) ? [p.model] : []))"
    volumes = "p.?volumes.orValue([])"
    context = "c.?securityContext"
    sources = "v.projected.?sources.orValue([])"
    account = (
        "'service account ' + (p.?serviceAccountName.orValue('') != '' ? p.serviceAccountName "
        ": p.?serviceAccount.orValue('') != '' ? p.serviceAccount : 'default')"
    )
    single = (
        f"[{account}]",
        "p.?automountServiceAccountToken.orValue(true) ? ['a service account token'] : []",
        f"{_list(HOST_FLAGS)}.filter(f, p[?f].orValue(false))",
        f"{volumes}.filter(v, has(v.hostPath)).map(v, 'hostPath ' + v.hostPath.?path.orValue(''))",
        f"{volumes}.filter(v, has(v.secret)).map(v, {_secret('v.secret.?secretName')})",
        f"{volumes}.filter(v, has(v.csi)).map(v, 'CSI driver ' + v.csi.?driver.orValue(''))",
        f"{containers}.filter(c, {context}.?privileged.orValue(false)).map(c, 'a privileged container')",
        f"{containers}.filter(c, {context}.?procMount.orValue('') == 'Unmasked').map(c, 'procMount Unmasked')",
    )
    several = (
        f"{containers}.map(c, {context}.?capabilities.?add.orValue([]).map(a, 'capability ' + a))",
        f"{containers}.map(c, c.?env.orValue([]).filter(e, e.?valueFrom.?secretKeyRef.hasValue())"
        f".map(e, {_secret('e.valueFrom.secretKeyRef.?name')}))",
        f"{containers}.map(c, c.?envFrom.orValue([]).filter(e, has(e.secretRef))"
        f".map(e, {_secret('e.secretRef.?name')}))",
        f"{volumes}.filter(v, has(v.projected)).map(v, {sources}.filter(s, has(s.secret))"
        f".map(s, {_secret('s.secret.?name')}))",
        f"{volumes}.filter(v, has(v.projected)).map(v, {sources}.filter(s, has(s.serviceAccountToken))"
        ".map(s, 'a token for audience ' + s.serviceAccountToken.?audience.orValue('')))",
    )
    return f"[{', '.join(single)}] + {' + '.join(several)}"


def _secret(name: str) -> str:
    """Return CEL: the name of a Secret without what kustomize appends to it."""
    text = f"{name}.orValue('')"
    return f"'Secret ' + {text}.substring(0, size({text}) - size({text}.find('{HASH_SUFFIX}')))"


def _map(values: Mapping[str, Iterable[str]]) -> str:
    return "{" + ", ".join(f"'{key}': {_list(found)}" for key, found in values.items()) + "}"


def _list(words: Iterable[str]) -> str:
    return json.dumps(list(words)).replace('"', "'")


def _folded(expression: str) -> str:
    return textwrap.fill(
        expression,
        width=WIDTH,
        initial_indent=" " * 6,
        subsequent_indent=" " * 6,
        break_long_words=False,
        break_on_hyphens=False,
    )
