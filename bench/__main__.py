"""`python -m bench`: see bench/README.md."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from bench.report import Results, machine
from bench.run import Sizes, run, say
from tests.cluster.ending import end_in_order

QUICK = Sizes(
    rounds=1,
    idle=20,
    burst=100,
    standing=300,
    updates_bursts=1,
    quiet_seconds=10,
    audited=3,
    locked=(0, 60),
    replicasets=0,
    monitored=10,
    streamed_seconds=10,
    polled=0,
)


def main() -> int:
    """Return 0 unless something did not work at all: a missed aim is a result, not a failure."""
    full = Sizes()
    parser = argparse.ArgumentParser(prog="python -m bench", description="How fast the operator is, against a floor.")
    parser.add_argument("--rounds", type=int, help=f"rounds of each of the two (default: {full.rounds})")
    parser.add_argument("--idle", type=int, help=f"breaches one at a time (default: {full.idle})")
    parser.add_argument("--burst", type=int, help=f"breaches at once (default: {full.burst})")
    parser.add_argument("--standing", type=int, help=f"standing signals; 0 leaves them out (default: {full.standing})")
    parser.add_argument(
        "--quick", action="store_true", help="one small round, for developers: do not quote its numbers"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all results there, too")
    parser.add_argument("--kubeconfig", type=Path, default=os.environ.get("KUBECONFIG"), help="default: $KUBECONFIG")
    options = parser.parse_args()
    if options.kubeconfig is None:
        parser.error("no cluster: run `make bench`, or give --kubeconfig of a cluster that may be filled with models")
    base = QUICK if options.quick else full
    chosen = {
        name: base_value if getattr(options, name) is None else getattr(options, name)
        for name, base_value in (
            ("rounds", base.rounds),
            ("idle", base.idle),
            ("burst", base.burst),
            ("standing", base.standing),
        )
    }
    sizes = replace(base, **chosen)
    end_in_order()

    began, results = time.monotonic(), Results()
    try:
        with tempfile.TemporaryDirectory(prefix="riskladder-bench-") as directory:
            asyncio.run(run(Path(options.kubeconfig), Path(directory), sizes, results))
    finally:  # what was measured before something failed or was interrupted is worth having, too
        _show(results, sizes, chosen, time.monotonic() - began, options.json)
    return 0


def _show(results: Results, sizes: Sizes, chosen: dict[str, int], seconds: float, file: Path | None) -> None:
    """Print what was measured, and write it where that is wanted."""
    say(f"ended after {seconds / 60:.1f} minutes")
    where = machine()
    print(f"\n{where['date']}, {where['cpu']}, {where['cores']} cores, Python {where['python']}")
    print(
        f"{sizes.rounds} round(s), median [smallest, largest]; "
        f"burst of {sizes.burst}, {sizes.standing} standing signals\n"
    )
    print(results.table())
    if file is not None:
        file.write_text(json.dumps(results.document({**chosen, "seconds": round(seconds)}), indent=2) + "\n")


if __name__ == "__main__":
    raise SystemExit(main())
