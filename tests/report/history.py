"""A year of escalations, as the policy makes them: what is reported on is written by what writes it in a cluster.

Every salt and uid is the same each time, so that hashes, and with them reports, can be compared to the byte.
"""

from __future__ import annotations

import copy
import itertools
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest.mock import patch

import yaml

from riskladder.api.base import API_VERSION, format_time
from riskladder.api.decision import DecisionStatus, EscalationDecisionSpec
from riskladder.api.escalation import LedgerHead
from riskladder.api.record import MAX_ENTRIES, clipped_particulars
from riskladder.api.signal import ModelRiskSignalSpec, SignalStatus
from riskladder.cluster.ledger import LedgerEntry, record_object
from riskladder.people.export import SAME_FILE, Export
from riskladder.policy.containment.drift import record_drift
from riskladder.policy.plan import EscalationUpdate, Plan
from riskladder.policy.snapshot import Decision, Escalation, PolicyInForce, Signal
from riskladder.policy.trail import after_close
from tests.unit.builders import KEY, NAMESPACE, Document, Scene, ladder, scaled_by, workload

START = datetime(2026, 1, 5, 8, 0, tzinfo=UTC)
MONITOR = "system:serviceaccount:monitors:fairness"

LADDER = yaml.safe_load("""
charter: {owner: model-risk}
governs: {selector: {matchLabels: {ladder: credit}}}
stakeholders:
- {role: model-risk, notify: [risk]}
- {role: data-science, notify: [chat], alternates: [ml-platform]}
- {role: ml-platform, notify: [chat]}
- {role: legal, notify: [pager, email]}
channels:
- {name: risk, type: Webhook, url: "https://hooks.example/risk", secretKey: risk}
- {name: chat, type: Apprise, secretKey: chat}
- {name: email, type: Apprise, secretKey: email}
- {name: pager, type: PagerDuty, secretKey: pager}
indicators:
- {name: bias, range: {min: 0, max: 1}}
- {name: drift}
tiers:
- name: moderate
  triggers: [{indicator: bias, above: 0.1}, {indicator: drift, above: 0.2}]
  notify: [{role: data-science}]
  acknowledge: {within: 30m, remindEvery: 10m}
  decide: {within: 24h, quorum: [{role: model-risk}]}
  onTimeout: Escalate
  acceptRisk: {atMost: 90d}
  closesWhen: {for: 1h}
- name: high
  triggers: [{indicator: bias, above: 0.2}]
  notify: [{role: legal}, {role: model-risk}]
  acknowledge: {within: 10m, remindEvery: 30m}
  decide: {within: 1h, quorum: [{role: legal}, {role: model-risk}]}
  onTimeout: Hold
  containment: {action: ScaleToZero}
  acceptRisk: {atMost: 30d}
  resume: {quorum: [{role: legal}, {role: model-risk}], watchFor: 1h}
  clocks: [{name: art-73, within: 15d, role: legal}]
""")

PEOPLE = {"legal": "lena@bank.example", "model-risk": "max@bank.example", "data-science": "dora@bank.example"}


@contextmanager
def same_salts(first: int = 0) -> Iterator[None]:
    """Salts that are the same each time."""
    salts = (f"{number:032x}" for number in itertools.count(first))
    with patch("riskladder.api.commitments.secrets.token_hex", lambda size: next(salts)):
        yield


@dataclass
class History(Scene):
    """A target over time, with the records of its escalations as the operator appends them."""

    uid: str = "a"
    """Before the uid of everything that is made."""
    records: dict[str, list[Document]] = field(default_factory=dict)
    """By name of an escalation."""
    opened: dict[str, datetime] = field(default_factory=dict)
    made: int = 0

    def read(self, minutes: float = 0, *, name: str = "fairness", drill: bool = False, **readings: float) -> History:
        """A monitor reports, so much later."""
        self.wait(minutes)
        document: Document = {
            "ladder": self.ladders[0].name,
            "target": {"kind": KEY.kind, "name": KEY.name},
            "source": "monitor",
            "observedAt": format_time(self.now),
            "drill": drill,
            "readings": [
                {
                    "indicator": indicator,
                    "value": value,
                    "sampleSize": 5000,
                    "window": "24h",
                    "evidence": f"https://reports.example/{indicator}/{self.now:%Y%m%d%H%M}",
                }
                for indicator, value in readings.items()
            ],
            "model": {"name": "credit-scoring", "version": "4.2", "owners": ["olga@bank.example"]},
            "reportedBy": {"username": MONITOR, "credentialID": "JTI=5b0f2c6e-0d7d-4a55-9f0e-2f1f7c8f1a11"},
        }
        spec = ModelRiskSignalSpec.model_validate(document)
        before = next((s for s in self.signals if s.name == name), None)
        generation = before.generation + 1 if before else 1
        status = before.status if before else SignalStatus()
        after = Signal(NAMESPACE, name, f"{self.uid}-{name}", generation, status, spec)
        self.signals = [*(s for s in self.signals if s.name != name), after]
        return self.settle()

    def raise_manually(self, tier: str, by: str, role: str, why: str) -> History:
        """Somebody raises a signal by hand."""
        document: Document = {
            "ladder": self.ladders[0].name,
            "target": {"kind": KEY.kind, "name": KEY.name},
            "source": "people",
            "observedAt": format_time(self.now),
            "manual": {"tier": tier, "rationale": why, "role": role, "raisedBy": by},
        }
        spec = ModelRiskSignalSpec.model_validate(document)
        self.signals = [*self.signals, Signal(NAMESPACE, "by-hand", f"{self.uid}-by-hand", 1, SignalStatus(), spec)]
        return self.settle()

    def wait(self, minutes: float) -> History:
        """Time passes; whatever is due on the way happens when it is due."""
        end = self.now + timedelta(minutes=minutes)
        while (due := self.plan().wake_at) is not None and self.now < due < end:
            self.now = due
            self.settle()
        self.now = end
        return self.settle()

    def settle(self) -> History:
        """Everything is written that is due now, and messages are delivered a second later."""
        self.run()
        for escalation in self.escalations:
            if any(n.is_outstanding for n in escalation.status.notifications):
                self.now += timedelta(seconds=1)
                self.deliver("risk", "chat", "pager", "Event")
                self.deliver("email", error="550 no such mailbox", given_up=True)
                break
        return self

    def say(self, action: str, role: str, minutes: float = 5, by: str = "", via: str = "", **more: Any) -> History:
        """Somebody decides, so much later; on a closed escalation, too."""
        self.wait(minutes)
        number = len(self.decisions) + 1
        rationale = more.pop("rationale", f"{action}: looked at by {role}")
        who = {"username": by or PEOPLE[role], "groups": ["bank:staff", f"bank:{role}"]}
        who |= {"via": via} if via else {"credentialID": f"JTI={self.uid}-{number:04d}-5c2d"}
        given = {"escalation": self.escalation.name, "action": action, "role": role, "rationale": rationale}
        spec = EscalationDecisionSpec.model_validate({**given, "decidedBy": who, **more})
        made = Decision(
            namespace=NAMESPACE,
            name=f"d-{self.uid}-{number}",
            uid=f"{self.uid}-decision-{number}",
            generation=1,
            created=self.now.replace(microsecond=0),
            spec=spec,
            status=DecisionStatus(),
            authorized=True,
        )
        self.decisions.append(made)
        if self.escalation.is_open:
            return self.settle()
        trail = after_close(self.escalation, (made,), self.proof, self.now, knows_credentials=True)
        self.carry_out(Plan(escalations=(trail.update,), decisions=trail.decisions))
        return self

    def both(self, action: str, minutes: float = 5, **more: Any) -> History:
        """Legal and model risk decide the same, one after the other."""
        return self.say(action, "legal", minutes, **more).say(action, "model-risk", minutes, **more)

    def reverted(self, manager: str = "hpa", minutes: float = 10) -> History:
        """Somebody scales a contained model up, and the operator stops it again."""
        self.wait(minutes)
        scaled_by(self, 3, manager)
        return self.settle()

    # --- What is kept ---------------------------------------------------------------------------------------------

    def act(self, act: Any) -> None:
        """Contain 40 ms after the intent; a revert is on record."""
        again, escalation = act.again, next((e for e in self.snapshot().open if e.name == act.escalation), None)
        self.now += timedelta(milliseconds=40)
        super().act(act)
        self.now += timedelta(milliseconds=60)
        if again and escalation is not None:
            update = record_drift(escalation, act.intent, act.reverted_by, self.now)
            if update is not None:
                self.carry_out(Plan(escalations=(update,)))

    def carry_out(self, plan: Plan) -> None:
        """Append the records of a plan, as the operator does, before its statuses."""
        for update in plan.escalations:
            self._append(update)
        super().carry_out(plan)
        if plan.opening is not None:
            uid = f"{self.uid}-escalation-{len(self.escalations)}"
            self.escalations[-1] = replace(self.escalations[-1], uid=uid)
            self.opened[self.escalations[-1].name] = self.now
            self._stamp(self.escalations[-1])

    def _replace(self, escalation: Escalation) -> None:
        """Store it, with the head of its chain."""
        found = self.records.get(escalation.name)
        if found:
            spec = found[-1]["spec"]
            ledger = LedgerHead(sequence=spec["sequence"], hash=spec["hash"])
            escalation = replace(escalation, status=escalation.status.model_copy(update={"ledger": ledger}))
        super()._replace(escalation)

    def _append(self, update: EscalationUpdate) -> None:
        name, uid = update.escalation.name, update.escalation.uid
        entries = [
            LedgerEntry(
                str(entry.event),
                f"{uid}/{entry.key}",
                entry.at,
                entry.actor,
                clipped_particulars((("message", entry.message), *entry.detail.items())),
            )
            for entry in update.entries
            if entry.recorded
        ]
        found = self.records.setdefault(name, [])
        while entries:
            head = found[-1]["spec"] if found else None
            noted = LedgerHead(sequence=head["sequence"], hash=head["hash"]) if head else None
            some, entries = entries[:MAX_ENTRIES], entries[MAX_ENTRIES:]
            with same_salts(1000 * self.made):
                found.append(record_object(NAMESPACE, "uid-of-models", name, some, noted))
            self.made += 1

    # --- What is exported -----------------------------------------------------------------------------------------

    def objects(self) -> list[Document]:
        """Everything as ``kubectl get`` returns it: records, escalations, decisions and the ladder."""
        found = [record for records in self.records.values() for record in records]
        found += [self._object("Escalation", e.name, e.uid, e.spec.to_api(), e.status) for e in self.escalations]
        found += [self._object("EscalationDecision", d.name, d.uid, d.spec.to_api(), d.status) for d in self.decisions]
        for made in self.ladders:
            assert made.spec is not None
            found.append(self._object("EscalationLadder", made.name, made.uid, made.spec.to_api(), None))
        sorted_as_served: list[Document] = json.loads(json.dumps(found, sort_keys=True))
        return sorted_as_served

    def _object(self, kind: str, name: str, uid: str, spec: Document, status: Any) -> Document:
        metadata = {"namespace": NAMESPACE, "name": name, "uid": uid}
        metadata["creationTimestamp"] = format_time(self.opened.get(name, START).replace(microsecond=0))
        body = {"apiVersion": API_VERSION, "kind": kind, "metadata": metadata, "spec": spec}
        return body | ({"status": status.to_api()} if status is not None else {})


def history(
    day: float = 0,
    uid: str = "a",
    *,
    edit: Callable[[Document], object] | None = None,
    name: str = "credit",
    generation: int = 3,
) -> History:
    """A target in good order, so many days after the start of the year."""
    document = copy.deepcopy(LADDER)
    if edit is not None:
        edit(document)
    made = ladder(lambda spec: (spec.clear(), spec.update(document)), name=name, generation=generation)
    return History(
        target=workload(uid=f"{uid}-target", template_since=START - timedelta(days=9)),
        ladders=[made],
        now=START + timedelta(days=day),
        uid=uid,
        proof=PolicyInForce(since=START - timedelta(days=30)),
    )


def contained(day: float = 0, uid: str = "a", **more: Any) -> History:
    """A breach that stops the model; somebody reverts it, people restore it, and it is closed and reviewed."""
    found = history(day, uid, **more).read(bias=0.3, drift=0.1)
    found.say("Acknowledge", "legal", 4, rationale="I am looking into it")
    found.reverted()
    found.say("Resume", "model-risk", 10, by="olga@bank.example", rationale="it is fine")
    found.both("Resume", 12, rationale="retrained on balanced data")
    found.say("Comment", "legal", 60, clock="art-73", rationale="reported under reference 2026/17")
    found.read(60, bias=0.02, drift=0.1)
    found.both("Close", 120, resolution="Remediated", rationale="version 4.3 is in service")
    review = {"policyUpdated": True, "satisfaction": 4, "lessons": "measure before the rollout"}
    return found.say("Review", "model-risk", 1440, review=review, rationale="after-action review")


def objects_of(*found: History) -> list[Document]:
    """Everything about several targets, as one cluster has it: of a ladder, the last generation."""
    objects = {(o["kind"], o["metadata"]["name"]): o for one in found for o in one.objects()}
    return list(objects.values())


def export_of(*found: History) -> Export:
    """The records and escalations of several targets, as one file has them."""
    objects = objects_of(*found)
    records = [obj for obj in objects if obj["kind"] == "EscalationRecord"]
    return Export(records, [obj for obj in objects if obj["kind"] == "Escalation"], None, SAME_FILE)


def year() -> tuple[History, ...]:
    """A year of all that a report has to tell apart."""
    accepted = history(20, "b").read(drift=0.3)
    accepted.say("Acknowledge", "data-science", 12)
    until = format_time(accepted.now + timedelta(days=40))
    accepted.say("AcceptRisk", "model-risk", 50, until=until, rationale="a seasonal effect")
    accepted.read(60 * 24 * 10, drift=0.25).wait(60 * 24 * 30).say("Acknowledge", "data-science", 8)
    accepted.say("Close", "model-risk", 30, resolution="Remediated", rationale="retrained")

    ignored = history(45, "c").read(bias=0.3).wait(90)
    ignored.both("Resume", 20, rationale="the feed was broken").read(120, bias=0.4)
    ignored.say("Acknowledge", "legal", 3).say("Comment", "legal", 5, clock="art-73", rationale="reported by letter")
    ignored.both("Close", 30, resolution="Retired", rationale="it is replaced")

    drilled = history(70, "d").read(bias=0.3, drill=True)
    drilled.say("Acknowledge", "legal", 2).both("Resume", 6, rationale="as in the handbook")

    def stricter(document: Document) -> None:
        document["tiers"][0]["triggers"][1]["above"] = 0.15

    false = history(100, "e", edit=stricter, generation=4).read(drift=0.17)
    false.say("Close", "model-risk", 15, resolution="FalsePositive", rationale="a test of the monitor")

    cleared = history(130, "f", edit=stricter, generation=4).read(drift=0.16)
    cleared.say("Acknowledge", "data-science", 5).read(20, drift=0.05).wait(90)

    expired = history(160, "g", edit=stricter, generation=4).read(bias=0.3, drill=True).wait(60 * 30)

    late = history(200, "h", edit=stricter, generation=4).read(bias=0.25)
    late.say("Acknowledge", "model-risk", 6).both("Resume", 20, rationale="the sample was too small")
    late.say("Comment", "legal", 60 * 24 * 16, clock="art-73", rationale="reported, and too late")
    late.both("Close", 10, resolution="Remediated", rationale="measured again")

    by_hand = history(250, "i", edit=stricter, generation=4)
    by_hand.raise_manually("high", "max@bank.example", "model-risk", "customers complain about refusals")
    by_hand.say("Acknowledge", "legal", 5).both("Resume", 20, rationale="nothing was found")
    by_hand.say("Comment", "legal", 5, clock="art-73", rationale="no serious incident")
    by_hand.both("Close", 60, resolution="FalsePositive", rationale="nothing was found")

    other = history(300, "j", name="fraud", generation=1).read(drift=0.5).say("Acknowledge", "data-science", 9)
    other.say("AcceptRisk", "model-risk", 60, until=format_time(other.now + timedelta(days=80)), rationale="known")

    standing = history(358, "k", edit=stricter, generation=4).read(bias=0.5).say("Acknowledge", "legal", 7)
    return (contained(), accepted, ignored, drilled, false, cleared, expired, late, by_hand, other, standing)
