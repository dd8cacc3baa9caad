"""The commands for people on a real API server; the operator's part is played by the tests, under its name."""

from __future__ import annotations

import asyncio
import copy
import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import pytest
import yaml
from typer.testing import CliRunner, Result

from riskladder.cli.main import app
from riskladder.cluster import resources
from riskladder.cluster.client import Client, Object
from riskladder.cluster.connection import connect
from riskladder.cluster.resources import Resource
from tests import people
from tests.cluster import LocalControlPlane
from tests.cluster.install import service_account_kubeconfig
from tests.cluster.launcher import dying_with_us
from tests.integration.operator_process import OperatorProcess
from tests.integration.people import REVIEWS
from tests.integration.world import NAMESPACES, deployment
from tests.patience import PATIENCE

ROOT = Path(__file__).parents[2]
T = TypeVar("T")
OPERATOR = {
    "Impersonate-User": "system:serviceaccount:riskladder-system:riskladder",
    "Impersonate-Group": "system:masters",
}
ROLES = Resource("rbac.authorization.k8s.io", "v1", "roles", "Role")
BINDINGS = Resource("rbac.authorization.k8s.io", "v1", "rolebindings", "RoleBinding")
LABELS = {"riskladder.dev/ladder": "credit-scoring"}


def on(plane: LocalControlPlane, act: Callable[[Client], Awaitable[T]], headers: dict[str, str] | None = None) -> T:
    """Do something as an administrator, or as somebody else."""

    async def run() -> T:
        connection = await connect(str(plane.kubeconfig), agent="test")
        connection.session.headers.update(headers or {})
        try:
            return await act(Client(connection))
        finally:
            await connection.close()

    return asyncio.run(run())


class CliNamespace:
    """A namespace with an escalation, and people in it."""

    def __init__(self, plane: LocalControlPlane, namespace: str) -> None:
        self.plane = plane
        self.namespace = namespace

    def create(self, resource: Resource, body: Object, headers: dict[str, str] | None = None) -> Object:
        return on(self.plane, lambda c: c.create(resource, self.namespace, body), headers)

    def list(self, resource: Resource) -> list[Object]:
        return on(self.plane, lambda c: c.list(resource, self.namespace))

    def escalate(self, name: str = people.NAME, uid: str = "", signal: str = "u3", **changes: Any) -> str:
        """Write an escalation as the operator does, opened by the signal of this uid."""
        raw = people.escalation(**changes)
        raw["spec"]["signal"]["uid"] = signal
        raw["metadata"] = {"name": name, "labels": raw["metadata"]["labels"]}
        raw["spec"]["target"]["uid"] = uid or "u2"
        status = raw.pop("status")
        self.create(resources.ESCALATIONS, raw, OPERATOR)
        self.write(resources.ESCALATIONS, name, status)
        return name

    def write(self, resource: Resource, name: str, status: Object) -> None:
        """Write a status as the operator does."""

        async def patch(client: Client) -> None:
            await client.merge_patch(resource, self.namespace, name, {"status": status}, subresource="status")

        on(self.plane, patch, OPERATOR)

    def person(self, name: str, *roles: str, verbs: tuple[str, ...] = ("*",)) -> Path:
        """The kubeconfig of somebody who may edit, and holds these roles."""
        rules = [
            {"apiGroups": ["riskladder.dev"], "resources": ["stakeholders"], "resourceNames": [role], "verbs": [*verbs]}
            for role in roles
        ]
        rules += [
            {"apiGroups": ["riskladder.dev"], "resources": ["*"], "verbs": ["get", "list", "watch"]},
            {
                "apiGroups": ["riskladder.dev"],
                "resources": ["escalationdecisions", "modelrisksignals"],
                "verbs": ["create"],
            },
            {"apiGroups": ["apps"], "resources": ["deployments"], "verbs": ["get"]},
        ]
        self.create(ROLES, {"metadata": {"name": name}, "rules": rules})
        self.create(
            BINDINGS,
            {
                "metadata": {"name": name},
                "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name},
                "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": name}],
            },
        )
        self.heard(name, may_decide=True)
        return Path(self.plane.kubeconfig_for(name, []))

    def heard(self, name: str, *, may_decide: bool) -> None:
        """Wait until the API server has heard whether somebody may create decisions."""
        attributes = {"group": "riskladder.dev", "resource": "escalationdecisions", "verb": "create"}
        spec = {"resourceAttributes": attributes | {"namespace": self.namespace}}
        review = {"apiVersion": REVIEWS.api_version, "kind": REVIEWS.kind, "spec": spec}

        def allowed() -> bool:
            answer = on(self.plane, lambda c: c.create(REVIEWS, None, review), {"Impersonate-User": name})
            return bool(answer["status"]["allowed"])

        deadline = time.monotonic() + PATIENCE
        while allowed() is not may_decide:
            assert time.monotonic() < deadline, f"the permissions of {name} have not come"
            time.sleep(0.05)

    def run(self, *arguments: str, kubeconfig: Path | None = None, namespace: str | None = None) -> Result:
        place = ["-n", namespace or self.namespace, "--kubeconfig", str(kubeconfig or self.plane.kubeconfig)]
        return CliRunner().invoke(app, [*arguments, *place])

    @contextmanager
    def operator(self, act: Callable[[CliNamespace], bool]) -> Iterator[None]:
        """Play the operator while the command runs, until ``act`` says that it is done."""
        stop = threading.Event()

        def play() -> None:
            while not stop.is_set() and not act(self):
                time.sleep(0.05)

        thread = threading.Thread(target=play)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()

    def answers(self, status: bool, reason: str, message: str) -> Callable[[CliNamespace], bool]:
        """Counts or refuses the first decision without an answer."""

        def act(place: CliNamespace) -> bool:
            for found in place.list(resources.DECISIONS):
                if not (found.get("status") or {}).get("conditions"):
                    place.write(
                        resources.DECISIONS,
                        found["metadata"]["name"],
                        {"conditions": [people.condition("Accepted", status, reason, message)]},
                    )
                    return True
            return False

        return act


class Terminal:
    """A command that believes it talks to a person."""

    def __init__(self, process: subprocess.Popen[bytes], channel: int) -> None:
        self.process = process
        self._channel = channel
        self._seen = ""

    def wait_for(self, text: str) -> None:
        deadline = time.monotonic() + PATIENCE
        while text not in " ".join(self._seen.split()):
            assert time.monotonic() < deadline, f"{text!r} is not in {self._seen!r}"
            if select.select([self._channel], [], [], 0.2)[0]:
                with suppress(OSError):  # its end was closed
                    self._seen += os.read(self._channel, 65536).decode()

    def type(self, text: str) -> None:
        os.write(self._channel, text.encode())


@contextmanager
def on_terminal(
    place: CliNamespace,
    *arguments: str,
    kubeconfig: Path | None = None,
    interrupt: signal.Handlers = signal.SIG_DFL,
) -> Iterator[Terminal]:
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "riskladder", *arguments, "-n", place.namespace]
    environment = os.environ | {
        "PYTHONPATH": str(ROOT / "operator"),
        "KUBECONFIG": str(kubeconfig or place.plane.kubeconfig),
        "TERM": "xterm",
    }
    # A suite that runs in the background has SIGINT ignored, and so would what it starts.
    process = subprocess.Popen(
        dying_with_us(command),
        env=environment,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        preexec_fn=lambda: signal.signal(signal.SIGINT, interrupt),
    )
    os.close(theirs)
    try:
        yield Terminal(process, ours)
    finally:
        process.kill()
        process.wait()
        os.close(ours)


@pytest.fixture
def place(plane: LocalControlPlane) -> Iterator[CliNamespace]:
    name = f"people-{uuid.uuid4().hex[:8]}"
    on(plane, lambda c: c.create(NAMESPACES, None, {"metadata": {"name": name}}))
    yield CliNamespace(plane, name)
    on(plane, lambda c: c.delete(NAMESPACES, None, name))


# --- Looking ------------------------------------------------------------------------------------------------------


def test_status_shows_what_is_open(place: CliNamespace) -> None:
    assert place.run("status").stdout == f"No escalation is open in namespace {place.namespace}.\n"
    place.escalate("later", nextDeadline="2199-01-01T00:00:00Z")
    place.escalate("late")
    place.escalate("over", conditions=[people.condition("Closed", True, "Remediated")])
    shown = place.run("status")
    assert (shown.exit_code, shown.stderr) == (0, "")
    assert [line.split()[0] for line in shown.stdout.splitlines()[1:3]] == ["late", "later"]
    found = json.loads(place.run("status", "-o", "json").stdout)["escalations"]
    assert [(e["name"], e["contained"], e["waitingOn"]) for e in found] == [
        ("late", "yes", ["executive", "legal"]),
        ("later", "yes", ["executive", "legal"]),
    ]
    everywhere = CliRunner().invoke(app, ["status", "-A", "-o", "json", "--kubeconfig", str(place.plane.kubeconfig)])
    assert {"late", "later"} <= {e["name"] for e in json.loads(everywhere.stdout)["escalations"]}


def test_show_offers_what_the_reader_may_do(place: CliNamespace) -> None:
    name = place.escalate(decisions=[people.decided("Resume", "model-risk", "max")])
    legal = place.person("ann", "legal")
    shown = place.run("show", name, kubeconfig=legal)
    assert (shown.exit_code, shown.stderr) == (0, "")
    assert "1 of 2: max for model-risk; still needed: legal (or" in " ".join(shown.stdout.split())
    found = json.loads(place.run("show", name, "-o", "json", kubeconfig=legal).stdout)
    commands = {option["action"]: option["command"] for option in found["options"]}
    assert commands["Resume"] == f"kubectl riskladder resume {name} -n {place.namespace} --role legal --rationale '…'"
    assert {option["role"] for option in found["options"]} == {"legal"}
    reader = json.loads(place.run("show", name, "-o", "json", kubeconfig=place.person("rita")).stdout)
    assert reader["options"] == []
    assert reader["noOptions"].startswith("none, because rita holds no role of this ladder (")
    assert reader["forOthers"]


def test_show_of_what_is_not_there(place: CliNamespace) -> None:
    place.escalate("there")
    missing = place.run("show", "missing")
    assert (missing.exit_code, missing.stdout) == (2, "")
    assert (
        missing.stderr == f"error: there is no escalation missing in namespace {place.namespace}; open there: there\n"
    )


def test_a_name_that_is_not_there_is_told_where_it_is_and_what_else_may_be_meant(place: CliNamespace) -> None:
    name = place.escalate(f"of-{place.namespace}")
    elsewhere = place.run("show", name, namespace="default")
    assert elsewhere.exit_code == 2
    assert elsewhere.stderr == (
        f"error: there is no escalation {name} in namespace default; there is one in {place.namespace}: "
        "name it with -n\n"
    )
    nobody = place.run("show", name, namespace="default", kubeconfig=place.person("rita"))
    assert nobody.exit_code == 2
    assert place.namespace not in nobody.stderr, "of another namespace only who may list there is told"
    workload = place.run("contain", "credit-scorer", "-m", "It rejects everybody")
    assert workload.exit_code == 2
    assert workload.stderr.endswith("; for a workload write deployment/credit-scorer\n")


def test_what_is_closed_is_said_to_be_before_anything_is_asked(place: CliNamespace) -> None:
    name = place.escalate()
    closed = people.condition("Closed", True, "Remediated")
    place.write(resources.ESCALATIONS, name, {"resolution": "Remediated", "conditions": [closed]})
    for command in (["resume"], ["ack"], ["contain"], ["close", "--resolution", "Retired"], ["escalate"]):
        late = place.run(command[0], name, *command[1:], "-m", "Too late")
        assert late.exit_code == 1
        assert late.stderr.startswith(f"error: {name} is closed as Remediated: ")
        assert late.stderr.endswith(" comes too late\n")
    assert place.list(resources.DECISIONS) == []


def test_show_watches_until_it_is_closed(place: CliNamespace) -> None:
    name = place.escalate()
    command = [sys.executable, "-m", "riskladder", "show", name, "--watch", "-n", place.namespace]
    environment = os.environ | {"PYTHONPATH": str(ROOT / "operator"), "KUBECONFIG": str(place.plane.kubeconfig)}
    with subprocess.Popen(dying_with_us(command), env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert name in process.stdout.readline()
        closed = people.condition("Closed", True, "Remediated")
        place.write(resources.ESCALATIONS, name, {"resolution": "Remediated", "conditions": [closed]})
        rest = process.stdout.read()
        assert process.wait(PATIENCE) == 0
    assert "as Remediated" in rest


@pytest.mark.parametrize("interrupt", [signal.SIG_DFL, signal.SIG_IGN])
def test_status_watches_on_a_terminal(place: CliNamespace, interrupt: signal.Handlers) -> None:
    """Also where the shell that started it had SIGINT ignored: only Ctrl-C ends it."""
    with on_terminal(place, "status", "--watch", interrupt=interrupt) as terminal:
        terminal.wait_for("No escalation is open")
        place.escalate("opened")
        terminal.wait_for("1 escalation open.")
        terminal.process.send_signal(signal.SIGINT)
        assert terminal.process.wait(PATIENCE) == 0


# --- Deciding -----------------------------------------------------------------------------------------------------


def test_resume_is_announced_sent_and_answered(place: CliNamespace) -> None:
    name = place.escalate(decisions=[people.decided("Resume", "model-risk", "max")])
    legal = place.person("ann", "legal")
    with place.operator(place.answers(True, "QuorumMet", "Resume was counted for legal: the quorum is met")):
        result = place.run("resume", name, "-m", "fixed", kubeconfig=legal)
    assert (result.exit_code, result.stderr) == (0, ""), result.stdout
    said = " ".join(result.stdout.split())
    assert (
        "You agree, as legal, that credit-scorer is resumed. 1 of 2 needed agreements so far; with yours 2 of 2" in said
    )
    assert said.endswith("Accepted: Resume was counted for legal: the quorum is met.")
    [decision] = place.list(resources.DECISIONS)
    assert re.fullmatch(rf"{name}-resume-\w{{5}}", decision["metadata"]["name"])
    assert decision["spec"]["decidedBy"]["username"] == "ann"
    assert (decision["spec"]["role"], decision["spec"]["rationale"]) == ("legal", "fixed")
    managers = {entry["manager"] for entry in decision["metadata"]["managedFields"]}
    assert managers == {"kubectl-riskladder", "riskladder"}


def test_what_is_not_accepted_is_exit_code_1(place: CliNamespace) -> None:
    name = place.escalate()
    owner = place.person("olga", "legal")
    with place.operator(place.answers(False, "ModelOwner", "olga owns the model: an owner has no say in Resume")):
        unsent = place.run("resume", name, "-m", "fixed", kubeconfig=owner)
        assert (unsent.exit_code, place.list(resources.DECISIONS)) == (1, [])
        assert "error: not sent, since a refusal stays on record in your name: give --yes" in unsent.stderr
        result = place.run("resume", name, "-m", "fixed", "--yes", "-o", "json", kubeconfig=owner)
    assert result.exit_code == 1
    answer = json.loads(result.stdout)
    assert (answer["accepted"], answer["reason"]) == (False, "ModelOwner")
    assert "As things stand it will be refused: olga owns the model" in result.stderr
    assert "error: not accepted (ModelOwner): olga owns the model: an owner has no say in Resume" in result.stderr


def test_nobody_answers(place: CliNamespace) -> None:
    name = place.escalate()
    legal = place.person("ann", "legal")
    result = place.run("ack", name, "-m", "seen", "--timeout", "0.5", kubeconfig=legal)
    assert result.exit_code == 3
    assert "not answered within 0.5 s: does the operator run?" in " ".join(result.stdout.split())
    sent = place.run("ack", name, "-m", "seen", "--no-wait", kubeconfig=legal)
    assert sent.exit_code == 0
    assert f"Sent as {name}-acknowledge-" in sent.stdout


def test_impersonation_is_honoured(place: CliNamespace, tmp_path: Path) -> None:
    name = place.escalate()
    place.person("ann", "legal")
    config = yaml.safe_load(place.plane.kubeconfig.read_text())
    config["users"][0]["user"] |= {"as": "ann", "as-groups": ["staff"]}
    config["contexts"].append(config["contexts"][0] | {"name": "other"})
    impersonating = tmp_path / "config"
    impersonating.write_text(yaml.safe_dump(config))
    for kubeconfig, options in (
        (impersonating, ["--context", "other"]),
        (None, ["--as", "ann", "--as-group", "staff"]),
    ):
        result = place.run("ack", name, "-m", "seen", "--no-wait", *options, kubeconfig=kubeconfig)
        assert result.exit_code == 0, result.output
        refused = place.run("ack", name, "-m", "x", "--role", "security", *options, kubeconfig=kubeconfig)
        assert (refused.exit_code, "you may not acknowledge as security" in refused.stderr) == (1, True), refused.output
    found = [decision["spec"]["decidedBy"] for decision in place.list(resources.DECISIONS)]
    assert [(by["username"], "staff" in by["groups"]) for by in found] == [("ann", True)] * 2
    shown = place.run("show", name, "-o", "json", kubeconfig=impersonating)
    assert {option["role"] for option in json.loads(shown.stdout)["options"]} == {"legal"}


def test_people_are_asked_on_a_terminal(place: CliNamespace) -> None:
    name = place.escalate()
    ann = place.person("ann", "legal")
    with on_terminal(place, "ack", name, kubeconfig=ann) as terminal:
        terminal.wait_for("Why? It goes on record:")
        terminal.type("I take it\n")
        terminal.wait_for("Go on? [y/N]:")
        terminal.type("n\n")
        assert terminal.process.wait(PATIENCE) == 1
    assert place.list(resources.DECISIONS) == []
    with on_terminal(place, "ack", name, "-m", "mine", "--no-wait", kubeconfig=ann) as terminal:
        terminal.wait_for("Go on? [y/N]:")
        terminal.type("y\n")
        terminal.wait_for("Sent as")
        assert terminal.process.wait(PATIENCE) == 0


def test_role_is_guessed_only_where_it_is_clear(place: CliNamespace) -> None:
    name = place.escalate()
    two = place.run("ack", name, "-m", "seen", kubeconfig=place.person("both", "legal", "security"))
    assert (two.exit_code, two.stderr) == (
        2,
        "error: you may acknowledge as legal or security: choose with --role\n",
    )
    none = place.run("resume", name, "-m", "x", kubeconfig=place.person("looker", "legal", verbs=("acknowledge",)))
    assert none.exit_code == 1
    assert none.stderr.startswith("error: you may not resume in any role of this policy (model-risk, data-science,")
    wrong = place.run("ack", name, "-m", "seen", "--role", "lega")
    assert wrong.exit_code == 2
    assert "the policy has no role lega, only" in wrong.stderr
    assert place.list(resources.DECISIONS) == []


def test_what_admission_refuses_is_a_sentence(place: CliNamespace) -> None:
    name = place.escalate()
    ann = place.person("ann", "legal")
    before = place.run("ack", name, "-m", "seen", "--role", "security", kubeconfig=ann)
    assert (before.exit_code, before.stdout) == (1, "")
    assert before.stderr == (
        "error: you may not acknowledge as security: that needs the verb acknowledge on "
        f"stakeholders.riskladder.dev/security in namespace {place.namespace}\n"
    )
    refused = place.run("contain", name, "-m", "stop", "--role", "security", kubeconfig=ann)  # a stop is sent at once
    assert refused.exit_code == 1
    assert refused.stderr.startswith('error: refused: ann may not contain as "security" in namespace')
    assert "ValidatingAdmissionPolicy" not in refused.stderr
    forbidden = place.run("ack", name, "-m", "seen", "--role", "legal", kubeconfig=reader(place, "rita"))
    assert forbidden.exit_code == 1
    assert forbidden.stderr == (
        f"error: rita may not create escalationdecisions in namespace {place.namespace}: ask an administrator for the "
        "role that allows it\n"
    )


def reader(place: CliNamespace, name: str) -> Path:
    """Somebody who may only look."""
    kubeconfig = place.person(name, "legal")

    async def take_away(client: Client) -> None:
        role = await client.get(ROLES, place.namespace, name)
        rules = [rule for rule in role["rules"] if rule["verbs"] != ["create"]]
        await client.merge_patch(ROLES, place.namespace, name, {"rules": rules})

    on(place.plane, take_away)
    place.heard(name, may_decide=False)
    return kubeconfig


def test_dry_run_and_manifest_send_nothing(place: CliNamespace) -> None:
    name = place.escalate()
    ann = place.person("ann", "legal")
    tried = place.run("accept-risk", name, "--until", "14d", "-m", "x", "--dry-run", kubeconfig=ann)
    assert (tried.exit_code, tried.stderr) == (0, "")
    assert "The API server would take it: it was sent as a dry run, and nothing was stored." in " ".join(
        tried.stdout.split()
    )
    printed = place.run("accept-risk", name, "--until", "14d", "-m", "x", "-o", "yaml", kubeconfig=ann)
    manifest = yaml.safe_load(printed.stdout)
    assert (printed.exit_code, printed.stderr) == (0, "")
    assert manifest["spec"]["decidedBy"]["username"] == "ann"
    assert re.fullmatch(rf"{name}-acceptrisk-\w{{5}}", manifest["metadata"]["name"])
    without = place.run("ack", name, "-m", "x", "-o", "yaml", "--no-decided-by", kubeconfig=ann)
    assert "decidedBy" not in yaml.safe_load(without.stdout)["spec"]
    assert place.list(resources.DECISIONS) == []


def test_every_decision_is_taken_by_the_api_server(place: CliNamespace) -> None:
    name = place.escalate("moderate-1", tier="moderate", contained=False)
    ann = place.person("ann", "model-risk")
    for arguments in (
        ["ack"],
        ["comment"],
        ["contain", "--action", "rollback"],
        ["escalate"],
        ["object"],
        ["object", "--withdraw"],
        ["accept-risk", "--until", "2199-01-01"],
        ["resume"],
        ["close", "--resolution", "falsepositive"],
        ["review", "--no-policy-updated", "--satisfaction", "3", "--lessons", "none"],
    ):
        result = place.run(arguments[0], name, *arguments[1:], "-m", "x", "--no-wait", "--yes", kubeconfig=ann)
        assert result.exit_code == 0, (arguments, result.stderr)
    specs = [decision["spec"] for decision in place.list(resources.DECISIONS)]
    assert len(specs) == 10
    by_action = {spec["action"]: spec for spec in specs if not spec.get("withdraw")}
    assert by_action["Contain"]["containment"] == "Rollback"
    assert by_action["Escalate"]["tier"] == "high"
    assert by_action["Close"]["resolution"] == "FalsePositive"
    assert by_action["Review"]["review"] == {"policyUpdated": False, "satisfaction": 3, "lessons": "none"}


def test_wrong_particulars_are_exit_code_2(place: CliNamespace) -> None:
    name = place.escalate()
    for arguments, says in (
        (["accept-risk", name, "--until", "soon"], "'soon' is not a date"),
        (["accept-risk", name, "--until", "2020-01-01"], "is past"),
        (["escalate", name], "the highest tier of its policy"),
        (["contain", name, "--tier", "high"], "--tier and another --ladder cannot be given"),
    ):
        result = place.run(*arguments, "-m", "x", "--role", "legal")
        assert (result.exit_code, says in result.stderr) == (2, True), result.stderr
    silent = place.run("ack", name, "--role", "legal")
    assert (silent.exit_code, "--rationale (-m)" in silent.stderr) == (2, True)


# --- The stop button ----------------------------------------------------------------------------------------------


def model(place: CliNamespace, name: str = "credit-scorer") -> str:
    """A Deployment that the ladder governs; its uid."""
    body = deployment(name, label=LABELS["riskladder.dev/ladder"])
    ladder = copy.deepcopy(people.LADDER)
    ladder["metadata"] = {"name": ladder["metadata"]["name"]}
    place.create(resources.LADDERS, ladder)
    return str(place.create(resources.DEPLOYMENTS, body)["metadata"]["uid"])


def test_stop_button_without_an_escalation_raises_a_signal(place: CliNamespace) -> None:
    uid = model(place)
    ann = place.person("ann", "legal")

    def act(where: CliNamespace) -> bool:
        sent = where.list(resources.SIGNALS)
        if not sent:
            return False
        where.escalate("opened-1", uid=uid, signal=sent[0]["metadata"]["uid"])
        return True

    with place.operator(act):
        result = place.run("contain", "deployment/credit-scorer", "-m", "it rejects everybody", kubeconfig=ann)
    said = " ".join(result.stdout.split())
    assert (result.exit_code, result.stderr) == (0, ""), said
    assert "You contain the model, as legal: Deployment/credit-scorer is rolled back to its last good revision" in said
    assert re.search(r"Deployment/credit-scorer is contained, proved \d+\.\d s after it was sent\.", said)
    [signal] = place.list(resources.SIGNALS)
    assert re.fullmatch(r"credit-scorer-stop-\w{5}", signal["metadata"]["name"])
    manual = signal["spec"]["manual"]
    assert (manual["tier"], manual["role"], manual["containment"], manual["raisedBy"]) == (
        "high",
        "legal",
        "Rollback",
        "ann",
    )
    assert (signal["spec"]["ladder"], signal["spec"]["source"]) == ("credit-scoring", "manual")


def test_stop_button_with_an_escalation_is_a_decision(place: CliNamespace) -> None:
    name = place.escalate(uid=model(place))
    [first] = people.escalation()["status"]["containments"]
    rolled_back = first["intent"] | {"action": "Rollback", "revision": "2"}
    place.write(resources.ESCALATIONS, name, {"containments": [first | {"intent": rolled_back}]})
    ann = place.person("ann", "legal")
    counted = place.answers(True, "Counted", "Contain was counted for legal")

    def act(where: CliNamespace) -> bool:
        if not counted(where):
            return False
        time.sleep(1)  # what was proved before is no proof of what is asked for now
        [decision] = where.list(resources.DECISIONS)
        second = first["intent"] | {"id": 2, "decision": decision["metadata"]["name"]}
        where.write(resources.ESCALATIONS, name, {"containments": [first | {"intent": second}]})
        return True

    with place.operator(act):
        result = place.run(
            "contain", "deploy/credit-scorer", "--action", "ScaleToZero", "-m", "x", "-o", "json", kubeconfig=ann
        )
    assert result.exit_code == 0, result.stderr
    answer = json.loads(result.stdout)
    assert (answer["accepted"], answer["contained"], answer["escalation"]) == (True, True, name)
    assert (answer["already"], answer["intent"]) == (False, 2)
    assert answer["seconds"] > 1
    assert place.list(resources.SIGNALS) == []


def test_stop_button_says_why_a_signal_is_not_used(place: CliNamespace) -> None:
    model(place)
    ann = place.person("ann", "legal")

    def act(where: CliNamespace) -> bool:
        for sent in where.list(resources.SIGNALS):
            ready = people.condition("Ready", False, "UntrustedSource", "source manual is not trusted")
            where.write(resources.SIGNALS, sent["metadata"]["name"], {"conditions": [ready]})
            return True
        return False

    with place.operator(act):
        result = place.run("contain", "deployment/credit-scorer", "-m", "x", kubeconfig=ann)
    assert result.exit_code == 1
    assert "error: the signal is not used (UntrustedSource): source manual is not trusted" in result.stderr


def test_stop_button_that_cannot_be_pressed(place: CliNamespace) -> None:
    assert place.run("contain", "deployment/none", "-m", "x").stderr == (
        f"error: there is no Deployment none in namespace {place.namespace}\n"
    )
    model(place)
    place.create(resources.DEPLOYMENTS, deployment("free", label=None))
    for arguments, code, says in (
        (["contain", "deployment/free"], 2, "no ladder of the namespace governs Deployment/free"),
        (["contain", "cronjob/x"], 2, "cronjob is not a kind of workload that is known here"),
        (["contain", "deployment/credit-scorer", "--tier", "top"], 2, "has no tier top, only moderate and high"),
        (["contain", "deployment/credit-scorer", "--ladder", "x"], 2, "there is no ladder x"),
        (["drill", "x", "--target", "deployment/credit-scorer"], 2, "there is no ladder x"),
    ):
        result = place.run(*arguments, "-m", "x", "--role", "legal")
        assert (result.exit_code, says in result.stderr) == (code, True), result.stderr
    tried = place.run("contain", "deployment/credit-scorer", "-m", "x", "--role", "legal", "--dry-run")
    assert tried.exit_code == 0, tried.stderr
    assert place.list(resources.SIGNALS) == []


def test_drill_begins(place: CliNamespace) -> None:
    uid = model(place)
    ann = place.person("ann", "legal")

    def act(where: CliNamespace) -> bool:
        for sent in where.list(resources.SIGNALS):
            assert sent["spec"]["drill"] is True
            raw = people.escalation()
            raw["metadata"] = {"name": "drill-1", "labels": raw["metadata"]["labels"]}
            raw["spec"]["target"]["uid"] = uid
            raw["spec"]["drill"] = True
            del raw["status"]
            where.create(resources.ESCALATIONS, raw, OPERATOR)
            return True
        return False

    with place.operator(act):
        result = place.run(
            "drill", "credit-scoring", "--model", "deployment/credit-scorer", "-m", "exercise", kubeconfig=ann
        )
    said = " ".join(result.stdout.split())
    assert result.exit_code == 0, result.stderr
    assert (
        "legal, security, executive and model-risk will be notified, marked as a drill, and the model is not touched"
        in said
    )
    assert (
        f"The drill has begun as drill-1. Follow it with: kubectl riskladder show drill-1 -n {place.namespace}" in said
    )


# --- The shell ----------------------------------------------------------------------------------------------------


def test_names_and_roles_are_completed(place: CliNamespace) -> None:
    place.escalate("credit-1")
    place.escalate("fraud-1")

    def completed(line: str) -> list[str]:
        environment = os.environ | {
            "PYTHONPATH": str(ROOT / "operator"),
            "KUBECONFIG": str(place.plane.kubeconfig),
            "_KUBECTL_RISKLADDER_COMPLETE": "complete_bash",
            "COMP_WORDS": line,
            "COMP_CWORD": str(len(line.split(" ")) - 1),
        }
        program = "from riskladder.cli.main import app; app(prog_name='kubectl-riskladder')"
        done = subprocess.run(
            [sys.executable, "-c", program],
            env=environment,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        return done.stdout.split()

    begin = f"kubectl-riskladder ack -n {place.namespace}"
    assert completed(f"{begin} cre") == ["credit-1"]
    assert completed(f"{begin} credit-1 --role se") == ["security"]


# --- With the operator --------------------------------------------------------------------------------------------


@pytest.fixture
def operator(plane: LocalControlPlane, tmp_path: Path) -> Iterator[None]:
    """A real one, for the last test of the module."""
    config = service_account_kubeconfig(plane.kubeconfig, tmp_path / "operator.kubeconfig")
    with OperatorProcess(config, tmp_path) as process:
        process.wait_until_leading()
        yield


@pytest.mark.usefixtures("operator")
def test_stopped_and_brought_back_with_the_real_operator(place: CliNamespace) -> None:
    model(place)
    ann, max_, olga = place.person("ann", "legal"), place.person("max", "model-risk"), place.person("olga", "legal")
    stopped = place.run(
        "contain", "deployment/credit-scorer", "-m", "it rejects everybody", "-o", "json", kubeconfig=ann
    )
    assert stopped.exit_code == 0, stopped.stderr
    name = json.loads(stopped.stdout)["escalation"]
    again = place.run("contain", name, "-m", "still", "-o", "json", kubeconfig=ann)
    answer = json.loads(again.stdout)
    assert (again.exit_code, answer["contained"], answer["already"], answer["intent"]) == (0, True, True, 1), (
        again.output
    )
    assert "is contained already, by ScaleToZero intended" in again.stderr
    shown = " ".join(place.run("show", name, kubeconfig=ann).stdout.split())
    assert "“still”" in shown
    acknowledged = place.run("ack", name, "-m", "mine", kubeconfig=ann)
    assert acknowledged.exit_code == 0, acknowledged.output
    for kubeconfig, code, says in (
        (ann, 0, "Accepted: "),
        (ann, 1, "not accepted (AlreadyCounted): ann has been counted for Resume"),
        (max_, 0, "the quorum is met"),
        (olga, 1, "not accepted"),
    ):
        result = place.run("resume", name, "-m", "fixed", "--yes", kubeconfig=kubeconfig)
        assert (result.exit_code, says in result.output) == (code, True), result.output

    def is_back() -> bool:
        found = json.loads(place.run("status", "-o", "json").stdout)["escalations"]
        return [e["contained"] for e in found] == ["no"]

    deadline = time.monotonic() + PATIENCE
    while not is_back():
        assert time.monotonic() < deadline
    drill = place.run("drill", "credit-scoring", "--target", "deploy/credit-scorer", "-m", "x", kubeconfig=max_)
    assert (drill.exit_code, "The drill has begun as" in drill.stdout) == (0, True), drill.output
    again = place.run("drill", "credit-scoring", "--target", "deploy/credit-scorer", "-m", "x", kubeconfig=max_)
    assert (again.exit_code, "is under way already" in again.stderr) == (2, True), again.output
