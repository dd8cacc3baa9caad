"""`riskladder verify`, and how files are read."""

from __future__ import annotations

import copy
import io
import json
import random
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from typer.main import get_command
from typer.testing import CliRunner, Result

from riskladder.api.chain import noted_heads, record_hash, verify_chains
from riskladder.cli import verify as command
from riskladder.cli.main import app
from riskladder.cli.output import plain
from tests import yaml_text
from tests.trails import ESCALATION, NAMESPACE, NAMESPACE_UID, Document, chain, escalation, listed

KEY = f"{NAMESPACE}/{ESCALATION}"


def run(*arguments: object, stdin: str | None = None) -> Result:
    return CliRunner().invoke(app, ["verify", *map(str, arguments)], input=stdin)


def write(file: Path, *objects: Document) -> Path:
    file.write_text(yaml_text.dump(listed(*objects)))
    return file


def tampered() -> list[Document]:
    records = chain()
    records[1]["spec"]["entries"][0]["actor"] = "mallory"
    return records


# --- The command --------------------------------------------------------------------------------------------------


def test_intact_chain(tmp_path: Path) -> None:
    records = chain()
    result = run(write(tmp_path / "trail.yaml", *records, escalation(records)))
    assert (result.exit_code, result.stderr) == (0, "")
    line, summary, remark = result.stdout.splitlines()
    assert line.split() == [
        "OK",
        KEY,
        "4",
        "records",
        f"4:{records[-1]['spec']['hash']}",
        *["ends", "at", "the", "head", "of", "the", "Escalation", "in", "the", "same", "file"],
    ]
    assert summary == "1 chain intact, 4 records."
    assert "same file: who wrote the file wrote them, too" in remark


def test_where_each_head_was_noted_is_said(tmp_path: Path) -> None:
    records = chain()
    file = write(tmp_path / "trail.yaml", *records, escalation(records))
    heads = [f"{ESCALATION}={n}:{records[n - 1]['spec']['hash']}" for n in (2, 4)]
    both = run(file, "--head", heads[1]).stdout
    assert "ends at the head of the Escalation in the same file and of --head" in both
    assert "wrote them, too" not in both, "it was compared with one from elsewhere"
    earlier = run(file, "--head", heads[0]).stdout
    assert "ends at the head of the Escalation in the same file, passes through head 2 of --head" in earlier
    [answer] = json.loads(run(file, "--head", heads[0], "-o", "json").stdout)["chains"]
    assert answer["heads"] == [
        {"from": "--head", "sequence": 2},
        {"from": "the Escalation in the same file", "sequence": 4},
    ]


@given(times=st.lists(st.integers(1, 3), min_size=4, max_size=4), seed=st.randoms(use_true_random=False))
def test_record_that_is_there_several_times_counts_once(times: list[int], seed: random.Random) -> None:
    """Exports that overlap, one after the other in one file, and what `--watch` writes."""
    records = [copy.deepcopy(record) for record, n in zip(chain(), times, strict=True) for _ in range(n)]
    seed.shuffle(records)
    [result] = verify_chains(records, noted_heads([escalation(chain())]))
    assert (result.error, result.length) == ("", 4)
    records[0]["spec"]["entries"][0]["actor"] = "mallory"
    [result] = verify_chains(records)
    assert result.error


def test_timeline_shows_what_is_there_twice_once(tmp_path: Path) -> None:
    file = write(tmp_path / "trail.yaml", *chain(), *chain(), escalation(chain()))
    once = write(tmp_path / "once.yaml", *chain(), escalation(chain()))
    outputs = [CliRunner().invoke(app, ["timeline", ESCALATION, str(f), "-o", "json"]).stdout for f in (file, once)]
    assert outputs[0] == outputs[1]


def test_broken_chain_of_a_yaml_file_says_that_kubectl_loses_characters_in_yaml(tmp_path: Path) -> None:
    """`kubectl get -o yaml` makes a space of U+0085, and writes nothing at all where there is a U+007F."""
    assert "Export with -o json" in run(write(tmp_path / "trail.yaml", *tampered())).stdout
    (tmp_path / "trail.json").write_text(json.dumps(listed(*tampered())))
    assert "-o json" not in run(tmp_path / "trail.json").stdout


def test_changed_record_is_named(tmp_path: Path) -> None:
    result = run(write(tmp_path / "trail.yaml", *tampered(), escalation(chain()), *chain(namespace="other")))
    assert result.exit_code == 1
    broken, intact, summary, remark, _ = result.stdout.splitlines()
    assert broken.startswith(f"BROKEN  {KEY}")
    assert f"record {ESCALATION}-000002 was changed" in broken
    assert intact.startswith(f"OK      other/{ESCALATION} ")
    assert summary == "1 chain broken, 1 intact."
    assert "1 chain has no noted head" in remark


def test_missing_end_is_shown_by_the_status_in_the_same_file(tmp_path: Path) -> None:
    records = chain()
    assert run(write(tmp_path / "a.yaml", *records[:3])).exit_code == 0
    result = run(write(tmp_path / "b.yaml", *records[:3], escalation(records)))
    assert result.exit_code == 1
    assert f"record {ESCALATION}-000004 is missing: the end is cut off" in result.stdout


def test_head_noted_elsewhere(tmp_path: Path) -> None:
    records = chain()
    file = write(tmp_path / "trail.yaml", *records[:3])
    fitting, late = (f"{n}:{records[n - 1]['spec']['hash']}" for n in (2, 4))
    assert "passes through head 2 of --head" in run(file, "--head", f"{ESCALATION}={fitting}").stdout
    assert run(file, "--head", f"{KEY}={late}", "--head", f"{ESCALATION}={fitting}").exit_code == 1
    wrong = run(file, "--head", f"{ESCALATION}=2:{'0' * 64}")
    assert (wrong.exit_code, "is not the one noted in --head" in wrong.stdout) == (1, True)
    gone = run(file, "--head", f"gone=1:{'0' * 64}")
    assert (gone.exit_code, "record gone-000001 is missing" in gone.stdout) == (1, True)


@pytest.mark.parametrize("head", ["x", "x=1", "x=0:" + "0" * 64, "x=1:abc", "a/b/c=1:" + "0" * 64, "x=1:" + "A" * 64])
def test_head_that_is_none(tmp_path: Path, head: str) -> None:
    result = run(write(tmp_path / "trail.yaml", *chain()), "--head", head)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith(f"error: --head {head}: expected [NAMESPACE/]NAME=SEQUENCE:HASH")


def test_head_for_one_of_two_namespaces_must_say_which(tmp_path: Path) -> None:
    file = write(tmp_path / "trail.yaml", *chain(), *chain(namespace="other"))
    head = f"4:{chain()[-1]['spec']['hash']}"
    result = run(file, "--head", f"{ESCALATION}={head}")
    assert (result.exit_code, f"say which: {KEY}, other/{ESCALATION}" in result.stderr) == (2, True)
    assert run(file, "--head", f"other/{ESCALATION}={head}").exit_code == 0


def test_choice_of_namespace_and_escalation(tmp_path: Path) -> None:
    file = write(tmp_path / "trail.yaml", *tampered(), *chain(namespace="other"), *chain(escalation="second"))
    assert run(file, "-n", "other").exit_code == 0
    assert run(file, "--escalation", "second").exit_code == 0
    assert run(file, "--escalation", ESCALATION).exit_code == 1
    for arguments in (("-n", "none"), ("--escalation", "none"), ("-n", "other", "--escalation", "second")):
        result = run(file, *arguments)
        assert (result.exit_code, result.stdout) == (2, "")
        assert "no record" in result.stderr


def test_json_output(tmp_path: Path) -> None:
    result = run(write(tmp_path / "trail.yaml", *tampered()), "-o", "json")
    assert result.exit_code == 1
    answer = json.loads(result.stdout)
    [found] = answer["chains"]
    assert (answer["intact"], found["intact"], found["length"]) == (False, False, 1)
    assert (found["namespace"], found["escalation"]) == (NAMESPACE, ESCALATION)
    assert (found["firstBadRecord"], found["notedHead"]) == (f"{ESCALATION}-000002", None)
    assert found["head"] == chain()[0]["spec"]["hash"]


def test_stdin_and_json_lines() -> None:
    text = "\n".join(json.dumps(record) for record in chain())
    assert run("-", stdin=text).exit_code == 0
    assert run("-", stdin=text.replace("riskladder", "mallory", 1)).exit_code == 1


@pytest.mark.parametrize("dump", ["list", "documents", "json", "array", "pretty", "single"])
def test_every_shape_of_an_export(tmp_path: Path, dump: str) -> None:
    records = chain()[:1] if dump == "single" else chain()
    file = tmp_path / "export"
    file.write_text(
        {
            "list": lambda: yaml_text.dump(listed(*records)),
            "documents": lambda: "---\n" + yaml_text.dump_all(records, explicit_start=True) + "---\n",
            "json": lambda: json.dumps(listed(*records), indent=4),
            "array": lambda: json.dumps(records),
            "pretty": lambda: "\n".join(json.dumps(r, indent=2, ensure_ascii=False) for r in records),
            "single": lambda: yaml_text.dump(records[0]),
        }[dump]()
    )
    result = run(file, "-o", "json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["chains"][0]["length"] == len(records)


def test_times_without_quotes_keep_their_text(tmp_path: Path) -> None:
    text = yaml_text.dump(listed(*chain()))
    unquoted = text.replace("at: '2026-11-24T06:00:03.120417Z'", "at: 2026-11-24T06:00:03.120417Z")
    assert unquoted != text
    (tmp_path / "trail.yaml").write_text(unquoted)
    assert run(tmp_path / "trail.yaml").exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((), "give either a FILE"),
        (("x.yaml", "--live"), "give either a FILE"),
        (("--live", "-n", "a", "-A"), "give either --namespace or --all-namespaces"),
        (("none.yaml",), "none.yaml: cannot be read: No such file or directory"),
        (("--live", "--kubeconfig", "none.yaml"), "cannot load credentials from kubeconfig none.yaml"),
    ],
)
def test_what_cannot_be_checked(arguments: tuple[str, ...], says: str) -> None:
    result = run(*arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith(f"error: {says}")
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "holds no record"),
        ("kind: Deployment\napiVersion: apps/v1\n", "holds no record; export with: kubectl get escr,esc -A -o json"),
        ("a: [1\nb: 2\n", "line 2, column 2: not YAML"),
        ("a: 1\nb: 2\na: 3\n", 'line 3: key "a" is given twice'),
        ("a: 1\n---\n- [1, 2]: 3\n", "line 3: a key must be text"),
        ("text", "line 1: not a Kubernetes object"),
        ("kind: List\nitems: {a: 1}\n", "line 1: items of a List must be a list"),
        ('{"a": 1,\n"a": 2}', 'line 1 or later: key "a" is given twice'),
        ('{"a": NaN}', "line 1 or later: NaN is not JSON"),
        ('{"a": 1}\n{"b": \n', "line 3, column 1: not JSON"),
        ("a: &a [*a]\n", "line 1: an alias that holds itself"),
        ("[" * 100_000, "nested too deeply"),
        ("a: \x07\n", "line 1: not YAML"),
        ("a: !!python/object:os.system {}\n", "not YAML"),
        ("a: 0x_\nb: !!int x\n", "not YAML"),
        ("\n".join(f"a{n}: &a{n} [{f'*a{n - 1}, ' * 9 if n else '1'}]" for n in range(9)), "aliases swell it to"),
    ],
)
def test_files_that_cannot_be_read(tmp_path: Path, text: str, says: str) -> None:
    file = tmp_path / "trail.yaml"
    file.write_text(text)
    result = run(file)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith(f"error: {file}")
    assert says in result.stderr
    assert result.stderr.count("\n") == 1


def test_binary_and_directory(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"a: \xff\xfe")
    assert "not UTF-8 text" in run(tmp_path / "x").stderr
    assert "cannot be read: Is a directory" in run(tmp_path).stderr


# --- For people ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [40, 80, 120, 200])
def test_lines_fit_the_terminal_and_hashes_stay_whole(width: int) -> None:
    to = Console(file=io.StringIO(), width=width, force_terminal=True, color_system=None)
    results = verify_chains([*tampered(), *chain(namespace="other")])
    command.show(to, results)
    text = to.file.getvalue()  # type: ignore[attr-defined]
    assert max(map(len, text.splitlines())) <= width or width >= 160
    if width >= 80:
        assert f"4:{chain()[-1]['spec']['hash']}" in text


def test_names_cannot_move_the_cursor(tmp_path: Path) -> None:
    records = copy.deepcopy(chain()[:1])
    records[0]["metadata"]["namespace"] = "\x1b[2J[red]models[/red]"
    result = run(write(tmp_path / "trail.yaml", *records))
    assert r"\x1b[2J[red]models[/red]/" in result.stdout
    assert "\x1b" not in result.stdout


@given(st.text())
def test_plain_text_is_one_line_and_readable_text_is_kept(text: str) -> None:
    assert plain(text).isprintable() or any(c in text for c in "\u200c\u200d") or not text.isascii()
    assert len(plain(text).splitlines()) <= 1
    assert plain("Zoë – 數據: 3 μs") == "Zoë – 數據: 3 μs"


# --- Redactions and namespaces ----------------------------------------------------------------------------------------


def redacted(record: Document, *names: str) -> Document:
    spec = record["spec"]
    for name in names:
        del spec["entries"][0]["open"][name]
    fields = [f"entries[0].open.{name}" for name in names]
    spec["redactions"] = [{"at": "2026-12-01T09:00:00Z", "by": "dana", "reason": "Art. 17", "fields": fields}]
    return record


def test_redacted_fields_are_counted_and_the_chain_is_intact(tmp_path: Path) -> None:
    records = chain()
    file = write(
        tmp_path / "trail.yaml", records[0], redacted(records[1], "message"), *records[2:], escalation(records)
    )
    result = run(file)
    assert result.exit_code == 0
    line, summary, redactions, _ = result.stdout.splitlines()
    assert line.endswith("ends at the head of the Escalation in the same file, 1 field redacted")
    assert summary == "1 chain intact, 4 records."
    assert redactions.startswith("1 field redacted: who did it, when and why is in spec.redactions")
    [found] = json.loads(run(file, "-o", "json").stdout)["chains"]
    assert (found["redacted"], found["namespaceUid"]) == (1, NAMESPACE_UID)


def test_exports_from_before_and_after_a_redaction_are_one_chain(tmp_path: Path) -> None:
    before = chain()
    after = [before[0], redacted(copy.deepcopy(before[1]), "message"), *before[2:]]
    files = [write(tmp_path / "before.yaml", *before), write(tmp_path / "after.yaml", *after, escalation(before))]
    for order in (files, files[::-1]):
        result = run(*order)
        assert result.exit_code == 0, result.stdout
        assert "1 chain intact, 4 records." in result.stdout
        assert "1 field redacted" in result.stdout


def test_copy_that_was_changed_is_not_taken_for_a_redacted_one(tmp_path: Path) -> None:
    before, forged = chain(), chain()
    forged[1] = copy.deepcopy(before[1])
    next(iter(forged[1]["spec"]["entries"][0]["open"].values()))["value"] += "."
    files = [write(tmp_path / "before.yaml", *before), write(tmp_path / "forged.yaml", forged[1])]
    for order in (files, files[::-1]):
        result = run(*order)
        assert result.exit_code == 1
        assert "-000002 is there 2 times, with different content" in result.stdout


def test_value_that_is_gone_without_a_redaction_breaks_the_chain(tmp_path: Path) -> None:
    records = chain()
    del records[1]["spec"]["entries"][0]["open"]["message"]
    result = run(write(tmp_path / "trail.yaml", *records))
    assert result.exit_code == 1
    assert "-000002 was changed: entries[0].open.message is missing, and no redaction names it" in result.stdout


def test_records_of_two_namespaces_of_one_name_are_named(tmp_path: Path) -> None:
    result = run(write(tmp_path / "trail.yaml", *chain()[:2], *chain(namespace_uid="uid-of-another")[2:]))
    assert result.exit_code == 1
    assert '-000003 belongs to another namespace of that name: its namespaceUid is "uid-of-another"' in result.stdout


def test_hostile_names_in_open_text_are_escaped(tmp_path: Path) -> None:
    records = chain()
    records[1]["spec"]["entries"][0]["open"]["\x1b[31m\u202e"] = {"salt": "0" * 32, "value": "x"}
    result = run(write(tmp_path / "trail.yaml", *records))
    assert result.exit_code == 1
    assert "\x1b" not in result.stdout
    assert "entries[0].open.\\x1b[31m\\u202e has no commitment" in result.stdout


def test_hashes_are_shown_alike_so_that_they_can_be_compared(tmp_path: Path) -> None:
    changed, moved = tampered(), chain()
    moved[2]["spec"]["previousHash"] = moved[0]["spec"]["hash"]
    moved[2]["spec"]["hash"] = record_hash(moved[2]["spec"])
    opened = chain()
    next(iter(opened[1]["spec"]["entries"][0]["open"].values()))["value"] += "."
    for number, records in enumerate((changed, moved, opened)):
        said = run(write(tmp_path / f"{number}.yaml", *records)).stdout.splitlines()[0]
        assert len(re.findall(r"\b[0-9a-f]{64}\b", said)) >= 3, said
        assert not re.search(r"""["'][0-9a-f]{64}""", said), said


@pytest.mark.parametrize("name", ["verify", "timeline", "redact", "notify", "status", "show", "resume"])
def test_whatever_reads_the_cluster_takes_the_same_credentials(name: str) -> None:
    found = get_command(app).commands[name]  # type: ignore[attr-defined]
    options = {option for param in getattr(found, "commands", {}).get("test", found).params for option in param.opts}
    assert {"--kubeconfig", "--context", "--as", "--as-group"} <= options
