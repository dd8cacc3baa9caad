"""Objects made at random from the schemas: each gets an answer, and none keeps a model from being stopped."""

from __future__ import annotations

import asyncio
import copy
import json
import random
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from riskladder.api.kinds import KINDS
from riskladder.cluster import resources
from riskladder.cluster.client import ApiError, Client
from riskladder.cluster.connection import connect
from riskladder.cluster.resources import Resource
from riskladder.generate.crd import crd
from tests.cluster import LocalControlPlane
from tests.integration.operator_process import OperatorProcess
from tests.integration.world import TestNamespace, ladder, signal
from tests.refusals.documents import Document, valid

NUMBER = 250
"""Objects of a run."""

TARGET = "fuzzed"
ANSWERS = {400, 403, 409, 413, 422}
"""Refusals that name what is wrong: anything else is a fault of ours or of the API server."""

RESOURCES: dict[str, Resource] = {
    "EscalationLadder": resources.LADDERS,
    "ModelRiskSignal": resources.SIGNALS,
    "EscalationDecision": resources.DECISIONS,
    "Escalation": resources.ESCALATIONS,
    "EscalationRecord": resources.RECORDS,
    "ContainmentIndex": resources.INDEXES,
}
PEOPLES = ("EscalationLadder", "ModelRiskSignal", "EscalationDecision")
"""The kinds that people and monitors write; the others are the operator's, and written under its name."""

ODD: tuple[Any, ...] = (
    *(None, True, 0, -1, 2**53, 1e308, -0.0, "", " ", "\t", "\u202e", "a" * 300, "0", "1e999", "NaN", "-1s", "30x"),
    *([], {}, [None], [{}], {"": ""}, {"name": ""}, [[]], "2026-13-01T00:00:00Z", "9999-12-31T23:59:59Z"),
)
"""What is put where something else is meant."""


def schema(kind: str) -> Document:
    found: Document = crd(KINDS[kind])["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    return found


def values(node: Document) -> st.SearchStrategy[Any]:
    """Values that a schema takes, by its structure: its rules may refuse them."""
    if "enum" in node:
        return st.sampled_from(node["enum"])
    if node.get("x-kubernetes-int-or-string"):
        return st.one_of(st.integers(0, 100), st.sampled_from(["30%", "5", "0%", "101%"]))
    match node.get("type"):
        case "object" if node.get("properties"):
            properties, required = node["properties"], set(node.get("required", ()))
            return st.fixed_dictionaries(
                {name: values(child) for name, child in properties.items() if name in required},
                optional={name: values(child) for name, child in properties.items() if name not in required},
            )
        case "object":
            child = node.get("additionalProperties")
            keys = st.text("abc-./", min_size=1, max_size=8)
            return st.dictionaries(keys, values(child) if isinstance(child, dict) else st.none(), max_size=3)
        case "array":
            least, most = node.get("minItems", 0), min(node.get("maxItems", 3), 3)
            return st.lists(values(node["items"]), min_size=least, max_size=max(least, most))
        case "integer":
            return st.integers(int(node.get("minimum", -1)), int(min(node.get("maximum", 2**53), 2**53)))
        case "number":
            return st.floats(node.get("minimum"), node.get("maximum"), allow_nan=False, allow_infinity=False)
        case "boolean":
            return st.booleans()
    if node.get("format") == "date-time":
        return st.datetimes().map(lambda at: at.isoformat() + "Z")
    if "\\p" not in node.get("pattern", "\\p"):  # classes of Unicode, which RE2 has and Python has not
        return st.from_regex(node["pattern"], fullmatch=True).filter(lambda text: len(text) <= 300)
    return st.text(min_size=node.get("minLength", 0), max_size=min(node.get("maxLength", 40), 40))


def places(node: Any, schema: Document) -> Iterator[tuple[Any, Any, Document]]:
    """Every place in a document with the schema of what stands there: its holder, its key, its schema."""
    if isinstance(node, dict):
        for key, child in node.items():
            below = schema.get("properties", {}).get(key) or schema.get("additionalProperties")
            if isinstance(below, dict):
                yield node, key, below
                yield from places(child, below)
    elif isinstance(node, list):
        for index, child in enumerate(node):
            below = schema.get("items", {})
            yield node, index, below
            yield from places(child, below)


@st.composite
def changed(draw: st.DrawFn, kind: str) -> Document:
    """A valid document in which some places hold something else: of the right structure, or not."""
    document = valid(kind)
    for _ in range(draw(st.integers(1, 3))):
        found = list(places(document["spec"], schema(kind)["properties"]["spec"]))
        if not found:
            break
        holder, key, below = found[draw(st.integers(0, len(found) - 1))]
        match draw(st.integers(0, 3)):
            case 0:
                holder[key] = copy.deepcopy(draw(st.sampled_from(ODD)))  # else one might come to stand in itself
            case 1 if isinstance(holder, dict):
                del holder[key]
            case _:
                holder[key] = draw(values(below))
    return document


@st.composite
def documents(draw: st.DrawFn) -> Document:
    """An object of one of the kinds."""
    kind = draw(st.sampled_from([*PEOPLES, *PEOPLES, *RESOURCES]))
    if draw(st.integers(0, 3)):
        return draw(changed(kind))
    document = valid(kind)
    document["spec"] = draw(values(schema(kind)["properties"]["spec"]))
    return document


def made(number: int) -> list[Document]:
    """So many objects; they are others in each run."""
    found: list[Document] = []

    @settings(
        max_examples=number,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
        deadline=None,
    )
    @given(documents())
    def collect(document: Document) -> None:
        found.append(document)

    collect()
    return found


@pytest.fixture
async def clients(plane: LocalControlPlane, account: Path) -> AsyncIterator[tuple[Client, Client]]:
    """An administrator's client, and one of the operator's account."""
    opened = [await connect(str(path), namespace="riskladder-system") for path in (plane.kubeconfig, account)]
    yield Client(opened[0]), Client(opened[1])
    for connection in opened:
        await connection.close()


async def put(client: Client, place: TestNamespace, name: str, document: Document) -> int:
    """The code of the answer."""
    kind = document["kind"]
    metadata = {"name": name, "labels": document["metadata"].get("labels", {})}
    if kind == "Escalation":
        metadata["labels"] = {"riskladder.dev/tier": "high", "riskladder.dev/containment": "ScaleToZero"}
    try:
        await client.create(RESOURCES[kind], place.namespace, {**document, "metadata": metadata})
    except ApiError as error:
        return error.status
    return 201


async def test_whatever_is_written_a_breach_is_contained_afterwards(
    plane: LocalControlPlane, account: Path, clients: tuple[Client, Client], tmp_path: Path
) -> None:
    admin, operators = clients
    objects = await asyncio.to_thread(made, NUMBER)
    async with TestNamespace(admin, f"fuzz-{random.getrandbits(32):08x}") as place:
        with OperatorProcess(account, tmp_path) as operator:
            operator.wait_until_leading()
            await place.serve(TARGET)
            answers: Counter[tuple[str, int]] = Counter()
            for number, document in enumerate(objects):
                spec = document["spec"]
                if isinstance(spec, dict) and isinstance(spec.get("target"), dict) and number % 2:
                    spec["target"]["name"] = TARGET
                client = admin if document["kind"] in PEOPLES else operators
                code = await put(client, place, f"made-{number}", document)
                answers[document["kind"], code] += 1
                assert code == 201 or code in ANSWERS, f"{code}: {json.dumps(document, default=str)}"
            taken = sum(count for (_, code), count in answers.items() if code == 201)
            assert 10 <= taken < NUMBER, f"too few or too many were taken to say anything: {answers}"

            await place.apply(ladder())
            await place.serve("scorer")
            await place.apply(signal("normal", "scorer", 0.31))
            await place.escalation_says("scorer", "Contained", "True", "ScaledToZero")
            await place.apply(ladder())
            assert operator.process.poll() is None
            log = operator.log.read_text()
        assert "Traceback" not in log, log[log.index("Traceback") - 2000 :][:4000]
        assert not [entry for entry in operator.entries() if "exception" in entry or entry.get("exc_info")]
