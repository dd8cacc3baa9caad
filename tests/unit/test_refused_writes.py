"""What the API server refuses though nothing has changed: said in its own words, and not asked for over and over."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import pytest

from riskladder.api.conditions import find
from riskladder.api.reasons import ConditionType, Reason
from riskladder.cluster.client import Client, Forbidden, Refused
from riskladder.controller.caches.store import Store
from riskladder.controller.executor import Executor
from riskladder.policy.containment.writes import switch_write
from riskladder.policy.decide import decide
from riskladder.workloads.companions.suspend import Companion
from tests.unit.builders import KEY, Document, Scene, signal

QUOTA = 'escalations.riskladder.dev "scorer" is forbidden: exceeded quota'


def test_escalation_that_cannot_be_saved_is_said_by_its_signals_and_stops_the_model_all_the_same() -> None:
    scene = Scene([signal(bias=0.3)])
    stop = scene.plan().stop
    assert stop is not None, "the stop waits for no Escalation"
    scene.carry_out(scene.plan())
    refused = decide(replace(scene.snapshot(), unsaved=QUOTA), scene.now)
    assert refused.opening is not None, "it is tried again"
    [said] = refused.signals
    condition = find(said.status.conditions, ConditionType.CONTAINED)
    assert condition is not None
    assert (condition.status, condition.reason) == ("True", Reason.ESCALATION_REFUSED)
    assert QUOTA in condition.message
    assert "the model is contained" in condition.message
    [event] = said.entries
    assert (event.event, event.warning) == (Reason.ESCALATION_REFUSED, True)
    scene.signals = [replace(said.signal, status=said.status)]
    again = decide(replace(scene.snapshot(), unsaved=QUOTA), scene.now)
    assert again.signals == (), "said once"
    scene.run()
    [found] = scene.signals
    condition = find(found.status.conditions, ConditionType.CONTAINED)
    assert condition is not None
    assert condition.reason == Reason.SCALED_TO_ZERO


class Server:
    """Refuses every patch of a CronJob, which changes or not."""

    def __init__(self, error: Exception, *, changes: bool) -> None:
        self.error, self.changes = error, changes

    async def json_patch(self, *where: Any) -> Document:
        raise self.error

    async def get(self, *where: Any) -> Document:
        return {"metadata": {"uid": "cron-uid"}, "spec": {"suspend": self.changes}}


ABOUT = {"verb": "patch", "resource": "cronjobs.batch", "where": "retrain"}


@pytest.mark.parametrize(
    ("error", "changes", "said"),
    [
        (Refused(422, "Invalid", "policy gitops-only denied it", **ABOUT), False, "policy gitops-only denied it"),
        (Refused(422, "Invalid", "the test failed", **ABOUT), True, ""),
        (Forbidden(403, "Forbidden", "may not patch", **ABOUT), False, "may not patch"),
    ],
)
async def test_companion_that_may_not_be_suspended_is_a_problem_unless_it_has_changed(
    error: Exception, changes: bool, said: str
) -> None:
    executor = Executor(cast(Client, Server(error, changes=changes)), Store(lambda key, urgent: None))
    seen = Companion("CronJob", "retrain", "cron-uid", False, True)
    await executor.carry_out(KEY, switch_write(seen, "scorer-1", suspend_it=True))
    assert said in executor.problem(KEY.namespace, "CronJob", "retrain")
    assert bool(said) is bool(executor.problem(KEY.namespace, "CronJob", "retrain"))
