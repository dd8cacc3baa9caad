"""`python -m riskladder.generate [--check]`: write what is generated from the code, or say what is out of date."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from riskladder.generate import components, crd, lock, olm, operator_policy, rbac, reference, shipped_policies
from riskladder.generate.helm import files as helm
from riskladder.generate.monitoring import component as monitoring
from riskladder.generate.monitoring import reference as monitoring_page
from riskladder.generate.text import HEADER
from riskladder.report import json_form


def files(root: Path) -> dict[Path, str]:
    """Return every generated file of a checkout, with its text."""
    manifests = root / "manifests"
    generated = {
        "lock.yaml": HEADER.format(source="generate/lock.py") + lock.policy(),
        "operator.yaml": HEADER.format(source="generate/operator_policy.py") + operator_policy.policy(),
    }
    shipped = shipped_policies.module(shipped_policies.texts(root, generated.values()))
    texts = {
        **{root / "crds" / name: text for name, text in crd.files().items()},
        manifests / "base" / "rbac.yaml": rbac.rbac(),
        manifests / "components" / "ingest" / "rbac.yaml": rbac.ingest(),
        manifests / "components" / "poll" / "rbac.yaml": rbac.poll(),
        manifests / "components" / "console-impersonation" / "rbac.yaml": rbac.console_acting(),
        **{manifests / "policies" / name: text for name, text in generated.items()},
        root / "operator" / "riskladder" / "cluster" / "shipped_policies.py": shipped,
        **{
            manifests / "components" / name / "kustomization.yaml": text
            for name, text in components.components().items()
        },
        **{manifests / "components" / "monitoring" / name: text for name, text in monitoring.files().items()},
        root / "docs" / "reference" / "api.md": reference.reference(),
        root / "docs" / "reference" / "monitoring.md": monitoring_page.reference(),
        root / "docs" / "reference" / "report.schema.json": json_form.schema(),
    }
    return texts | helm.files(root, texts) | olm.files(root, texts)


def write_or_check(wanted: dict[Path, str], *, check: bool) -> list[Path]:
    """Write the files, or only compare; return those that differed."""
    stale = [path for path, text in wanted.items() if not path.is_file() or path.read_text("utf-8") != text]
    if not check:
        for path in stale:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(wanted[path], "utf-8")
    return stale


def run(wanted: dict[Path, str], *, check: bool) -> int:
    """Run the generators; return 1 when a check found a difference, which is named on stderr."""
    stale = write_or_check(wanted, check=check)
    for path in stale:
        print(f"{path}: {'out of date, run `make generate`' if check else 'written'}", file=sys.stderr)
    return 1 if check and stale else 0


def main(arguments: list[str] | None = None) -> int:
    """Return the exit code: 1 where `--check` found a file that is out of date."""
    parser = argparse.ArgumentParser(prog="python -m riskladder.generate", description=__doc__)
    parser.add_argument("--root", type=Path, default=Path(), help="the checkout (default: the current directory)")
    parser.add_argument("--check", action="store_true", help="change nothing; exit 1 when a file is out of date")
    options = parser.parse_args(arguments)
    return run(files(options.root), check=options.check)


if __name__ == "__main__":
    sys.exit(main())
