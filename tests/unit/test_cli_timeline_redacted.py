"""What `riskladder timeline` shows of the first record, of credentials, and of what was redacted."""

from __future__ import annotations

import json
from pathlib import Path

from riskladder.cluster.ledger import LedgerEntry
from tests.trails import ENTRIES, ESCALATION, OPENED, UID, chain, escalation
from tests.unit.test_cli_timeline import HOSTILE, run, write


def test_what_was_redacted_says_so_and_the_rest_is_shown(tmp_path: Path) -> None:
    vote = LedgerEntry(
        "Commented",
        f"{UID}/decision/d1",
        OPENED,
        "ana",
        {"decision": "d1", "rationale": "Eva Example said so", "message": "ana as legal: Comment"},
    )
    records = chain([*ENTRIES, vote])
    spec = records[4]["spec"]
    del spec["entries"][0]["open"]["rationale"]
    said = {"at": "2026-12-01T09:00:00Z", "by": "dana", "reason": "Art. 17", "fields": ["entries[0].open.rationale"]}
    spec["redactions"] = [said]
    file = write(tmp_path / "trail.yaml", *records, escalation(records))
    result = run(ESCALATION, file)
    assert result.exit_code == 0
    text = " ".join(result.stdout.split())
    assert "why redacted decision d1 redacted rationale, by dana at 2026-12-01T09:00:00Z: Art. 17" in text
    assert "Chain verified, 5 records, ends at the head of the Escalation in the same file, 1 field redacted" in text
    assert "Eva Example" not in text
    last = json.loads(run(ESCALATION, file, "-o", "json").stdout)["records"][-1]
    assert last["detail"]["rationale"] == "redacted"
    assert last["redacted"] == {"rationale": {"by": "dana", "at": "2026-12-01T09:00:00Z", "reason": "Art. 17"}}


def test_hostile_redaction_is_text_and_one_that_is_missing_is_said(tmp_path: Path) -> None:
    vote = LedgerEntry("Commented", "k", OPENED, "ana", {"rationale": "r", "lessons": "l", "message": "m"})
    records = chain([vote])
    spec = records[0]["spec"]
    spec["entries"][0]["open"] = {}
    said = {"at": HOSTILE, "by": HOSTILE, "reason": HOSTILE, "fields": ["entries[0].open.rationale"]}
    spec["redactions"] = ["nonsense", {"fields": None}, said]
    file = write(tmp_path / "trail.yaml", *records)
    for output in ("table", "markdown", "json"):
        result = run(ESCALATION, file, "-o", output)
        assert (result.exit_code, "\x1b" in result.stdout, "\u202e" in result.stdout) == (1, False, False)
    text = " ".join(run(ESCALATION, file).stdout.split())
    assert "redacted lessons, message, and no redaction says so" in text


def test_opening_shows_thresholds_samples_and_the_model(tmp_path: Path) -> None:
    more = {
        "threshold.demographic_parity_difference": "above 0.2",
        "sampleSize.demographic_parity_difference": "5000",
        "window.demographic_parity_difference": "24h",
        "evidence.demographic_parity_difference": "s3://reports/1",
        "model": "credit-scorer",
        "modelVersion": "2026.11.3",
        "owners": "olga, otto",
        "modelCard": "https://models.example/credit",
    }
    first = LedgerEntry(ENTRIES[0].event, ENTRIES[0].key, OPENED, "riskladder", {**ENTRIES[0].detail, **more})
    text = " ".join(run(ESCALATION, write(tmp_path / "x", *chain([first]))).stdout.split())
    assert (
        "readings demographic_parity_difference 0.240878 (above 0.2, 5000 samples, over 24h, s3://reports/1)," in text
    )
    assert "model credit-scorer 2026.11.3, owned by olga, otto, https://models.example/credit" in text


def test_decision_shows_how_its_author_was_authenticated(tmp_path: Path) -> None:
    detail = {"decision": "d1", "rationale": "r", "groups": "legal, staff", "credential": "JTI=0b1c", "message": "m"}
    text = run(
        ESCALATION, write(tmp_path / "x", *chain([LedgerEntry("Acknowledged", "k", OPENED, "ana", detail)]))
    ).stdout
    assert "authenticated groups legal, staff, credential JTI=0b1c" in " ".join(text.split())
    assert "detail" not in text
