"""The containment lock, two admission policies, made from what the adapters of the runtimes say about their kinds."""

from __future__ import annotations

import json
import textwrap
from collections import defaultdict
from collections.abc import Callable, Sequence

from riskladder.api.resource import Resource
from riskladder.generate.text import WIDTH
from riskladder.workloads.model import Runtime
from riskladder.workloads.network import NETWORKPOLICIES, RESOURCES
from riskladder.workloads.registry import ALL_RUNTIMES, ALWAYS

STATUS_WRITES_METADATA = ("deployments", "statefulsets", "services")
"""Of these, a write on the status may change annotations, and of some the labels (``PrepareForUpdate`` of each)."""

SAME = (
    "request.operation == 'DELETE' ? variables.plural != 'networkpolicies' "
    ": variables.plural == 'services' ? object.spec.?selector == oldObject.spec.?selector "
    ": variables.plural == 'httproutes' ? object.spec.?rules == oldObject.spec.?rules : object.spec == oldObject.spec"
)
"""CEL: whether an object other than the model that contains it stays as it is."""

POLICY = """\
# The containment lock: what the operator has taken to a safe state stays there until people decide, whoever writes on
# it. Two policies, since two kinds of requests have to be distinguished:
#
# riskladder-lock holds objects. What a containment has changed carries the label riskladder.dev/contained-by, which the
# operator sets in the very write that contains. Admission asks this policy about nothing else, so that it costs no
# other object anything, and it fails closed. It asks about an object that had the label before, too: to take the label
# away does not get round it.
#
# - ScaleToZero: nobody but the operator raises replicas, or takes out what stops a runtime of another kind. Lowering
#   them, and preparing another image while there are none, is free.
# - Rollback: nobody but the operator changes what was rolled back (the pod template), or keeps it from rolling out.
# - Fallback: nobody but the operator changes the selector of the Service, or the rules of the HTTPRoute, by which its
#   traffic goes elsewhere.
# - Isolate: nobody but the operator changes or deletes the NetworkPolicy that isolates it.
# - Nobody but the operator changes the labels and the annotation by which an object is held, or puts them on one.
#
# A copy of the label holds nothing: the annotation has to name the uid of the object. So what a controller makes of a
# contained object, and labels like it (as KServe does), stays its own.
#
# riskladder-lock-names holds names: a request to create a workload, and one to change /scale, carry no label, and what
# has just been created carries none yet. It looks at nothing but what raises something, goes by the ContainmentIndex
# of the namespace, which the operator writes within a second, and fails open: until then, and where it cannot be
# evaluated, what gets through is seen by the operator, re-applied at once, and recorded with the name of who did
# it. Under ScaleToZero a workload of a contained name can only be created stopped, under Rollback not at all. It holds
# the ReplicaSets of a contained Deployment as well, which run the model without it once they are released: they are
# recognized by their name, <deployment>-<pod-template-hash>. Under ScaleToZero nobody raises any of them, under
# Rollback nobody but the Deployment controller that of the revision taken out of service.
#
# All that holds for cluster admins, autoscalers, GitOps controllers and `kubectl rollout undo`. Status, deletion and
# everything else about the workload are not its business.
#
# Break glass: `kubectl delete validatingadmissionpolicybinding riskladder-lock riskladder-lock-names`. The operator
# still contains again what is reverted; to stop that, too, suspend the ladder (spec.suspended: true). It notes on every
# locked escalation that the lock is off (condition Locked, an Event and a record), and when it is back. More in
# kustomization.yaml.
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata:
  name: riskladder-lock
  labels:
    app.kubernetes.io/name: riskladder
    app.kubernetes.io/component: policies
spec:
  failurePolicy: Fail
  matchConstraints:
    objectSelector:
      matchExpressions:
      - {key: riskladder.dev/contained-by, operator: Exists}
    resourceRules:
%(rules)s
  matchConditions:
  - name: not-the-operator
    expression: request.userInfo.username != 'system:serviceaccount:riskladder-system:riskladder'
  variables:
  - name: plural
    expression: request.resource.resource
  - name: before  # what it was held by: the label, the lock and the annotation, where that is about this very object
    expression: >-
      oldObject == null ? '' : oldObject.metadata.?annotations[?'riskladder.dev/containment'].orValue('')
  - name: isHeld
    expression: >-
      oldObject != null && oldObject.metadata.?labels[?'riskladder.dev/contained-by'].hasValue()
      && (variables.plural == 'networkpolicies' ? variables.before != ''
      : variables.before.contains(oldObject.metadata.uid))
  - name: action
    expression: >-
      variables.isHeld ? oldObject.metadata.labels[?'riskladder.dev/lock'].orValue('') : ''
  - name: isSameHold
    expression: >-
      request.operation == 'DELETE'
      || object.metadata.?annotations[?'riskladder.dev/containment'].orValue('') == variables.before
      && ['riskladder.dev/contained-by', 'riskladder.dev/lock'].all(key, object.metadata.?labels[?key].orValue('')
      == oldObject.metadata.?labels[?key].orValue(''))
  - name: level  # how much is asked to run
    expression: >-
%(level1)s
  - name: levelBefore
    expression: >-
%(before)s
  - name: isRaised
    expression: variables.action == 'ScaleToZero' && variables.level > variables.levelBefore
  - name: isSameContent
    expression: >-
      variables.action != 'Rollback' || (
%(content)s)
  - name: isSamePath
    expression: >-
      !(variables.action in ['Fallback', 'Isolate'])
      || namespaceObject.metadata.?deletionTimestamp.hasValue() || (
%(same)s)
  - name: kind
    expression: >-
      request.kind.kind + ' ' + (oldObject == null ? object.metadata.?name.orValue('') : oldObject.metadata.name)
  - name: about  # kind, name and so on of the workload, in the annotation; text of people has its quotes escaped there
    expression: >-
      variables.before.contains('"target":{') ? variables.before.split('"target":{')[1] : ''
  - name: model
    expression: >-
      variables.about == '' ? 'the model behind it'
      : variables.about.split('"kind":"')[1].split('"')[0] + ' ' + variables.about.split('"name":"')[1].split('"')[0]
  - name: advice
    expression: >-
      ' is contained by Escalation ' + oldObject.metadata.?labels[?'riskladder.dev/contained-by'].orValue('')
      + (variables.before.contains('"tier":"') ? ' (tier ' + variables.before.split('"tier":"')[1].split('"')[0] + ')'
      : '') + '. It is restored by a decision: kubectl riskladder show '
      + oldObject.metadata.?labels[?'riskladder.dev/contained-by'].orValue('') + ' -n ' + request.namespace
      + ' says whose it is'
  validations:
  - expression: "!variables.isRaised"
    messageExpression: >-
      variables.kind + (variables.plural in %(switches)s ? ' cannot be started: it'
      : ' cannot have more than ' + string(variables.levelBefore) + ' replicas, and ' + string(variables.level)
      + ' are asked for: it') + variables.advice
    reason: Forbidden
  - expression: variables.isSameContent
    messageExpression: >-
      'what ' + variables.kind + ' serves cannot be changed, nor how it is rolled out: it' + variables.advice
    reason: Forbidden
  - expression: variables.isSamePath
    messageExpression: >-
      (request.operation == 'DELETE' ? variables.kind + ' cannot be deleted: '
      : 'the ' + {'services': 'selector', 'httproutes': 'rules', 'networkpolicies': 'spec'}[variables.plural] + ' of '
      + variables.kind + ' cannot be changed: ')
      + variables.model + variables.advice
    reason: Forbidden
  - expression: variables.action == '' || variables.isSameHold
    messageExpression: >-
      'the label riskladder.dev/contained-by of ' + variables.kind + ', and what goes with it, cannot be changed: it'
      + variables.advice
    reason: Forbidden
  - expression: >-
      variables.isHeld || request.operation == 'DELETE' || request.operation == 'UPDATE'
      && !object.metadata.?annotations[?'riskladder.dev/containment'].orValue('').contains(oldObject.metadata.uid)
    messageExpression: >-
      'only the operator says that ' + variables.kind + ' is contained: the label riskladder.dev/contained-by and the
      annotation riskladder.dev/containment are its own'
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
  validationActions: [Deny]
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata:
  name: riskladder-lock-names
  labels:
    app.kubernetes.io/name: riskladder
    app.kubernetes.io/component: policies
spec:
  failurePolicy: Ignore
  paramKind:
    apiVersion: riskladder.dev/v1alpha1
    kind: ContainmentIndex
  matchConstraints:
    resourceRules:
%(names)s
  matchConditions:
  - name: not-the-operator
    expression: request.userInfo.username != 'system:serviceaccount:riskladder-system:riskladder'
  - name: not-held-already  # by riskladder-lock, which refuses the same and of the two alone says so
    expression: >-
      request.operation == 'CREATE' || request.resource.resource == 'replicasets'
      || oldObject.metadata.?labels[?'riskladder.dev/contained-by'].orValue('') == ''
      || oldObject.metadata.?labels[?'riskladder.dev/lock'].orValue('') != 'ScaleToZero'
      || !oldObject.metadata.?annotations[?'riskladder.dev/containment'].orValue('').contains(oldObject.metadata.uid)
  - name: raises  # nothing else has to be looked up
    expression: >-
      request.operation == 'CREATE' || (has(request.subResource) && request.subResource == 'scale'
      ? object.spec.?replicas.orValue(0) > oldObject.spec.?replicas.orValue(0) : (
%(asked)s) > (
%(askedBefore)s))
  variables:
  - name: plural
    expression: request.resource.resource
  - name: name
    expression: "request.name != '' ? request.name : object.metadata.?name.orValue('')"
  - name: isReplicaSet
    expression: variables.plural == 'replicasets' && variables.name.lastIndexOf('-') > 0
  - name: key
    expression: >-
      variables.isReplicaSet ? 'deployments.apps/' + variables.name.substring(0, variables.name.lastIndexOf('-'))
      : variables.plural + '.' + request.resource.group + '/' + variables.name
  - name: held
    expression: params.spec.?targets[?variables.key]
  - name: isQuarantined
    expression: >-
      variables.isReplicaSet && variables.held.hasValue() && variables.held.value().action == 'Rollback'
      && variables.held.value().?quarantined.orValue('')
      == variables.name.substring(variables.name.lastIndexOf('-') + 1)
      && !(request.userInfo.username in ['system:serviceaccount:kube-system:deployment-controller',
      'system:kube-controller-manager'])
  - name: action
    expression: "variables.held.hasValue() ? variables.held.value().action : ''"
  - name: isScale
    expression: has(request.subResource) && request.subResource == 'scale'
  - name: level  # how much is asked to run
    expression: >-
      variables.isScale ? object.spec.?replicas.orValue(0) :
%(level)s
  - name: advice
    expression: >-
      ' is contained by Escalation ' + variables.held.value().escalation + ' (tier ' + variables.held.value().tier
      + '). It is restored by a decision: kubectl riskladder show ' + variables.held.value().escalation + ' -n '
      + request.namespace + ' says whose it is'
  validations:
  - expression: (variables.action != 'ScaleToZero' || variables.level == 0) && !variables.isQuarantined
    messageExpression: >-
      (variables.isReplicaSet ? 'ReplicaSet' : variables.held.value().kind) + ' ' + variables.name
      + (variables.plural in %(switches)s ? ' cannot be started: it' : ' cannot have more than '
      + string(request.operation == 'CREATE' ? 0 : oldObject.spec.?replicas.orValue(0)) + ' replicas, and '
      + string(variables.level) + ' are asked for: '
      + (variables.isReplicaSet ? variables.held.value().kind + ' '
      + variables.name.substring(0, variables.name.lastIndexOf('-')) : 'it')) + variables.advice
    reason: Forbidden
  - expression: variables.action != 'Rollback' || variables.isScale || request.operation != 'CREATE'
    messageExpression: >-
      variables.held.value().kind + ' ' + variables.name + ' cannot be created again: it' + variables.advice
    reason: Forbidden
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata:
  name: riskladder-lock-names
  labels:
    app.kubernetes.io/name: riskladder
    app.kubernetes.io/component: policies
spec:
  policyName: riskladder-lock-names
  paramRef:
    name: riskladder
    parameterNotFoundAction: Allow
  validationActions: [Deny]
"""


def policy() -> str:
    """Return the policies and their bindings, as YAML."""
    switches = sorted(runtime.resource.plural for runtime in ALL_RUNTIMES if runtime.is_switch)
    level = _by_resource(lambda r: r.level)
    return POLICY % {
        "rules": "\n".join(_object_rules()),
        "names": "\n".join(_name_rules()),
        "same": _folded(SAME),
        "switches": json.dumps(switches).replace('"', "'"),
        "level": _folded(level),
        "asked": _folded(level.replace("variables.plural", "request.resource.resource")),
        "askedBefore": _folded(
            level.replace("variables.plural", "request.resource.resource").replace("object.", "oldObject.")
        ),
        "level1": _folded(level),
        "before": _folded(level.replace("object.", "oldObject.")),
        "content": _folded(_by_resource(lambda r: _same(r.content))),
    }


def _rule(group: str, resources: Sequence[str], operations: str) -> str:
    return (
        f"    - apiGroups: [{group or json.dumps(group)}]\n"
        '      apiVersions: ["*"]\n'
        f"      resources: [{', '.join(resources)}]\n"
        f"      operations: [{operations}]"
    )


def _by_group() -> dict[str, list[Runtime]]:
    groups: dict[str, list[Runtime]] = defaultdict(list)
    for runtime in ALL_RUNTIMES:
        groups[runtime.resource.group].append(runtime)
    return groups


def _with_status(resource: Resource) -> list[str]:
    """Return a resource, and its status where the API server lets that change labels or annotations."""
    return [resource.plural, *([f"{resource.plural}/status"] if resource.plural in STATUS_WRITES_METADATA else [])]


def _object_rules() -> list[str]:
    """Return one rule for each API group of workloads, and one for each kind that their traffic passes."""
    return [
        _rule(group, [name for r in found for name in _with_status(r.resource)], "UPDATE")
        for group, found in _by_group().items()
    ] + [
        _rule(
            resource.group,
            _with_status(resource),
            "CREATE, UPDATE, DELETE" if resource is NETWORKPOLICIES else "UPDATE",
        )
        for resource in RESOURCES.values()
    ]


def _name_rules() -> list[str]:
    """Return rules for the creation and the scaling of every workload, and for the scale of what has one."""
    rules = []
    for group, found in _by_group().items():
        rules.append(_rule(group, [r.resource.plural for r in found], "CREATE, UPDATE"))
        scaled = [f"{r.resource.plural}/scale" for r in found if not r.is_switch]
        if scaled:
            rules.append(_rule(group, scaled, "UPDATE"))
    rules.append(_rule("apps", ["replicasets", "replicasets/scale"], "UPDATE"))
    return rules


def _by_resource(expression: Callable[[Runtime], str]) -> str:
    """Return what each runtime says, chosen by the resource; what Deployments say is for every other one."""
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
