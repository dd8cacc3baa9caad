"""CustomResourceDefinitions of another version: what they lack, have or say otherwise is seen and named."""

from __future__ import annotations

import asyncio
import copy
from typing import Any

import pytest
from prometheus_client import generate_latest

from riskladder import __version__
from riskladder.api.conditions import find
from riskladder.api.definitions import SCHEMA_HASH, definition_name, schema_hash
from riskladder.api.kinds import KINDS
from riskladder.api.ladder import EscalationLadderStatus
from riskladder.api.reasons import ConditionType, Reason
from riskladder.api.schema import object_schema
from riskladder.cluster.client import METADATA_ONLY, ApiError, Forbidden, NotFound
from riskladder.cluster.definitions import APPLY, Definitions, Finding, State, judge
from riskladder.controller.definition_watch import DefinitionWatch
from riskladder.controller.metrics import Metrics
from riskladder.generate.crd import crd
from riskladder.policy.installation import DefinitionFindings
from riskladder.policy.ladders import update_ladder
from tests.unit.builders import NOW, Document, at, ladder

LADDERS = KINDS["EscalationLadder"]
ESCALATIONS = definition_name(KINDS["Escalation"])


def stored(kind: str = "EscalationLadder", **metadata: Any) -> Document:
    body = copy.deepcopy(crd(KINDS[kind]))
    body["metadata"] |= {"uid": f"uid-{kind}", "generation": 1, **metadata}
    return body


def schema(body: Document) -> Document:
    found: Document = body["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    return found


def status(body: Document) -> Document:
    found: Document = schema(body)["properties"]["status"]["properties"]
    return found


def test_as_shipped_it_is_current_and_carries_its_own_hash() -> None:
    for kind in KINDS.values():
        body = stored(kind.name)
        assert body["metadata"]["annotations"][SCHEMA_HASH] == schema_hash(object_schema(kind))
        assert judge(kind, body).state is State.CURRENT


def test_texts_for_people_and_the_numbers_of_the_api_server_make_no_difference() -> None:
    body = stored()
    schema(body)["description"] = "Something else."
    schema(body)["properties"]["spec"]["x-kubernetes-preserve-unknown-fields"] = False
    rules = schema(body)["x-kubernetes-validations"]
    rules[0]["message"] = "another sentence"
    status(body)["openEscalations"]["minimum"] = 0.0
    found = judge(LADDERS, body)
    assert (found.state, found.what) == (State.CURRENT, "")


def test_field_that_is_named_as_a_text_for_people_is_a_field() -> None:
    body = stored()
    spec = schema(body)["properties"]["spec"]["properties"]
    spec["charter"]["properties"]["description"] = {"type": "string"}
    assert judge(LADDERS, body).what.startswith("has spec.charter.description, which version")


def test_of_an_older_version_names_what_is_lost() -> None:
    body = stored()
    del (
        status(body)["storm"],
        schema(body)["properties"]["spec"]["properties"]["tiers"]["items"]["properties"]["notify"],
    )
    older = schema_hash(schema(body))
    body["metadata"]["annotations"] = {SCHEMA_HASH: older}
    found = judge(LADDERS, body)
    assert (found.state, found.what, found.hash) == (
        State.OUTDATED,
        "lacks spec.tiers[].notify, status.storm",
        older,
    )


def test_edited_one_says_so_whatever_its_annotation() -> None:
    body = stored()
    del status(body)["storm"]
    assert judge(LADDERS, body).what == "lacks status.storm (edited since it was applied)"


def test_newer_one_and_one_with_other_limits() -> None:
    body = stored()
    status(body)["added"] = {"type": "string"}
    body["metadata"]["annotations"] = None
    found = judge(LADDERS, body)
    assert (found.state, found.what) == (
        State.NEWER,
        f"has status.added, which version {__version__} does not know",
    )
    body = stored()
    status(body)["conditions"]["maxItems"] = 8
    assert judge(LADDERS, body).what == "differs in status.conditions (maxItems) (edited since it was applied)"


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"name": "v1beta1"}, "has no version v1alpha1, only v1beta1"),
        ({"served": False}, "does not serve version v1alpha1"),
        ({"subresources": {}}, "has no subresource status"),
    ],
)
def test_version_that_is_not_there_or_not_served(change: Document, what: str) -> None:
    body = stored()
    body["spec"]["versions"][0] |= change
    found = judge(LADDERS, body)
    assert (found.state, found.what) == (State.ALTERED, what)


def test_remedy_is_that_of_whoever_has_applied_it_and_nothing_in_it_is_run() -> None:
    assert judge(LADDERS, stored()).remedy == APPLY
    by_helm = {"labels": {"app.kubernetes.io/managed-by": "Helm"}}
    release = {"meta.helm.sh/release-name": "crds; rm -rf /", "meta.helm.sh/release-namespace": "risk"}
    found = judge(LADDERS, stored(annotations=release, **by_helm))
    assert found.remedy == (
        f"helm upgrade 'crds; rm -rf /' CHART --version {__version__} --reset-then-reuse-values -n risk"
    )


# --- Looking ----------------------------------------------------------------------------------------------------------


class Server:
    """Has the definitions, and counts how many were read whole."""

    def __init__(self) -> None:
        self.objects = {definition_name(kind): stored(name) for name, kind in KINDS.items()}
        self.whole = 0
        self.error: ApiError | None = None

    async def get(self, resource: Any, namespace: None, name: str, *, accept: str = "") -> Document:
        if self.error is not None:
            raise self.error
        if name not in self.objects:
            raise NotFound(404, "NotFound", "not found", verb="get", resource=resource.title, where=name)
        if accept == METADATA_ONLY:
            return {"metadata": self.objects[name]["metadata"]}
        self.whole += 1
        return self.objects[name]


def look(definitions: Definitions) -> dict[str, Finding]:
    found = asyncio.run(definitions.look())
    return {one.name: one for one in found if one.state is not State.CURRENT or one.is_ending or one.is_unguarded}


def test_schemas_are_read_once_and_again_where_a_generation_has_changed() -> None:
    server = Server()
    definitions = Definitions(server)  # type: ignore[arg-type]
    assert look(definitions) == look(definitions) == {}
    assert server.whole == len(KINDS)
    changed = server.objects[ESCALATIONS]
    del status(changed)["waitingOn"]
    changed["metadata"]["generation"] = 2
    assert look(definitions)[ESCALATIONS].state is State.OUTDATED
    assert server.whole == len(KINDS) + 1
    changed["metadata"] |= {
        "annotations": {"riskladder.dev/confirm-delete": ESCALATIONS},
        "deletionTimestamp": "2026-11-30T00:00:00Z",
    }
    found = look(definitions)[ESCALATIONS]
    assert (found.is_ending, found.is_unguarded, server.whole) == (True, True, len(KINDS) + 1)
    del server.objects[ESCALATIONS]
    assert look(definitions)[ESCALATIONS].state is State.MISSING


def test_who_may_not_look_says_so_and_nothing_is_refused() -> None:
    server, metrics = Server(), Metrics()
    about: dict[str, Any] = {"verb": "get", "resource": "x", "where": "y"}
    server.error = Forbidden(403, "Forbidden", "no", **about)
    watch = DefinitionWatch(server, observe=metrics.observe_definition)  # type: ignore[arg-type]
    found = asyncio.run(watch.findings())
    assert set(found.unknown) == {definition_name(kind) for kind in KINDS.values()}
    assert found.is_usable
    assert watch.were_usable
    shown = generate_latest(metrics.registry).decode()
    assert f'riskladder_custom_resources{{name="{ESCALATIONS}",state="Unknown"}} 1.0' in shown


def test_kind_that_the_operator_does_not_write_makes_no_ladder_not_ready() -> None:
    bindings = definition_name(KINDS["MonitorBinding"])
    server, metrics = Server(), Metrics()
    del server.objects[bindings]
    watch = DefinitionWatch(server, observe=metrics.observe_definition)  # type: ignore[arg-type]
    found = asyncio.run(watch.findings())
    assert (found.altered, found.is_usable, found.is_current) == ({bindings: "is missing"}, True, False)


# --- What a ladder says -----------------------------------------------------------------------------------------------


def said(findings: DefinitionFindings | None, before: EscalationLadderStatus | None = None) -> Any:
    about: dict[str, Any] = {"created": NOW, "open_escalations": 0, "missing": (), "refusals": ["it is refused"]}
    return update_ladder(ladder(), before or EscalationLadderStatus(), definitions=findings, now=at(0), **about)[0]


def conditions(update: Any) -> tuple[str, str, str, str]:
    ready, kinds = (
        find(update.status.conditions, kind) for kind in (ConditionType.READY, ConditionType.CUSTOM_RESOURCES_CURRENT)
    )
    assert ready is not None
    assert kinds is not None
    assert kinds.reason != ready.reason or kinds.message == ready.message
    return ready.reason, str(kinds.status), kinds.reason, kinds.message


def findings(**names: str) -> DefinitionFindings:
    parts = {state: {ESCALATIONS: what} for state, what in names.items()}
    return DefinitionFindings(**parts, version="0.1.0", remedy=APPLY)  # type: ignore[arg-type]


def test_outdated_ladder_is_not_ready_with_the_command_and_warns_once() -> None:
    first = said(findings(outdated="lacks status.waitingOn"))
    reason, held, why, message = conditions(first)
    assert (reason, held, why) == (Reason.CUSTOM_RESOURCES_OUTDATED, "False", Reason.CUSTOM_RESOURCES_OUTDATED)
    assert message == (
        "escalations.riskladder.dev lacks status.waitingOn: what this operator writes there is not stored, so apply "
        "those of version 0.1.0: kubectl apply --server-side --force-conflicts -k crds"
    )
    assert [entry.event for entry in first.entries] == [Reason.CUSTOM_RESOURCES_OUTDATED]
    again = said(findings(outdated="lacks status.waitingOn"), first.status)
    assert (again.entries, again.status) == ((), first.status)


def test_newer_altered_and_unknown_in_words_of_their_own_leave_the_ladder_in_force() -> None:
    assert conditions(said(None))[1:3] == ("Unknown", Reason.NOT_YET)
    for states, held, reason, words in (
        ({"newer": "has x"}, "False", Reason.CUSTOM_RESOURCES_NEWER, "update the operator"),
        ({"altered": "differs in x"}, "False", Reason.CUSTOM_RESOURCES_ALTERED, "apply those of version 0.1.0"),
        ({"unknown": "may not be looked at"}, "Unknown", Reason.CUSTOM_RESOURCES_UNKNOWN, "it works all the same"),
        ({}, "True", Reason.CUSTOM_RESOURCES_AS_SHIPPED, "every kind is that of version 0.1.0"),
    ):
        update = said(findings(**states))
        ready, status_, why, message = conditions(update)
        assert (ready, status_, why) == (Reason.ESCALATION_REFUSED, held, reason)
        assert words in message
        assert (reason in {entry.event for entry in update.entries}) is (held == "False")


def test_many_leave_room_for_the_command() -> None:
    everything = {definition_name(kind): "lacks " + "x" * 200 for kind in KINDS.values()}
    message = conditions(said(DefinitionFindings(outdated=everything, version="0.1.0", remedy=APPLY)))[3]
    assert message.endswith(APPLY)
    assert all(name in message for name in everything)
