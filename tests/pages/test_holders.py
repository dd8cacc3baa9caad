"""Who holds the roles of a ladder, by what is bound in its namespace."""

from __future__ import annotations

from typing import Any

import yaml

from riskladder.console.holders import holders
from tests.unit.test_docs import ROOT


def bound(example: str) -> tuple[list[dict[str, Any]], dict[tuple[str, str], Any]]:
    documents = [d for d in yaml.safe_load_all((ROOT / example).read_text("utf-8")) if d]
    rules = {(d["kind"], d["metadata"]["name"]): d["rules"] for d in documents if d["kind"] in ("Role", "ClusterRole")}
    return [d for d in documents if d["kind"] == "RoleBinding"], rules


def test_example_gives_each_role_to_the_group_of_its_name_and_reading_gives_none() -> None:
    bindings, rules = bound("docs/examples/people-rbac.yaml")
    names = ("legal", "executive", "security", "model-risk", "data-science", "deputy-counsel", "ml-platform")
    found = holders(bindings, rules, names)
    assert {role: people for role, people in found.items() if people != (f"group {role}",)} == {}
    reading = [binding for binding in bindings if binding["metadata"]["name"] == "stakeholders-read"]
    assert reading
    assert holders(reading, rules, names) == dict.fromkeys(names, ())


def test_users_accounts_and_groups_are_told_apart_and_named_once() -> None:
    rules = {("ClusterRole", "all"): [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}]}
    subjects = [
        {"kind": "User", "name": "ann"},
        {"kind": "Group", "name": "ann"},
        {"kind": "ServiceAccount", "name": "ann", "namespace": "models"},
    ]
    binding = {"roleRef": {"kind": "ClusterRole", "name": "all"}, "subjects": subjects}
    unread = {"roleRef": {"kind": "Role", "name": "all"}, "subjects": [{"kind": "User", "name": "eve"}]}
    assert holders([binding, binding, unread, {}], rules, ["legal"]) == {
        "legal": ("ann", "group ann", "service account models/ann")
    }
