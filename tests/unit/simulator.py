"""An API server in memory, two operators on it, and everything that can go wrong between them, one request at a time.

The operators are the real reconciler, cache and policy. Their coroutines stop at every request; the simulation decides
who goes on, and whether a request is served, refused, or served and its answer lost. Every write is checked as it is
made (architecture: invariants 2 to 7 and 12), the rest once all faults have ended (1 and 9). People decide meanwhile:
the server says who they are and which role they hold, as long as the admission policy that proves it is there.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Coroutine, Generator
from datetime import datetime
from pathlib import Path
from typing import Any

from riskladder.api.labels import ANNOTATION_CONTAINMENT, LABEL_CONTAINED_BY
from riskladder.cluster.authority import BINDINGS, POLICIES, POLICY
from riskladder.cluster.client import MERGE_PATCH, ApiError, Client, Conflict, NotFound, Refused
from riskladder.cluster.resources import (
    CACHED,
    DECISIONS,
    DEPLOYMENTS,
    ESCALATIONS,
    EVENTS,
    INDEXES,
    LADDERS,
    NAMESPACES,
    PODS,
    RECORDS,
    Resource,
)
from riskladder.controller import reconciler
from riskladder.controller.caches.entries import IndexKey, LateDecisionKey
from riskladder.controller.executor import NotContainable
from riskladder.controller.metrics import Metrics
from tests import yaml_text
from tests.trails import said
from tests.unit.builders import KEY, NAMESPACE, Document

OPERATOR, RIVAL = "operator", "rival"
MOST_REQUESTS = 300
"""Of one operator that nobody disturbs, until it has nothing to do: far fewer are needed."""
LONG_AGO = "2020-01-01T00:00:00Z"
ROOT = Path(__file__).parents[2]
ADMISSION = {
    document["kind"]: document
    for document in yaml_text.load_all((ROOT / "manifests/policies/decisions.yaml").read_text())
}
"""The policy that proves who decided and its binding, as they are installed."""


class Server:
    """Objects by path, with uid, resourceVersion and generation, and the two kinds of patch that the operator uses."""

    def __init__(self) -> None:
        self.objects: dict[str, Document] = {}
        self.writes = 0
        """Changes made by operators."""
        self.revision = 0
        self.acts: Counter[tuple[str, str]] = Counter()
        """Containment writes by escalation and action."""
        self.intended: dict[tuple[str, str], set[int]] = defaultdict(set)
        """The intents that they were for."""
        self.gone_back_to: set[tuple[str, int, str]] = set()
        """Escalation, intent that was resumed last, and hash of every template that an operator has restored."""
        self.admission: dict[str, Document] = {}
        """By resource: what proves who decides, while it is there."""
        self.namespace_uid = "uid-of-the-namespace"
        self.barred: set[str] = set()
        """Who holds no role any more."""
        self.revoked = False
        """Whether a proof or an authority was taken away: after a crash, what was counted may then be refused."""
        self.proved: set[str] = set()
        """uids of the decisions that were made while the policy was there."""
        self.put_policy(LONG_AGO)
        self.refuses: Any = None
        """Makes the error by which everything on the target is refused, while something does."""
        self.was_refused = False
        """Whether anything was."""
        self.refuses_trail: dict[str, Any] = {}
        """By what of the trail is refused (records, or the status of escalations): makes the error, while it is."""
        self.disturbed = 0
        """How often somebody else has written the target."""
        self.generations: set[tuple[str, int]] = set()
        """Every uid and generation that a ladder has had."""

    def all(self, resource: Resource) -> list[Document]:
        prefix = resource.path(NAMESPACE) + "/"
        return [obj for path, obj in self.objects.items() if path.startswith(prefix)]

    def find(self, resource: Resource, name: str) -> Document | None:
        return self.objects.get(resource.path(NAMESPACE, name))

    def delete(self, resource: Resource, name: str) -> None:
        self.revision += self.objects.pop(resource.path(NAMESPACE, name), None) is not None

    def save(self, resource: Resource, obj: Document, by: str = RIVAL) -> Document:
        """Store a new or changed object, as the API server does."""
        path = resource.path(NAMESPACE, obj["metadata"]["name"])
        before = self.objects.get(path)
        given = {
            "namespace": NAMESPACE,
            "uid": f"uid-{self.revision + 1}",
            "creationTimestamp": LONG_AGO,
            "generation": 1,
        }
        kept = ("uid", "creationTimestamp", "generation", "resourceVersion")
        metadata = {**given, **obj["metadata"], **({key: before["metadata"][key] for key in kept} if before else {})}
        if before == {**obj, "metadata": metadata}:
            return before
        self.revision += 1
        metadata["generation"] += before is not None and before.get("spec") != obj.get("spec")
        metadata["resourceVersion"] = str(self.revision)
        after = {**obj, "metadata": metadata}
        if by == OPERATOR:
            self.writes += 1
            self._check(resource, before, after)
        elif resource is DEPLOYMENTS and by == RIVAL:
            self.disturbed += 1
        if resource is LADDERS:
            self.generations.add((metadata["uid"], metadata["generation"]))
        self.objects[path] = after
        return after

    def put_policy(self, since: str) -> None:
        """The policy that proves who decides is put in force."""
        for resource in (POLICIES, BINDINGS):
            obj = _copied(ADMISSION[resource.kind])
            obj["metadata"] |= {"creationTimestamp": since, "generation": 1}
            self.admission[resource.title] = obj | {"status": {"observedGeneration": 1}}

    def decide(self, name: str, spec: Document, who: str, at: str) -> None:
        """Somebody creates a decision: who they are is stamped by the policy, or claimed where that is not in force."""
        given = {"name": name, "creationTimestamp": at}
        made = self.save(DECISIONS, {"metadata": given, "spec": spec | {"decidedBy": {"username": who}}})
        if self.admission:
            self.proved.add(made["metadata"]["uid"])

    def _asked(self, path: str, body: Any, about: dict[str, Any]) -> Document | None:
        """Answers to what is no object of ours: the policy itself, and who may do what."""
        if path == PODS.path(NAMESPACE):  # a list: there are none but those of the model
            return {"items": _copied(self.all(PODS)), "metadata": {"resourceVersion": str(self.revision)}}
        if path == NAMESPACES.path(None, NAMESPACE):
            return {"metadata": {"name": NAMESPACE, "uid": self.namespace_uid}}
        if path.endswith("/localsubjectaccessreviews"):
            return {"status": {"allowed": body["spec"]["user"] not in self.barred}}
        for resource in (POLICIES, BINDINGS):
            if path == resource.path(None, POLICY):
                if resource.title not in self.admission:
                    raise NotFound(404, "NotFound", "not found", **about | {"resource": resource.title})
                return self.admission[resource.title]
        return None

    def request(self, method: str, path: str, body: Any, content_type: str) -> Document:
        """Return what an operator asks for; raises what the client would."""
        answer = self._asked(path, body, {"verb": method, "resource": "any", "where": path})
        if answer is not None:
            return answer
        resource, where = _resource(path), path.removesuffix("/status")
        about: dict[str, Any] = {"verb": method, "resource": resource.title, "where": path}
        written = "records" if (method, resource) == ("POST", RECORDS) else "status"
        is_trail = written == "records" or (method, resource) == ("PATCH", ESCALATIONS)
        if is_trail and written in self.refuses_trail:
            raise self.refuses_trail[written](**about)
        if method == "POST":
            if f"{path}/{body['metadata']['name']}" in self.objects:
                raise Conflict(409, "AlreadyExists", "exists", **about)
            return self.save(resource, _copied(body), OPERATOR)
        if where not in self.objects:
            raise NotFound(404, "NotFound", "not found", **about)
        if method == "GET":
            return self.objects[where]
        if method == "PUT":
            if self.objects[where]["metadata"]["resourceVersion"] != body["metadata"]["resourceVersion"]:
                raise Conflict(409, "Conflict", "it has changed", **about)
            return self.save(resource, _copied(body), OPERATOR)
        obj = _copied(self.objects[where])
        if content_type == MERGE_PATCH:
            labels = {**obj["metadata"].get("labels", {}), **body["metadata"]["labels"]}
            obj["metadata"]["labels"] = {key: value for key, value in labels.items() if value is not None}
            return self.save(resource, obj, OPERATOR)
        for step in body:
            *parents, last = (part.replace("~1", "/").replace("~0", "~") for part in step["path"].split("/")[1:])
            node = obj
            for name in parents:
                node = node[name]
            if step["op"] == "test" and node.get(last) != step["value"]:
                raise Refused(422, "Invalid", f"{step['path']} is not {step['value']}", **about)
            if step["op"] == "remove" and last not in node:
                raise Refused(422, "Invalid", f"{step['path']} is not there", **about)
            if step["op"] == "remove":
                del node[last]
            elif step["op"] != "test":
                node[last] = step["value"]
        if resource is DEPLOYMENTS and self.refuses:
            self.was_refused = True
            raise self.refuses(**about)
        if resource is DEPLOYMENTS:
            self._check_act(obj)
        return self.save(resource, obj, OPERATOR)

    # --- Checked at every write -----------------------------------------------------------------------------------

    def _check_act(self, after: Document) -> None:
        """Invariants 2, 3, 5: every act has an intent that stands, is done once, and never lands on what it leaves."""
        before = self.find(DEPLOYMENTS, KEY.name)
        assert before is not None
        if before["spec"] == after["spec"]:  # what it carries is written, or removed
            hold = json.loads(after["metadata"].get("annotations", {}).get(ANNOTATION_CONTAINMENT, "null")) or {}
            if "intent" in hold:
                self.intended[hold["escalation"], hold["intent"]["action"]].add(hold["intent"]["id"])
            return
        goes_back = before["spec"]["template"] != after["spec"]["template"]
        if not goes_back and after["spec"]["replicas"] > before["spec"]["replicas"]:
            self._check_restored(after)
            return
        action = "Rollback" if goes_back else "ScaleToZero"
        assert goes_back or after["spec"]["replicas"] == 0
        by = after["metadata"]["labels"].get(LABEL_CONTAINED_BY)
        if by is None and self.was_refused:  # what refused it may have refused what it carries: it went alone
            open_ones = [e for e in self.all(ESCALATIONS) if not is_over(e)]
            recorded = [i["action"] for e in open_ones for i in intents(e) if i["id"] > resumed(e)]
            assert action in recorded, "invariant 2: an act that neither it nor an Escalation explains"
            self.disturbed += 1
            return
        hold = json.loads(after["metadata"].get("annotations", {}).get(ANNOTATION_CONTAINMENT, "null"))
        assert hold, "invariant 2: an act that does not say why"
        assert by == hold["escalation"], "invariant 2: without its label"
        name, intent, evidence = self._acted_for(hold, action, after)
        assert hold["uid"] == hold["target"]["uid"] == after["metadata"]["uid"], "invariant 2: a hold of another object"
        assert intent["action"] == action, "invariant 2: an act that no intent names"
        assert hold["signal"]["uid"].startswith("uid-"), "invariant 2: an act without the signal that caused it"
        assert (hold["ladder"]["uid"], hold["ladder"]["generation"]) in self.generations, "invariant 2: ladder"
        again = intent["id"] in self.intended[name, action]
        if not again and not goes_back:
            assert before["spec"]["replicas"] == evidence["replicas"], "evidence of another state"
        if goes_back:
            landed = hash_of(after["spec"]["template"])
            assert landed == intent["podTemplateHash"], "invariant 2: a rollback to what the intent does not name"
            assert landed != evidence["podTemplateHash"], "invariant 5: rolled back to the quarantined revision"
            is_left = hash_of(before["spec"]["template"]) == evidence["podTemplateHash"]
            assert again or is_left, "evidence of another state"
            escalation = self.find(ESCALATIONS, name)
            self.gone_back_to.add((name, resumed(escalation) if escalation else 0, landed))
        self.intended[name, action].add(intent["id"])
        self.acts[name, action] += 1
        limit = len(self.intended[name, action]) + self.disturbed
        assert self.acts[name, action] <= limit, "invariant 3: contained twice, and nobody had reverted it"

    def _acted_for(self, hold: Document, action: str, after: Document) -> tuple[str, Document, Document]:
        """Escalation, intent and evidence of an act: the object carries the hold for the safest state, whoever acts."""
        own = (hold["escalation"], hold["intent"], hold["evidence"])
        if hold["intent"]["action"] == action:
            return own
        for escalation in self.all(ESCALATIONS):
            for intent in intents(escalation):
                landed = intent.get("podTemplateHash") in (None, hash_of(after["spec"]["template"]))
                if intent["action"] == action and intent["id"] > resumed(escalation) and landed:
                    evidence = intent.get("evidence") or escalation["spec"]["evidence"]
                    return escalation["metadata"]["name"], intent, evidence
        return own

    def _check_restored(self, after: Document) -> None:
        """Invariant 6: nothing is restored without a quorum of people who are known, nor while another ladder holds."""
        ours = [e for e in self.all(ESCALATIONS) if e["spec"]["target"]["uid"] == after["metadata"]["uid"]]
        ended = [e for e in ours if resumed(e) and resumed(e) == max(i["id"] for i in intents(e))]
        ended = [e for e in ended if after["spec"]["replicas"] in e["status"]["resume"].get("steps", ())]
        assert ended, "invariant 6: restored without a decision, or to another number"
        held = [i for e in ours if not is_over(e) for i in intents(e) if i["id"] > resumed(e)]
        assert "ScaleToZero" not in [i["action"] for i in held], "invariant 6: restored while another ladder holds it"
        for escalation in ended:
            decisions = [d for d in escalation["status"]["decisions"] if d["counted"] and d["action"] == "Resume"]
            met = next(d for d in reversed(decisions) if d["reason"] == "QuorumMet")
            votes = [d for d in decisions if d["rung"] == met["rung"]]
            assert {d["role"] for d in votes} == {"legal", "model-risk"}, "invariant 6: restored by too few"
            assert len({d["by"] for d in votes}) >= 2, "invariant 6: restored by one person"
            assert {d["uid"] for d in votes} <= self.proved, "invariant 6: restored by somebody who proved nothing"

    def _check(self, resource: Resource, before: Document | None, after: Document) -> None:
        if resource is RECORDS:
            for act in after["spec"]["entries"]:
                key = act["detail"]["key"]
                same = [r["spec"]["event"] for r in said(self.all(RECORDS)) if r["spec"]["detail"]["key"] == key]
                if "/decision/" in key and self.revoked:
                    same = [event for event in same if event == act["event"]]
                assert not same, f"invariant 12: {act} is on record already"
        if resource is DECISIONS:
            self._check_answer(after)
        if resource is ESCALATIONS:
            restore = after.get("status", {}).get("restore")
            if restore is not None and "replicas" in restore:
                assert restore["replicas"] > 0, "invariant 4: would restore the contained state"
                landed = (after["metadata"]["name"], resumed(after), restore.get("podTemplateHash"))
                assert landed not in self.gone_back_to, "invariant 4: would restore what was rolled back to"

    def _check_answer(self, decision: Document) -> None:
        """What a decision is answered for stands in its escalation by then, and on record."""
        (verdict,) = decision["status"]["conditions"]
        escalation = self.find(ESCALATIONS, decision["spec"]["escalation"])
        if verdict["reason"] in ("AlreadyCounted", "EscalationNotFound") or escalation is None:
            return  # what says nothing new takes no place
        uid = decision["metadata"]["uid"]
        listed = {d["uid"]: d["counted"] for d in escalation.get("status", {}).get("decisions", ())}
        keys = [record["spec"]["detail"]["key"] for record in said(self.all(RECORDS))]
        is_kept = uid in listed or decision["spec"]["action"] != "Comment"  # those may be left to the records
        assert not is_kept or listed.get(uid) == (verdict["status"] == "True"), f"answered {verdict}, and not counted"
        assert f"{escalation['metadata']['uid']}/decision/{uid}" in keys, "answered, and not on record"


def hash_of(pod_template: Document) -> str:
    return "hash" + pod_template["spec"]["containers"][0]["image"].rpartition(":")[2]


def intents(escalation: Document) -> list[Document]:
    """Return what an Escalation names as intended, by id: of each axis, the newest."""
    status, spec = escalation.get("status", {}), escalation["spec"]
    if not status.get("containments") and not status.get("resume"):
        return [spec["intent"]] if "intent" in spec else []
    return sorted((found["intent"] for found in status.get("containments", ())), key=lambda i: i["id"])


def is_over(escalation: Document) -> bool:
    """Return whether it is closed."""
    conditions = escalation.get("status", {}).get("conditions", ())
    return any((c["type"], c["status"]) == ("Closed", "True") for c in conditions)


def resumed(escalation: Document) -> int:
    """The last intent that people have ended, by id; 0 for none."""
    resume = escalation.get("status", {}).get("resume") or {}
    return int(resume.get("intent", 0))


def _copied(value: Any) -> Any:
    """Return a copy of JSON, as it comes back from the wire."""
    return json.loads(json.dumps(value))


def _resource(path: str) -> Resource:
    known = {f"/{r.plural}": r for r in (*CACHED, RECORDS, EVENTS, INDEXES)}
    return next(r for part, r in known.items() if f"{part}/" in f"{path}/")


class _Call:
    """A request on its way: the coroutine waits here until the simulation answers."""

    def __init__(self, method: str, path: str, body: Any, content_type: str) -> None:
        self.arguments = (method, path, body, content_type)

    def __await__(self) -> Generator[_Call, Document, Document]:
        return (yield self)


class _Client(Client):
    def __init__(self) -> None:
        """No connection."""

    async def request(self, method: str, path: str, **arguments: Any) -> Document:
        return await _Call(method, path, arguments.get("body"), arguments.get("content_type", ""))


class Queue:
    """In place of the scheduler: says what has to be run next, and nothing runs by itself."""

    def __init__(self, *, decide: Any, contain: Any, trail: Any) -> None:
        self._decide, self._contain, self._trail = decide, contain, trail
        self._asked = self._contains = self._backs_off = False
        self._late: list[LateDecisionKey | IndexKey] = []
        self._later: list[LateDecisionKey | IndexKey] = []
        self._runs: LateDecisionKey | IndexKey | None = None
        self._slept_at: datetime | None = None
        """When it went to sleep until a later time: no sooner is anything to be done by itself."""

    def add(self, key: object, *, urgent: bool = False, prompt: bool = False, after: float = 0.0) -> None:
        if isinstance(key, (LateDecisionKey, IndexKey)):
            later = self._later if after and isinstance(key, LateDecisionKey) else self._late
            if key not in later:
                later.append(key)
        elif key == KEY:
            self._asked |= not after
            self._slept_at = reconciler.utcnow() if after else None

    def wake(self) -> None:
        """Time has passed, or something was delivered."""
        self._late += self._later
        self._later, self._slept_at = [], None

    def backs_off(self, key: object) -> bool:
        return self._backs_off

    def failed(self) -> None:
        """Report that what was run last was refused: a containment gets its trail before the next attempt."""
        self._backs_off = self._contains
        if self._runs is not None:
            self._later.append(self._runs)

    def next(self) -> Coroutine[Any, Any, None] | None:
        self._runs = None
        if self._backs_off and self._contains:
            self._contains = False
            return self._trail(KEY)  # type: ignore[no-any-return]
        sleeps = self._slept_at == reconciler.utcnow() and not self._asked
        self._asked = self._backs_off = self._contains = False
        found = self._decide(KEY) if not sleeps else None
        if found is not None:
            self._contains = True
            return self._contain(KEY, found.work)  # type: ignore[no-any-return]
        if self._asked:
            self._asked = False
            return self._trail(KEY)  # type: ignore[no-any-return]
        if not self._late:
            return None
        self._runs = self._late.pop()
        return self._trail(self._runs)  # type: ignore[no-any-return]


class Operator:
    """One process of the operator: its cache is as old as the last delivery, and it can be killed at any request."""

    def __init__(self, server: Server, instance: str) -> None:
        self._server, self._instance = server, instance
        self._start()

    def _start(self) -> None:
        self.reconciler = reconciler.Reconciler(_Client(), _METRICS, instance=self._instance)
        self.queue: Any = self.reconciler.scheduler
        self.deliver(*CACHED)
        for namespace in self.reconciler.index.learn(self._server.all(INDEXES)):
            self.queue.add(IndexKey(namespace))
        self._run: Coroutine[Any, Any, None] | None = None
        self._call: _Call | None = None

    def deliver(self, *kinds: Resource) -> None:
        """The watch catches up."""
        for resource in kinds:
            found = self._server.all(resource)
            for obj in found:
                self.reconciler.store.put(resource, obj)
            self.reconciler.store.drop_unless(resource, {obj["metadata"]["uid"] for obj in found})
        self.queue.wake()

    def step(self, fault: str = "") -> bool:
        """One request, or the beginning of a pass up to its first; False where there is nothing to ask for."""
        if self._run is None:
            self._run = self.queue.next()
            if self._run is None:
                return False
            self._go_on(None)
            return self._run is not None
        if fault != "killed before":
            answer: Any = None
            try:
                if fault == "refused":
                    raise _unreachable("refused")
                assert self._call is not None
                answer = self._server.request(*self._call.arguments)
                if fault == "answer lost":
                    raise _unreachable(fault)
            except ApiError as error:
                answer = error
            if fault != "killed after":
                self._go_on(answer)
                return True
        self._run.close()
        self._start()
        return True

    def _go_on(self, answer: Any) -> None:
        assert self._run is not None
        try:
            self._call = self._run.throw(answer) if isinstance(answer, Exception) else self._run.send(answer)
        except StopIteration:
            self._run = self._call = None
        except (ApiError, NotContainable):
            self._run = self._call = None
            self.queue.failed()

    def finish(self) -> None:
        """Everything it has to do, without faults."""
        for _ in range(MOST_REQUESTS):
            if not self.step():
                return
        raise AssertionError("never done")


def _unreachable(why: str) -> ApiError:
    return ApiError(0, "Unreachable", why, verb="any", resource="any", where="any")


_METRICS = Metrics()
