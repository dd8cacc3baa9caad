"""What the documentation says, held against the code: links, examples, commands, metrics, reasons, names of tests."""

from __future__ import annotations

import copy
import json
import re
import shlex
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote

import pytest
import typer
from markdown_it import MarkdownIt
from markdown_it.token import Token
from prometheus_client import CollectorRegistry
from typer.testing import CliRunner

from riskladder.api.base import GROUP
from riskladder.api.chain import record_hash, verify_chains
from riskladder.api.escalation import EscalationState, LedgerHead
from riskladder.api.kinds import KINDS
from riskladder.api.reasons import ConditionType, Reason
from riskladder.api.validation import validate
from riskladder.cli.main import app
from riskladder.cluster.ledger import LedgerEntry, record_object
from riskladder.cluster.shipped_policies import SHIPPED
from riskladder.console.metrics import Metrics as ConsoleMetrics
from riskladder.controller.metrics import Metrics
from riskladder.ingest.metrics import Metrics as IngestMetrics
from riskladder.poll.metrics import Metrics as PollMetrics
from riskladder.workloads.registry import ALL_RUNTIMES
from tests import yaml_text

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    page
    for pattern in ("*.md", "docs/**/*.md", "examples/**/*.md", "bench/*.md", "charts/*/README.md")
    for page in ROOT.glob(pattern)
    if not any(part.startswith(".") for part in page.relative_to(ROOT).parts)
)
NAMES = [str(page.relative_to(ROOT)) for page in PAGES]
READING = ("get", "list", "watch")
SHELLS = ("console", "sh", "bash", "shell")

each_page = pytest.mark.parametrize("page", PAGES, ids=NAMES)


class Block(NamedTuple):
    """A fenced block."""

    language: str
    text: str
    line: int


@cache
def tokens(page: Path) -> tuple[Token, ...]:
    return tuple(MarkdownIt("commonmark").enable("table").parse(page.read_text("utf-8")))


def blocks(page: Path, *languages: str) -> Iterator[Block]:
    for token in tokens(page):
        if token.type == "fence" and token.info.split(" ")[0] in languages:
            yield Block(token.info, token.content, (token.map or [0])[0] + 1)


def spans(page: Path) -> Iterator[str]:
    """Yield what stands between backticks."""
    for token in tokens(page):
        yield from (child.content for child in token.children or () if child.type == "code_inline")


def rows(page: Path) -> Iterator[list[str]]:
    """The cells of every table row, as they are written."""
    cells: list[str] = []
    for token, following in zip(tokens(page), tokens(page)[1:], strict=False):
        if token.type == "tr_open":
            cells = []
        elif token.type == "td_open":
            cells.append(following.content)
        elif token.type == "tr_close" and cells:
            yield cells


def codes(text: str) -> list[str]:
    return re.findall(r"`([^`]+)`", text)


# --- Links ------------------------------------------------------------------------------------------------------------


@cache
def anchors(page: Path) -> frozenset[str]:
    """The anchors that GitHub makes of the headings."""
    seen: Counter[str] = Counter()
    found = set()
    for token, following in zip(tokens(page), tokens(page)[1:], strict=False):
        if token.type == "heading_open":
            text = "".join(child.content for child in following.children or ())
            slug = re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-")
            found.add(f"{slug}-{seen[slug]}" if seen[slug] else slug)
            seen[slug] += 1
    return frozenset(found)


def links(page: Path) -> Iterator[str]:
    for token in tokens(page):
        for child in token.children or ():
            if child.type in ("link_open", "image"):
                yield str(child.attrGet("href") or child.attrGet("src"))


@each_page
def test_every_relative_link_and_anchor_leads_somewhere(page: Path) -> None:
    broken = []
    for link in links(page):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = unquote(link).partition("#")
        target = (page.parent / path).resolve() if path else page
        is_there = target.is_relative_to(ROOT) and target.exists()
        if not is_there or (anchor and (target.suffix != ".md" or anchor not in anchors(target))):
            broken.append(link)
    assert broken == []


PLACES = r"(?:\.ci|api|bench|bundle|charts|crds|docs|examples|manifests|operator|tests)/[\w./-]+"
FILE = re.compile(rf"{PLACES}|Makefile|Dockerfile")


@each_page
def test_every_file_and_test_that_is_named_exists(page: Path) -> None:
    missing = []
    for span in spans(page):
        path, _, test = span.partition("::")
        if not FILE.fullmatch(path):
            continue
        places = (ROOT / path, ROOT / "operator/riskladder" / path, page.parent / path)
        found = next((place for place in places if place.exists()), None)
        if found is None or (test and not re.search(rf"def {re.escape(test)}\(", found.read_text("utf-8"))):
            missing.append(span)
    assert missing == []


# --- Examples ---------------------------------------------------------------------------------------------------------


def manifests(page: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    for block in blocks(page, "yaml"):
        if f"apiVersion: {GROUP}/" in block.text:
            for document in yaml_text.load_all(block.text):
                if str((document or {}).get("apiVersion", "")).startswith(f"{GROUP}/"):
                    yield block.line, document


@each_page
def test_every_example_would_be_taken_by_the_api_server(page: Path) -> None:
    wrong = []
    for line, document in manifests(page):
        assert document["kind"] in KINDS, f"line {line}"
        wrong += [f"line {line}: {p}" for p in validate(document["kind"], document, unknown_fields=True)]
    assert wrong == []


def test_no_module_is_longer_than_the_architecture_says() -> None:
    lengths = {file.relative_to(ROOT): len(file.read_text().splitlines()) for file in ROOT.glob("operator/**/*.py")}
    assert {str(file): lines for file, lines in lengths.items() if lines > 500} == {}


def test_examples_are_found_at_all() -> None:
    kinds = {document["kind"] for page in PAGES for _, document in manifests(page)}
    assert {"EscalationLadder", "ModelRiskSignal"} <= kinds


def test_monitors_of_the_examples_live_in_a_namespace_of_their_own() -> None:
    """Who may edit the namespace of the models may be any service account there, and would report as their monitor."""
    documents = list(yaml_text.load_all((ROOT / "docs/examples/monitor-rbac.yaml").read_text("utf-8")))
    bindings = [document for document in documents if document["kind"] == "RoleBinding"]
    assert bindings
    for binding in bindings:
        accounts = [subject["namespace"] for subject in binding["subjects"] if subject["kind"] == "ServiceAccount"]
        assert accounts
        assert binding["metadata"]["namespace"] not in accounts


def test_people_of_the_example_can_do_everything_with_what_it_grants_alone() -> None:
    documents = list(yaml_text.load_all((ROOT / "docs/examples/people-rbac.yaml").read_text("utf-8")))
    roles = {d["metadata"]["name"]: d["rules"] for d in documents if d["kind"] == "Role"}
    granted: dict[str, set[tuple[str, str, str]]] = {}
    for binding in (d for d in documents if d["kind"] == "RoleBinding"):
        rules = roles[binding["roleRef"]["name"]]
        for subject in binding["subjects"]:
            granted.setdefault(subject["name"], set()).update(
                (group, resource, verb)
                for rule in rules
                for group in rule["apiGroups"]
                for resource in rule["resources"]
                for verb in rule["verbs"]
            )
    read = {(GROUP, KINDS[kind].plural, verb) for kind in KINDS if kind != "ContainmentIndex" for verb in READING}
    read |= {(runtime.resource.group, runtime.resource.plural, "get") for runtime in ALL_RUNTIMES}
    stakeholders = {name.removeprefix("stakeholder-") for name in roles if name.startswith("stakeholder-")}
    assert set(granted) == stakeholders
    for group, found in granted.items():
        assert (GROUP, "escalationdecisions", "create") in found, group
        assert read <= found, group


# --- Commands ---------------------------------------------------------------------------------------------------------


def command_lines(page: Path) -> Iterator[list[str]]:
    """Every call of riskladder: whole lines of shell blocks, parts of pipelines, and code in the text."""
    texts = [line for block in blocks(page, *SHELLS) for line in block.text.replace("\\\n", " ").splitlines()]
    texts += [span for span in spans(page) if span.startswith(("riskladder ", "kubectl riskladder "))]
    for text in texts:
        for part in re.split(r"\s\|\s|&&", text.removeprefix("$ ")):
            try:
                words = shlex.split(part, comments=True)
            except ValueError:
                continue  # a line of output
            while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
                words = words[1:]
            if words[:2] == ["kubectl", "riskladder"]:
                words = words[1:]
            if words[1:3] == ["-m", "riskladder"]:
                words = ["riskladder", *words[3:]]
            if words and words[0].rpartition("/")[2] == "riskladder":
                yield words[1:]


@each_page
def test_every_command_line_has_subcommands_and_options_that_exist(page: Path) -> None:
    command: Any = typer.main.get_command(app)
    wrong = []
    for words in command_lines(page):
        if not words or words[0] in ("…", "--version", "--help"):
            continue
        chosen, rest = command.commands.get(words[0]), words[1:]
        if chosen is not None and hasattr(chosen, "commands") and rest:
            chosen, rest = chosen.commands.get(rest[0]), rest[1:]
        if chosen is None:
            wrong.append(f"riskladder {' '.join(words[:2])}")
            continue
        known = {option for parameter in chosen.params for option in (*parameter.opts, *parameter.secondary_opts)}
        known |= {"-h", "--help"}
        given = {word.partition("=")[0] for word in rest if re.match(r"--?[a-zA-Z]", word)}
        wrong += [f"riskladder {words[0]} {option}" for option in sorted(given - known)]
    assert wrong == []


def test_commands_are_found_at_all() -> None:
    command: Any = typer.main.get_command(app)
    shown = {words[0] for page in PAGES for words in command_lines(page) if words}
    assert set(command.commands) <= shown


# --- Queries ----------------------------------------------------------------------------------------------------------

QUERY = re.compile(r"kubectl (?:-n \S+ )?get (\w+)(.*?) -o jsonpath='([^']*)'")
STEP = re.compile(r"\.((?:\\\.|[^.\[\]{}\s])+)|\[([^\]]*)\]")


def schema_of(name: str) -> dict[str, Any] | None:
    """The schema of one of our kinds, by any of its names."""
    for file in sorted((ROOT / "crds").glob("*.yaml")):
        definition = yaml_text.load(file.read_text("utf-8"))["spec"]
        names = definition["names"]
        if name in (names["plural"], names["singular"], *names.get("shortNames", ())):
            found: dict[str, Any] = definition["versions"][0]["schema"]["openAPIV3Schema"]
            found["properties"]["metadata"] = {"x-any": True}
            return found
    return None


def follow(schema: dict[str, Any], path: str) -> dict[str, Any]:
    """Walk a path of jsonpath; a field that there is not is a KeyError."""
    for name, part in STEP.findall(path):
        if schema.get("x-any"):
            return schema
        if name:
            schema = schema["properties"][name] if "properties" in schema else schema["additionalProperties"]
        else:
            schema = schema["items"]
            for condition in re.findall(r"@([.\w]+)", part):
                follow(schema, condition)
    return schema


def walk(schema: dict[str, Any], query: str) -> None:
    """Follow every path of a query, each from where its range stands."""
    stack = [schema]
    for expression in re.findall(r"\{([^{}]*)\}", query):
        word, _, rest = expression.partition(" ")
        if word == "range":
            stack.append(follow(stack[-1], rest))
        elif word == "end":
            stack.pop()
        elif word.startswith("."):
            follow(stack[-1], expression)


def queries() -> Iterator[tuple[str, str, bool]]:
    for page in PAGES:
        for block in blocks(page, *SHELLS):
            for line in block.text.replace("\\\n", " ").splitlines():
                for kind, rest, query in QUERY.findall(line):
                    yield kind, query, ".items" in query or not rest.strip() or rest.strip().startswith("-")


def test_queries_ask_for_fields_that_there_are() -> None:
    checked = 0
    for kind, query, is_list in queries():
        schema = schema_of(kind)
        if schema is None:
            continue
        checked += 1
        walk({"properties": {"items": {"items": schema}}} if is_list else schema, query)
    assert checked >= 3
    records = schema_of("escr") or {}
    with pytest.raises(KeyError):
        walk(
            {"properties": {"items": {"items": records}}},
            '{range .items[?(@.spec.event=="DrillCompleted")]}{.spec}{end}',
        )


def test_logs_that_jq_reads_have_no_prefix_and_are_of_the_pods_that_there_are() -> None:
    deployment = yaml_text.load((ROOT / "manifests/base/deployment.yaml").read_text("utf-8"))
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    found = []
    for page in PAGES:
        for block in blocks(page, *SHELLS):
            found += [line for line in block.text.splitlines() if " logs " in line and "| jq" in line]
    assert found
    for line in found:
        assert "--all-pods" not in line, "it puts the name of the pod in front of each line, and that is no JSON"
        if selector := re.search(r"-l (\S+)=(\S+)", line):
            assert labels.get(selector[1]) == selector[2], line


def test_every_admission_policy_is_in_the_table_of_the_installation() -> None:
    text = (ROOT / "docs/install.md").read_text("utf-8")
    table = text[text.index("**Admission policies.**") :].split("\n## ")[0]
    assert [name for name in SHIPPED if f"| `{name}` |" not in table] == []


@each_page
def test_every_make_target_exists(page: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    texts = [span for span in spans(page) if span.startswith("make")]
    texts += [line.removeprefix("$ ") for block in blocks(page, *SHELLS) for line in block.text.splitlines()]
    named = {match[1] for text in texts if (match := re.match(r"make ([a-z-]+)", text))}
    assert named <= targets


# --- Operations -------------------------------------------------------------------------------------------------------

OPERATIONS = ROOT / "docs/operations.md"


def exported(*registries: CollectorRegistry) -> dict[str, tuple[str, list[str]]]:
    """Type and labels of every metric that is registered, by the name that a scrape shows."""
    found = {}
    for registry in registries:
        for metric in dict.fromkeys(registry._collector_to_names):
            [family] = metric.describe()  # type: ignore[attr-defined]
            name = family.name + ("_total" if family.type == "counter" else "")
            found[name] = (family.type, list(metric._labelnames))  # type: ignore[attr-defined]
    return found


def documented(page: Path) -> dict[str, tuple[str, list[str]]]:
    found = [row for row in rows(page) if row[0].startswith("`riskladder_") and row[1] in TYPES]
    return {codes(row[0])[0]: (row[1], codes(row[2])) for row in found}


TYPES = ("counter", "gauge", "histogram")


@pytest.mark.parametrize(
    ("page", "registries"),
    [
        ("docs/operations.md", [Metrics().registry]),
        ("docs/monitors.md", [IngestMetrics().registry, PollMetrics().registry]),
        ("docs/console.md", [ConsoleMetrics().registry]),
    ],
)
def test_every_metric_is_documented_with_its_type_and_labels_and_no_other(
    page: str, registries: list[CollectorRegistry]
) -> None:
    assert documented(ROOT / page) == exported(*registries)


@each_page
def test_every_metric_that_is_named_exists(page: Path) -> None:
    registries = [metrics().registry for metrics in (Metrics, IngestMetrics, PollMetrics, ConsoleMetrics)]
    known = {name + suffix for name in exported(*registries) for suffix in ("", "_bucket", "_count", "_sum")}
    assert set(re.findall(r"(?<!\w)riskladder_[a-z_]+", page.read_text("utf-8"))) <= known


def test_every_option_of_the_operator_is_documented() -> None:
    command: Any = typer.main.get_command(app)
    options = {option for parameter in command.commands["operator"].params for option in parameter.opts}
    documented = {code for row in rows(OPERATIONS) for code in codes(row[0]) if code.startswith("-")}
    assert documented == options


# --- Concepts ---------------------------------------------------------------------------------------------------------


def test_every_reason_and_condition_is_explained() -> None:
    explained = {code for row in rows(ROOT / "docs/concepts.md") for code in codes(row[0])}
    assert {str(reason) for reason in Reason} - explained == set()
    assert {str(kind) for kind in ConditionType} - explained == set()
    assert {str(state) for state in EscalationState} - explained == set()


# --- The auditor's own verifier ---------------------------------------------------------------------------------------


def chain(length: int) -> list[dict[str, Any]]:
    head, objects = None, []
    for number in range(length):
        detail = {"message": f'é\u2028\t"{number}\\', "reading.x": "0.1"}
        entry = LedgerEntry(
            "EscalationOpened", f"uid/{number}", datetime(2026, 11, 24, tzinfo=UTC), "riskladder", detail
        )
        objects.append(record_object("models", "uid-of-models", "scorer-1", [entry], head))
        head = LedgerHead(sequence=objects[-1]["spec"]["sequence"], hash=objects[-1]["spec"]["hash"])
    return objects


def escalation(objects: list[dict[str, Any]]) -> dict[str, Any]:
    """The Escalation that notes the end of a chain as its head."""
    last = objects[-1]["spec"]
    ledger = {"sequence": last["sequence"], "hash": last["hash"]}
    metadata = {"namespace": "models", "name": last["escalation"]}
    return {
        "apiVersion": "riskladder.dev/v1alpha1",
        "kind": "Escalation",
        "metadata": metadata,
        "status": {"ledger": ledger},
    }


def run_verifier(objects: list[dict[str, Any]], text: str | None = None) -> subprocess.CompletedProcess[str]:
    [code] = [b.text for b in blocks(ROOT / "docs/audit.md", "python") if "previousHash" in b.text]
    export = json.dumps({"items": objects}) if text is None else text
    return subprocess.run([sys.executable, "-c", code], input=export, capture_output=True, text=True, check=False)


def test_verifier_of_the_audit_page_agrees_with_the_chain() -> None:
    objects = chain(4)
    intact = run_verifier(list(reversed(objects)))
    assert intact.returncode == 0, intact.stderr
    assert f"models/scorer-1 4:{objects[-1]['spec']['hash']}" in intact.stdout
    assert run_verifier(objects[:1] + objects[2:]).returncode != 0
    objects[1]["spec"]["entries"][0]["detail"]["reading.x"] += "1"
    assert run_verifier(objects).returncode != 0


def changed(objects: list[dict[str, Any]], number: int, **metadata: str) -> list[dict[str, Any]]:
    found = copy.deepcopy(objects)
    found[number]["metadata"] |= metadata
    return found


def test_verifier_of_the_audit_page_says_what_the_command_says() -> None:
    """Whatever is done to an export, the page's verifier ends as `riskladder verify` does."""
    objects = chain(4)
    forged_head = escalation(objects)
    forged_head["status"]["ledger"]["hash"] = "0" * 64
    exports = {
        "whole, without a head": (objects, 0),
        "whole, with its head": ([*objects, escalation(objects)], 0),
        "overlapping": ([*objects, escalation(objects), *objects[1:], escalation(objects)], 0),
        "a head of before": ([*objects, escalation(objects[:2])], 0),
        "another kind among them": ([*objects, {"kind": "Pod", "metadata": {"namespace": "models", "name": "p"}}], 0),
        "renamed": (changed(objects, 2, name="scorer-1-000007"), 1),
        "the end cut off": ([*objects[:3], escalation(objects)], 1),
        "nothing but a head": ([escalation(objects)], 1),
        "another head": ([*objects, forged_head], 1),
        "from before and after": ([*objects, *without_message(objects, "entries[0].open.message")[1:2]], 0),
        "twice, and not the same": ([*objects, *without_message(objects)[1:2]], 1),
        "the first one gone": (objects[1:], 1),
        "no record": ([{"kind": "Pod", "metadata": {"namespace": "models", "name": "p"}}], 2),
        "empty": ([], 2),
    }
    for what, (items, code) in exports.items():
        done = run_verifier(items)
        assert done.returncode == code, (what, done.stdout, done.stderr)
        command = CliRunner().invoke(app, ["verify", "-"], input=json.dumps({"kind": "List", "items": items}))
        assert command.exit_code == code, (what, command.output)
        if code:
            assert done.stderr, what
    for text in ("", "{}", "[", "null"):
        done = run_verifier([], text)
        assert (done.returncode, done.stdout, "Traceback" in done.stderr) == (2, "", False), (text, done.stderr)


def without_message(objects: list[dict[str, Any]], *fields: str) -> list[dict[str, Any]]:
    """The second record without the value, and with a redaction of these fields."""
    found = copy.deepcopy(objects)
    del found[1]["spec"]["entries"][0]["open"]["message"]
    if fields:
        found[1]["spec"]["redactions"] = [{"at": "t", "by": "dana", "reason": "r", "fields": list(fields)}]
    return found


def test_verifier_of_the_audit_page_knows_redactions() -> None:
    objects = chain(3)
    redacted = without_message(objects, "entries[0].open.message")
    done = run_verifier(redacted)
    assert done.returncode == 0, done.stderr
    assert f"models/scorer-1 3:{objects[-1]['spec']['hash']} 1 redacted" in done.stdout
    forged = copy.deepcopy(objects)
    forged[1]["spec"]["entries"][0]["open"]["message"]["value"] += "."
    added = copy.deepcopy(objects)
    added[1]["spec"]["entries"][0]["open"]["more"] = {"salt": "0" * 32, "value": "x"}
    elsewhere = copy.deepcopy(objects)
    elsewhere[1]["spec"]["namespaceUid"] = "another"
    hashed = {k: v for k, v in elsewhere[1]["spec"].items() if k != "hash"}
    elsewhere[1]["spec"]["hash"] = elsewhere[2]["spec"]["previousHash"] = record_hash(hashed)
    elsewhere[2]["spec"]["hash"] = record_hash(elsewhere[2]["spec"])
    for wrong, why in (
        (without_message(objects), "2: a value is gone, and no redaction says so"),
        (without_message(objects, "entries[0].open.rationale"), "2: a value is gone, and no redaction says so"),
        (forged, "2: message of entry 0 changed"),
        (added, "2: more of entry 0 changed"),
        (elsewhere, "2: of another namespace"),
    ):
        refused = run_verifier(wrong)
        assert (refused.returncode, why in refused.stderr) == (1, True), refused.stderr
        assert not all(result.intact for result in verify_chains(wrong))
