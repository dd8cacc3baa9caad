"""The containment lock, an admission policy, made from what the adapters of the runtimes say about their kinds."""

from __future__ import annotations

import json
import textwrap
from collections import defaultdict
from collections.abc import Callable

from riskladder.generate.text import WIDTH
from riskladder.workloads.model import Runtime
from riskladder.workloads.network import NETWORKPOLICIES, RESOURCES
from riskladder.workloads.registry import ALL_RUNTIMES, ALWAYS

SAME = (
    "request.operation == 'DELETE' ? variables.plural != 'networkpolicies' "
    ": variables.plural == 'services' ? object.spec.?selector == oldObject.spec.?selector "
    ": variables.plural == 'httproutes' ? object.spec.?rules == oldObject.spec.?rules : object.spec == oldObject.spec"
)
"""Whether what contains a model from beside it stays as it is."""

POLICY = """\
# The containment lock: what the operator has taken to a safe state stays there until people decide, whoever pulls at
# it.
#
# An Escalation with the label riskladder.dev/containment (set in the write that records the intent, before anything is
# touched, and removed by Resume and Close) is a parameter of this policy; every workload it is about is held to it:
#
# - ScaleToZero: nobody but the operator raises replicas, on the object or on its /scale, or takes out what stops a
#   runtime of another kind; lowering them, and preparing another image while there are none, is free. A workload of the
#   same name can only be created stopped.
# - Rollback: nobody but the operator changes what was rolled back (the pod template). Nobody creates a workload of the
#   same name.
#
# - Fallback: nobody but the operator changes the selector of the Service, or the rules of the HTTPRoute, by which its
#   traffic goes elsewhere.
# - Isolate: nobody but the operator changes or deletes the NetworkPolicy that isolates it. The workload itself is free
#   under both.
#
# That holds for cluster admins, autoscalers, GitOps controllers and `kubectl rollout undo`. Status, deletion and
# everything else about the workload are not its business, nor are workloads in namespaces without such an Escalation.
#
# It fails open: were it to fail closed, an API server that cannot read Escalations (for some seconds after it starts,
# or after the CustomResourceDefinition has been deleted) would refuse every update of every Deployment of the cluster.
# What gets through meanwhile is seen by the operator, put right at once, and laid on record with the name of who did
# it.
#
# Break glass: `kubectl delete validatingadmissionpolicybinding riskladder-lock`. The operator still contains again what
# is undone; to stop that, too, suspend the ladder (spec.suspended: true). It notes on every locked escalation that the
# lock is off (condition Locked, an Event and a record), and when it is back. More in kustomization.yaml.
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata:
  name: riskladder-lock
  labels:
    app.kubernetes.io/name: riskladder
    app.kubernetes.io/component: policies
spec:
  failurePolicy: Ignore
  paramKind:
    apiVersion: riskladder.dev/v1alpha1
    kind: Escalation
  matchConstraints:
    resourceRules:
%(rules)s
  matchConditions:
  - name: not-the-operator
    expression: request.userInfo.username != 'system:serviceaccount:riskladder-system:riskladder'
  variables:
  - name: kinds
    expression: >-
%(kinds)s
  - name: throughs
    expression: >-
%(throughs)s
  - name: plural
    expression: request.resource.resource
  - name: isTarget  # a kind that is not listed is known by the usual plural of its name
    expression: >-
      params.spec.target.name == request.name && (variables.plural in variables.kinds
      ? variables.kinds[variables.plural] == params.spec.target.kind
      : variables.plural in [params.spec.target.kind.lowerAscii() + 's', params.spec.target.kind.lowerAscii() + 'es'])
  - name: action
    expression: params.metadata.labels['riskladder.dev/containment']
  - name: through  # what a Fallback or an Isolate acts on, in place of the workload: kind and name
    expression: >-
      size(params.spec.?intents.orValue([])) == 0 ? ['', ''] : [
      params.spec.intents[size(params.spec.intents) - 1].?through.?kind.orValue(''),
      params.spec.intents[size(params.spec.intents) - 1].?through.?name.orValue('')]
  - name: isThrough
    expression: >-
      variables.action in ['Fallback', 'Isolate'] && oldObject != null
      && variables.through[1] == oldObject.metadata.name && variables.plural in variables.throughs
      && variables.throughs[variables.plural] == variables.through[0]
  - name: isAsBefore
    expression: >-
%(same)s
  - name: isScale
    expression: has(request.subResource) && request.subResource == 'scale'
  - name: isSwitch
    expression: >-
%(switches)s
  - name: level  # how much is asked to run
    expression: >-
      variables.isScale ? object.spec.?replicas.orValue(0) :
%(level)s
  - name: before
    expression: >-
      oldObject == null ? 0 : variables.isScale ? oldObject.spec.?replicas.orValue(0) :
%(before)s
  - name: isSameContent
    expression: >-
      oldObject != null && (
%(content)s)
  - name: advice
    expression: >-
      ' is contained by Escalation ' + params.metadata.name + ' (tier '
      + params.metadata.?labels['riskladder.dev/tier'].orValue('unknown') + '). It is brought back by a decision:
      kubectl riskladder show ' + params.metadata.name + ' -n ' + request.namespace + ' says whose it is'
  validations:
  - expression: >-
      !variables.isTarget || variables.action != 'ScaleToZero' || variables.level <= variables.before
    messageExpression: >-
      params.spec.target.kind + ' ' + request.name + (variables.isSwitch ? ' cannot be started: it'
      : ' cannot have more than ' + string(variables.before) + ' replicas, and ' + string(variables.level)
      + ' are asked for: it') + variables.advice
    reason: Forbidden
  - expression: >-
      !variables.isTarget || variables.action != 'Rollback' || variables.isScale || variables.isSameContent
    messageExpression: >-
      'what ' + params.spec.target.kind + ' ' + request.name + ' serves cannot be changed, nor the workload created
      again: it' + variables.advice
    reason: Forbidden
  - expression: >-
      !variables.isThrough || namespaceObject.metadata.?deletionTimestamp.hasValue() || variables.isAsBefore
    messageExpression: >-
      (request.operation == 'DELETE' ? variables.through[0] + ' ' + variables.through[1] + ' cannot be deleted: '
      : 'the ' + {'Service': 'selector', 'HTTPRoute': 'rules', 'NetworkPolicy': 'spec'}[variables.through[0]] + ' of '
      + variables.through[0] + ' ' + variables.through[1] + ' cannot be changed: ')
      + params.spec.target.kind + ' ' + params.spec.target.name + variables.advice
    reason: Forbidden
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata:
  name: riskladder-lock
  labels:
    app.kubernetes.io/name: riskladder
    app.kubernetes.io/component: policies
spec:
  policyName: riskladder-lock
  paramRef:
    selector:
      matchExpressions:
      - {key: riskladder.dev/containment, operator: Exists}
    parameterNotFoundAction: Allow
  validationActions: [Deny]
"""


def policy() -> str:
    """The policy and its binding, as YAML."""
    switches = sorted(runtime.resource.plural for runtime in ALL_RUNTIMES if runtime.is_switch)
    kinds = {runtime.resource.plural: runtime.resource.kind for runtime in ALL_RUNTIMES}
    level, content = _by_resource(lambda r: r.level), _by_resource(lambda r: _same(r.content))
    return POLICY % {
        "rules": "\n".join(_rules()),
        "kinds": _folded(json.dumps(kinds).replace('"', "'")),
        "throughs": _folded(json.dumps({r.plural: kind for kind, r in RESOURCES.items()}).replace('"', "'")),
        "same": _folded(SAME),
        "switches": _folded(f"variables.plural in {json.dumps(switches)}".replace('"', "'")),
        "level": _folded(level),
        "before": _folded(level.replace("object.", "oldObject.")),
        "content": _folded(content),
    }


def _rules() -> list[str]:
    """One rule for each API group, with the scale subresources of what has them."""
    groups: dict[str, list[str]] = defaultdict(list)
    for runtime in ALL_RUNTIMES:
        resource = runtime.resource
        groups[resource.group] += (
            [resource.plural] if runtime.is_switch else [resource.plural, f"{resource.plural}/scale"]
        )
    return [
        f"    - apiGroups: [{group}]\n"
        '      apiVersions: ["*"]\n'
        f"      resources: [{', '.join(plurals)}]\n"
        "      operations: [CREATE, UPDATE]"
        for group, plurals in groups.items()
    ] + [
        f"    - apiGroups: [{json.dumps(resource.group) if not resource.group else resource.group}]\n"
        '      apiVersions: ["*"]\n'
        f"      resources: [{resource.plural}]\n"
        f"      operations: [UPDATE{', DELETE' if resource is NETWORKPOLICIES else ''}]"
        for resource in RESOURCES.values()
    ]


def _by_resource(expression: Callable[[Runtime], str]) -> str:
    """What each runtime says, chosen by the resource; what Deployments say is for every other one."""
    usual = expression(ALWAYS[0])
    chosen = "".join(
        f"variables.plural == '{runtime.resource.plural}' ? {expression(runtime)} : "
        for runtime in ALL_RUNTIMES
        if expression(runtime) != usual
    )
    return chosen + usual


def _same(content: str) -> str:
    return f"{content} == {content.replace('object.', 'oldObject.')}" if content else "true"


def _folded(expression: str) -> str:
    return textwrap.fill(
        expression,
        width=WIDTH,
        initial_indent=" " * 6,
        subsequent_indent=" " * 6,
        break_long_words=False,
        break_on_hyphens=False,
    )
