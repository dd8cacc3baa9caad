"""Escalations in every state as the pages of the console show them, made by the policy itself."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any

from riskladder.api.base import API_VERSION, format_time
from riskladder.api.chain import ChainKey
from riskladder.api.decision import DecidedBy, DecisionAction
from riskladder.api.escalation import LedgerHead
from riskladder.cluster.client import Client, Object
from riskladder.cluster.connection import Connection
from riskladder.cluster.ledger import LedgerEntry, record_object
from riskladder.console.pages.escalation import drawn
from riskladder.console.render import Renderer
from riskladder.console.sessions import Credential
from riskladder.console.settings import Settings
from riskladder.console.visitor import Visitor
from riskladder.people.case import Case, read_case
from riskladder.people.choices import choices, why_none
from riskladder.people.export import Export
from riskladder.people.timeline import Timeline, timeline_of
from riskladder.people.view import View
from riskladder.policy.snapshot import Escalation
from tests.unit.builders import NOW, Scene, at, contained, ladder, signal
from tests.unit.test_blast_radius import breached
from tests.unit.test_isolation import stopped
from tests.unit.test_people import HIGH, LADDER, later, scene

SETTINGS = Settings("https://console.example", title="Test cluster")
ME = DecidedBy(username="ann@bank.example", uid="u", groups=("legal", "system:authenticated"), credential_id="JTI=1")
RENDERER = Renderer()


def visitor(me: DecidedBy = ME) -> Visitor:
    """Somebody who asks nothing of an API server: pages are drawn of what was read already."""
    connection: Connection = None  # type: ignore[assignment] # nothing is asked
    return Visitor(Client(connection), me, Credential("token"), "binding")


def document(found: Escalation) -> Object:
    """The Escalation as the API server stores it."""
    return {
        "apiVersion": API_VERSION,
        "kind": "Escalation",
        "metadata": {
            "name": found.name,
            "namespace": found.namespace,
            "uid": found.uid,
            "creationTimestamp": format_time(NOW),
            "labels": dict(found.labels),
        },
        "spec": found.spec.to_api(),
        "status": found.status.to_api(),
    }


def recorded(made: Scene) -> tuple[Object, list[Object]]:
    """The newest escalation of a scene and its records, chained."""
    found = made.escalation
    head: LedgerHead | None = None
    records = []
    for entry in made.entries:
        if entry.recorded:
            detail = {"message": entry.message, **entry.detail}
            act = LedgerEntry(str(entry.event), f"{found.uid}/{entry.key}", entry.at, entry.actor, detail)
            records.append(record_object(found.namespace, "ns", found.name, [act], head))
            head = LedgerHead(sequence=records[-1]["spec"]["sequence"], hash=records[-1]["spec"]["hash"])
    obj = document(found)
    obj["status"]["ledger"] = head.to_api() if head else None
    return json.loads(json.dumps(obj)), json.loads(json.dumps(records))


def told(obj: Object, records: list[Object]) -> Timeline:
    """The timeline of an escalation."""
    key = ChainKey(obj["metadata"]["namespace"], obj["metadata"]["name"])
    return timeline_of(Export(records, [obj], key.namespace, "the Escalation on the cluster"), key)


def _of_people(**readings: float) -> Scene:
    made = scene(owners=("olga@bank.example",), **readings)
    made.deliver()
    return made


def _resumed() -> Scene:
    made = contained()
    made.decide("Resume", "legal")
    return made


def _answered() -> Scene:
    made = _of_people(**HIGH)
    made.decide("Acknowledge", "legal")
    made.decide("Object", "executive")
    made.decide("Comment", "model-risk", rationale="a first look")
    return later(made, 7)


def _agreeing() -> Scene:
    made = _of_people(**HIGH)
    made.decide("Resume", "legal")
    return made


def _closed() -> Scene:
    made = _of_people(**HIGH)
    made.decide("Resume", "legal")
    made.decide("Resume", "model-risk")
    made.decide("Comment", "legal", clock="art-73")
    for role in ("legal", "executive"):
        made.decide("Close", role, resolution="Remediated")
    return made


def _drill() -> Scene:
    made = Scene(
        [signal(drill=True, **HIGH)], ladders=[ladder(lambda spec: (spec.clear(), spec.update(json.loads(POLICY))))]
    )
    made.run()
    return made


def _accepted() -> Scene:
    made = _of_people(**HIGH)
    for role in ("legal", "executive"):
        made.decide("AcceptRisk", role, until=format_time(at(60 * 24)))
    return made


POLICY = json.dumps(LADDER)

MAKERS: Mapping[str, Any] = {
    "open": lambda: _of_people(drift=0.3),
    "contained": lambda: _of_people(**HIGH),
    "answered": _answered,
    "agreeing": _agreeing,
    "resumed": _resumed,
    "accepted": _accepted,
    "closed": _closed,
    "drill": _drill,
    "suspended": lambda: _run(Scene([signal(**HIGH)], ladders=[ladder(lambda s: s.update(suspended=True))])),
    "withheld": breached,
    "two axes": stopped,
    "rolled back": lambda: contained(action="Rollback"),
}
"""By name: how an escalation in that state comes about."""


def _run(made: Scene) -> Scene:
    made.run()
    return made


@cache
def text_of(state: str) -> str:
    """An escalation in a state and its records, as JSON."""
    return json.dumps(recorded(MAKERS[state]()))


def objects(state: str) -> tuple[Object, list[Object]]:
    """The same, a copy of its own."""
    obj, records = json.loads(text_of(state))
    return obj, records


def case_in(state: str) -> Case:
    """The same, as people look at it."""
    return read_case(objects(state)[0])


def everything(case: Case) -> set[tuple[str, str]]:
    """All verbs in all roles."""
    return {(action.verb, role) for action in DecisionAction for role in case.roles}


def seen(case: Case, allowed: Iterable[tuple[str, str]], me: DecidedBy = ME, **more: Any) -> View:
    """The escalation as somebody sees it who is allowed that."""
    allowed = set(allowed)
    mine = choices(case, allowed, me)
    return View(case, mine, "" if mine else why_none(case, allowed, me.username), **more)


def common(path: str = "/escalations/models/scorer", who: Visitor | None = None) -> dict[str, Any]:
    """What every page is rendered with."""
    return {
        "settings": SETTINGS,
        "visitor": who if who is not None else visitor(),
        "path": path,
        "now": at(5),
        "token_of": lambda where: "f" * 64,
    }


def page_of(
    obj: Object,
    records: list[Object] | None,
    allowed: Iterable[tuple[str, str]] | None = None,
    *,
    typed: Any = None,
    outcome: tuple[str, str] = ("", ""),
    settings: Settings = SETTINGS,
    me: DecidedBy = ME,
) -> str:
    """The page of an escalation; ``None`` for records that may not be read, and for whoever may do everything."""
    case = read_case(obj)
    rights = everything(case) if allowed is None else allowed
    found = (None, "You may not read the records of this namespace.") if records is None else (told(obj, records), "")
    values = drawn(settings, seen(case, rights, me), me, found, at(5))
    return RENDERER.render("escalation.html", common() | values | {"typed": typed, "outcome": outcome})
