"""What a pod template grants its pods, and that a rollback never grants more. The policy in CEL: tests/integration."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from riskladder.api.reasons import Reason
from riskladder.api.tiers import Containment, ContainmentAction
from riskladder.generate import operator_policy
from riskladder.policy.containment.choose import choose
from riskladder.workloads.model import History
from riskladder.workloads.privileges import gained, privileges
from riskladder.workloads.registry import ALL_RUNTIMES
from tests.unit.builders import workload

NOTHING = frozenset({"service account default", "a service account token"})


def test_a_plain_template_grants_what_every_pod_has() -> None:
    assert privileges({}) == privileges({"spec": {"containers": [{"name": "c"}]}}) == NOTHING
    assert privileges({"spec": {"automountServiceAccountToken": False}}) == {"service account default"}


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("settings-2456789bcd", "settings-fghkmt2456", True),
        ("settings", "settings-fghkmt2456", True),
        ("settings-a", "settings-b", False),
        ("settings", "database", False),
        ("database-0000000000", "settings-2456789bcd", False),
    ],
)
def test_secret_with_a_hash_of_its_content_is_one_secret(one: str, other: str, same: bool) -> None:
    def using(name: str) -> frozenset[str]:
        return privileges({"spec": {"volumes": [{"name": "v", "secret": {"secretName": name}}]}})

    assert (gained(using(one), using(other)) == "") is same


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "serviceAccountName": st.sampled_from(["", "a", "b"]),
            "hostNetwork": st.booleans(),
            "hostPID": st.booleans(),
            "automountServiceAccountToken": st.booleans(),
            "volumes": st.lists(
                st.sampled_from([{"hostPath": {"path": "/"}}, {"secret": {"secretName": "s"}}, {"emptyDir": {}}]),
                max_size=3,
            ),
            "containers": st.lists(
                st.fixed_dictionaries(
                    {},
                    optional={
                        "securityContext": st.sampled_from(
                            [{}, {"privileged": True}, {"capabilities": {"add": ["SYS_ADMIN"]}}]
                        ),
                        "envFrom": st.lists(st.sampled_from([{"secretRef": {"name": "s"}}, {"configMapRef": {}}])),
                    },
                ),
                max_size=3,
            ),
        },
    )
)
def test_a_template_gains_nothing_over_itself_and_its_image_is_no_gain(spec: dict[str, Any]) -> None:
    found = privileges({"spec": spec})
    newer = {**spec, "containers": [{**c, "image": "another"} for c in spec.get("containers", ())]}
    assert gained(found, privileges({"spec": newer})) == ""
    assert gained(found, found | {"hostIPC"}) == "hostIPC"


ROLLBACK = Containment(action=ContainmentAction.ROLLBACK)


def test_rollback_to_a_revision_that_was_granted_more_is_impossible_and_says_so() -> None:
    found = workload(2)
    grants = {1: NOTHING | {"hostNetwork", "Secret database"}, 2: NOTHING}
    revisions = tuple(replace(r, privileges=frozenset(grants[r.number])) for r in found.revisions)
    found = replace(found, privileges=NOTHING, revisions=revisions)
    choice = choose(ROLLBACK, found, History())
    assert (choice.action, choice.reason) == (ContainmentAction.SCALE_TO_ZERO, Reason.ROLLBACK_IMPOSSIBLE)
    assert "would give its pods more than they have now (Secret database, hostNetwork)" in choice.message
    equal = replace(found, privileges=grants[1])
    assert choose(ROLLBACK, equal, History()).action is ContainmentAction.ROLLBACK


def test_policy_bounds_every_kind_that_is_written_and_knows_the_fields() -> None:
    """A kind of a new runtime or component that nobody bounds, or one of which nothing may be written, would show."""
    written = {key for key in operator_policy.allowed() if "/" not in key.partition("/")[2]}
    own = {f"{operator_policy.GROUP}/{name}" for name in (*operator_policy.KEPT, "escalationrecords")}
    unbounded = {"events.k8s.io/events", "coordination.k8s.io/leases", "authorization.k8s.io/localsubjectaccessreviews"}
    ended = {"/pods"}  # deleted, never written
    assert written - own - unbounded - ended == set(operator_policy.FIELDS)
    assert {f"{r.resource.group}/{r.resource.plural}" for r in ALL_RUNTIMES} <= set(operator_policy.FIELDS)
