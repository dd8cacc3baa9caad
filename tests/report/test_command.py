"""`riskladder report` and `riskladder export`."""

from __future__ import annotations

import gzip
import io
import json
import shlex
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from riskladder.cli import source
from riskladder.cli.main import app
from riskladder.people.text import parse_since
from riskladder.report import pdf as pdf_module
from tests.report.golden import ARCHIVE, PLACE, histories, key, objects
from tests.unit.test_docs import ROOT, blocks

PERIOD = ("--since", "2026-01-01T00:00:00Z", "--until", "2027-01-01T00:00:00Z")
A = "scorer-049311d9f5"


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [*map(str, arguments)])


@lru_cache(maxsize=1)
def packed() -> bytes:
    """The archive of the year, made once by the command."""
    with tempfile.TemporaryDirectory() as place:
        (Path(place) / "export.json").write_text(listed())
        assert run("export", f"{place}/{ARCHIVE}", f"{place}/export.json").exit_code == 0
        return (Path(place) / ARCHIVE).read_bytes()


@lru_cache(maxsize=1)
def listed() -> str:
    """The year as kubectl writes it."""
    return json.dumps({"kind": "List", "items": objects()})


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An export by kubectl, in the present directory."""
    monkeypatch.chdir(tmp_path)
    path = Path("export.json")
    path.write_text(listed())
    return path


@pytest.fixture
def archive(file: Path) -> str:
    """The archive of it."""
    Path(ARCHIVE).write_bytes(packed())
    return ARCHIVE


def test_report_on_an_escalation_from_an_archive(archive: str) -> None:
    done = run("report", A, archive)
    assert (done.exit_code, done.stderr) == (0, "")
    assert done.stdout == (PLACE / "contained.md").read_text("utf-8")
    assert run("report", A, archive, "-o", "html").stdout == (PLACE / "contained.html").read_text("utf-8")
    form = run("report", A, archive, "--form", "ai-act-73-initial").stdout
    assert form == (PLACE / "article-73.md").read_text("utf-8")


def test_report_on_a_period_from_an_archive(archive: str) -> None:
    done = run("report", *PERIOD, archive)
    assert (done.exit_code, done.stderr) == (0, "")
    assert done.stdout == (PLACE / "period.md").read_text("utf-8")
    answer = json.loads(run("report", *PERIOD, "--ladder", "fraud", archive, "-o", "json").stdout)
    assert (answer["period"]["opened"], answer["escalations"][0]["name"]) == (1, key("j").escalation)


def test_report_goes_to_a_file(archive: str) -> None:
    assert run("report", A, archive, "-o", "html", "--to", "x.html").stdout == ""
    assert Path("x.html").read_text("utf-8") == (PLACE / "contained.html").read_text("utf-8")
    failed = run("report", A, archive, "--to", "none/x.md")
    assert (failed.exit_code, failed.stderr) == (2, "error: none/x.md: No such file or directory\n")


def test_broken_chain_is_reported_on_and_has_its_exit_code(file: Path) -> None:
    text = file.read_text().replace('"I am looking into it"', '"I have never seen it"')
    file.write_text(text)
    done = run("report", A, file)
    assert done.exit_code == 1
    assert "The chain is BROKEN" in done.stdout


def test_pdf_without_typst_names_the_extra(archive: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "typst", None)
    done = run("report", A, archive, "-o", "pdf", "--to", "x.pdf")
    assert (done.exit_code, done.stderr) == (2, f"error: {pdf_module.EXTRA}\n")
    assert not Path("x.pdf").exists()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((), "give either the NAME of an Escalation or --since"),
        (("x", ARCHIVE, "--since", "90d"), "give either the NAME of an Escalation or --since"),
        (("x", ARCHIVE, "--until", "1d"), "--until, --ladder and --all-namespaces are about a period: give --since"),
        (("--since", "90d", "--form", "ai-act-73-initial"), "--form is about one escalation: give its NAME"),
        (("--since", "90d", "-A", "-n", "x"), "give either --namespace or --all-namespaces"),
        (("--since", "1d", "--until", "2d", ARCHIVE), "--since has to be before --until"),
        (("--since", "long ago", ARCHIVE), "'long ago' is not a date such as 2026-12-01, a time such as"),
        (("none", ARCHIVE), "no record of an escalation none; there are: "),
    ],
)
def test_wrong_use_is_explained(archive: str, arguments: tuple[str, ...], says: str) -> None:
    done = run("report", *arguments)
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.startswith(f"error: {says}")


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("90d", datetime(2026, 9, 1, tzinfo=UTC)),
        ("2026-02-01", datetime(2026, 2, 1, tzinfo=UTC)),
        ("2026-02-01T12:00:00+01:00", datetime(2026, 2, 1, 11, tzinfo=UTC)),
    ],
)
def test_since(text: str, at: datetime) -> None:
    assert parse_since(text, datetime(2026, 11, 30, tzinfo=UTC), UTC) == at


@pytest.mark.parametrize("text", ["", "2026-02-30", "yesterday", "2026-13-01T00:00:00Z", "99999999999d"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no"):
        parse_since(text, datetime(2026, 11, 30, tzinfo=UTC), UTC)


# --- The archive ------------------------------------------------------------------------------------------------------


def test_archive_of_the_same_objects_is_the_same_file(file: Path, archive: str) -> None:
    first = Path(archive).read_bytes()
    turned = json.dumps({"kind": "List", "items": [*objects()[::-1], *objects()[:40]]})
    file.write_text(turned)
    for given in (file, archive):
        assert run("export", "again.tar.gz", given).exit_code == 0
        assert Path("again.tar.gz").read_bytes() == first


def test_archive_can_be_verified_and_read(archive: str) -> None:
    done = run("verify", archive, "-o", "json")
    assert (done.exit_code, len(json.loads(done.stdout)["chains"])) == (0, 11)
    assert run("timeline", A, archive).exit_code == 0
    with tarfile.open(archive) as tar:
        manifest = json.load(tar.extractfile("manifest.json") or io.BytesIO())
    heads = {(c["escalation"], c["records"], c["head"]) for c in manifest["chains"]}
    assert heads == {(c["escalation"], c["length"], c["head"]) for c in json.loads(done.stdout)["chains"]}
    counts = {name: about["objects"] for name, about in manifest["files"].items()}
    kinds = {
        "records.json": "EscalationRecord",
        "escalations.json": "Escalation",
        "decisions.json": "EscalationDecision",
    }
    for name, kind in kinds.items():
        assert counts[name] == sum(obj["kind"] == kind for obj in objects())
    assert counts["ladders.json"] == 2


def test_archive_of_a_period_has_whole_chains_and_what_belongs_to_them(file: Path) -> None:
    opened = histories()[0].opened[A]
    since, until = opened + timedelta(minutes=10), opened + timedelta(minutes=20)
    done = run("export", "some.tar.gz", file, "--since", since.isoformat(), "--until", until.isoformat())
    records = len(histories()[0].records[A])
    assert done.stdout.startswith(
        f"some.tar.gz: {records} EscalationRecords, 1 Escalation, 8 EscalationDecisions, 1 Esc"
    )
    assert run("verify", "some.tar.gz").exit_code == 0
    quiet = ("--since", "2026-11-20T00:00:00Z", "--until", "2026-12-01T00:00:00Z")
    still_open = run("export", "open.tar.gz", file, *quiet)
    assert "1 Escalation, 2 EscalationDecisions, 1 EscalationLadder" in still_open.stdout, "a risk is accepted in it"
    assert key("j").escalation in run("verify", "open.tar.gz").stdout
    only = run("export", "fraud.tar.gz", file, "--ladder", "fraud")
    assert "1 Escalation, 2 EscalationDecisions, 1 EscalationLadder" in only.stdout
    none = run("export", "none.tar.gz", file, "--since", "2020-01-01T00:00:00Z", "--until", "2020-01-02T00:00:00Z")
    assert (none.exit_code, none.stderr) == (2, "error: no record is in that period\n")
    assert not Path("none.tar.gz").exists()


def rewritten(archive: str, **changed: bytes | None) -> Path:
    """The archive with other files in it."""
    with tarfile.open(archive) as tar:
        files = {m.name: (tar.extractfile(m) or io.BytesIO()).read() for m in tar.getmembers()}
    files |= {name.replace("_", "."): text for name, text in changed.items()}  # type: ignore[misc]
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w:gz") as tar:
        for name, text in files.items():
            if text is not None:
                member = tarfile.TarInfo(name)
                member.size = len(text)
                tar.addfile(member, io.BytesIO(text))
    Path("changed.tar.gz").write_bytes(made.getvalue())
    return Path("changed.tar.gz")


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"records_json": b"{}"}, "records.json is not the one that manifest.json describes: its SHA-256 differs"),
        ({"records_json": None}, "records.json is there or in manifest.json, and not in both"),
        ({"manifest_json": None}, "it has no readable manifest.json: write it with riskladder export"),
        ({"manifest_json": b"[]"}, "it has no readable manifest.json: write it with riskladder export"),
        ({"more_json": b"{}"}, "it holds 'more.json', which no export does"),
    ],
)
def test_archive_that_was_changed_is_refused(archive: str, changed: dict[str, bytes | None], says: str) -> None:
    done = run("verify", rewritten(archive, **changed))
    assert (done.exit_code, done.stderr) == (2, f"error: changed.tar.gz: {says}\n")


@pytest.mark.parametrize(
    "raw", [b"\x1f\x8b", gzip.compress(b"no tar file"), gzip.compress(b"")], ids=["cut", "text", "empty"]
)
def test_what_is_gzipped_and_no_archive_is_refused(tmp_path: Path, raw: bytes) -> None:
    (tmp_path / "x").write_bytes(raw)
    done = run("verify", tmp_path / "x")
    assert done.exit_code == 2
    assert done.stderr.startswith(f"error: {tmp_path / 'x'}: it ")


# --- The page ---------------------------------------------------------------------------------------------------------


def commands() -> Iterator[list[str]]:
    for block in blocks(ROOT / "docs/report.md", "console"):
        for line in block.text.splitlines():
            if line.startswith("$ riskladder "):
                yield shlex.split(line.removeprefix("$ riskladder "))


def test_every_command_of_the_page_runs(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In order, in one directory; what is exported from the cluster is the year."""
    monkeypatch.setattr(source, "everything_on", lambda access, namespace, everywhere: objects())
    monkeypatch.setattr(pdf_module, "_compiler", lambda: lambda text, **options: b"%PDF-" + text)
    found = list(commands())
    assert len(found) >= 8
    for words in found:
        done = run(*words)
        assert (done.exit_code, done.stderr) == (0, ""), words
    page = (ROOT / "docs/report.md").read_text("utf-8")
    exported = next(words for words in found if words[0] == "export")
    assert run(*exported).stdout in page
    for name in ("scorer.html", "scorer.pdf", "2026.html", "initial.html"):
        assert Path(name).stat().st_size > 0
