"""A stop ends the pods of the model at the same time, each by name and uid, and its write is always the first."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from pydantic import ValidationError

from riskladder.api.tiers import Containment
from riskladder.controller.caches.store import Store
from riskladder.controller.executor import Executor
from riskladder.policy.containment.holds import with_holds
from riskladder.policy.decide import decide
from riskladder.policy.plan import Stop

from .builders import KEY, Edit, Scene, contain_by, ladder, signal, workload


def planned(edit: Edit | None = None, *, enabled: bool = True) -> Stop:
    scene = Scene([signal(bias=0.3)], ladders=[ladder(edit or contain_by("ScaleToZero"))])
    plan = decide(with_holds(replace(scene.snapshot(), ends_pods=enabled)), scene.now)
    assert plan.stop is not None
    return plan.stop


def test_every_pod_is_ended_within_the_grace_of_the_tier() -> None:
    ends = planned(contain_by("ScaleToZero", grace="90s")).ends
    assert [(end.verb, end.resource.plural, end.name) for end in ends] == [
        ("delete", "pods", f"pod-{number}") for number in range(3)
    ]
    assert [(end.body["gracePeriodSeconds"], end.body["preconditions"]) for end in ends] == [
        (90, {"uid": f"pod-{number}-uid"}) for number in range(3)
    ]
    assert {end.body["gracePeriodSeconds"] for end in planned().ends} == {5}, "the default"


@pytest.mark.parametrize(
    ("edit", "enabled"),
    [
        (contain_by("ScaleToZero"), False),
        (contain_by("ScaleToZero", grace="Own"), True),
        (contain_by("Rollback"), True),
    ],
    ids=["not enabled", "as they ask to", "no stop"],
)
def test_pods_end_by_themselves_where_nobody_wants_or_may_otherwise(edit: Edit, enabled: bool) -> None:
    assert planned(edit, enabled=enabled).ends == ()


@pytest.mark.parametrize("grace", ["0s", "0m", "5", "own", "1h", "61m", "5s ", ""])
def test_grace_is_a_duration_or_the_pods_own(grace: str) -> None:
    with pytest.raises(ValidationError):
        Containment.model_validate({"action": "ScaleToZero", "grace": grace})


class Server:
    """Answers the write when it is released, and deletions never."""

    def __init__(self, fails: bool = False) -> None:
        self.sent: list[str] = []
        self.all_sent = asyncio.Event()
        self.may_answer = asyncio.Event()
        self.fails = fails

    async def request(self, method: str, path: str, **_: Any) -> dict[str, Any]:
        self.sent.append(f"{method} {path.rpartition('/')[2]}")
        if len(self.sent) == 4:
            self.all_sent.set()
        if method == "DELETE":
            if self.fails:
                raise OSError("gone")
            await asyncio.Event().wait()
        await self.may_answer.wait()
        return {
            "metadata": {
                "namespace": "models",
                "name": "scorer",
                "uid": "target-uid",
                "resourceVersion": "2",
                "creationTimestamp": "2026-11-24T06:00:00Z",
            },
            "spec": {"replicas": 0, "template": {}},
        }


@pytest.mark.parametrize("fails", [False, True])
async def test_deletions_follow_the_write_at_once_and_are_never_waited_for(fails: bool) -> None:
    server = Server(fails)
    executor = Executor(server, Store(lambda key, urgent: None))  # type: ignore[arg-type]
    stopping = asyncio.ensure_future(executor.stop(KEY, workload(), planned()))
    await asyncio.wait_for(server.all_sent.wait(), 5)
    assert server.sent[0] == "PATCH scorer", "never before it"
    assert server.sent[1:] == ["DELETE pod-0", "DELETE pod-1", "DELETE pod-2"]
    assert not stopping.done(), "the write has not been answered yet"
    server.may_answer.set()
    await stopping
