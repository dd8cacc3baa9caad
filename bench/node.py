"""`python -m bench.node`: what a client sees of a containment, on a real node, one model at a time.

Every safe state, for Deployments and StatefulSets, with model servers that honor SIGTERM, drain for five seconds, or
ignore it. Needs root and Debian. The operator runs in two pods, and NetworkPolicies are enforced.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict

from bench.report import machine
from riskladder.cluster.client import Client
from riskladder.cluster.connection import connect
from tests.cluster import ClusterError
from tests.cluster.build import print_progress
from tests.cluster.ending import end_in_order, end_with_make
from tests.cluster.node import NodeCluster
from tests.integration.world import TestNamespace
from tests.node.answers import STOPS, Case, Models, Row, table
from tests.node.installation import Installation

ACTIONS = ("ScaleToZero", "Rollback", "Fallback", "Isolate")
KINDS = ("Deployment", "StatefulSet")
ON_TERM = ("honor", "drain", "ignore")
COMPONENTS = ("fallback", "isolate")
PAUSE = 0.02
"""Seconds between two requests of a client."""


def cases() -> list[Case]:
    """Return every case: what a server does on SIGTERM matters only where its pod gets one."""
    return [
        Case(action, kind, on_term)
        for action in ACTIONS
        for kind in KINDS
        for on_term in (ON_TERM if action in STOPS else ON_TERM[:1])
    ]


async def measure(options: argparse.Namespace, node: NodeCluster) -> list[list[Row]]:
    """Return the rows of each case, one a round."""
    connection = await connect(str(node.kubeconfig), namespace="riskladder-system", agent="bench")
    try:
        client = Client(connection)
        installation = Installation(node, client)
        await installation.use(components=COMPONENTS)
        wanted = [case for case in cases() if case.action in (options.only or ACTIONS)]
        found: list[list[Row]] = [[] for _ in wanted]
        for number in range(options.rounds):
            for case, rows in zip(wanted, found, strict=True):
                name = f"bench-{number}-{case.action}-{case.name}".lower()
                async with TestNamespace(client, name) as world:
                    models = Models(
                        world, node.kubeconfig, [case], replicas=options.replicas, grace=options.grace, pause=PAUSE
                    )
                    await models.serve()
                    rows += await models.contain()
                print_progress(f"round {number + 1} of {options.rounds}: {table(rows[-1:])[2]}")
        return found
    finally:
        await connection.close()


def median(rows: Sequence[Row]) -> Row:
    """Return one row of the medians; what went on in any round still goes on."""
    one = Row(rows[0].case, goes_on=set().union(*(row.goes_on for row in rows)))
    for name in ("written", "new", "kept"):
        seconds = [getattr(row, name) for row in rows if getattr(row, name) is not None]
        setattr(one, name, statistics.median(seconds) if seconds else None)
    for name in rows[0].recorded:
        one.recorded[name] = statistics.median(row.recorded[name] for row in rows if name in row.recorded)
    return one


def main() -> int:
    """Return the exit code: 1 where there can be no real node."""
    parser = argparse.ArgumentParser(prog="python -m bench.node", description=__doc__)
    parser.add_argument("--rounds", type=int, default=1, help="how often each case is run (default: %(default)s)")
    parser.add_argument("--replicas", type=int, default=3, help="pods of a model (default: %(default)s)")
    parser.add_argument(
        "--grace", type=int, default=30, help="seconds that a pod may take to end (default: %(default)s)"
    )
    parser.add_argument("--only", choices=ACTIONS, action="append", help="this safe state only; repeatable")
    parser.add_argument("--json", type=argparse.FileType("w"), help="write every round to this file")
    options = parser.parse_args()
    if min(options.rounds, options.replicas, options.grace) < 1:
        parser.error("--rounds, --replicas and --grace are 1 at least")
    end_in_order()
    end_with_make()
    started = time.monotonic()
    try:
        with NodeCluster(policies=True, progress=print_progress) as node:
            found = asyncio.run(measure(options, node))
    except ClusterError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    if options.json:
        json.dump([[asdict(row) for row in rows] for rows in found], options.json, default=sorted)
    where = machine()
    print(f"\n{where['date']}, {where['cpu']}, {where['cores']} cores, one real node")
    print(
        f"{options.rounds} round(s), {options.replicas} replicas, grace period {options.grace} s; median, in seconds\n"
    )
    print("\n".join(table([median(rows) for rows in found])))
    print(f"\nDone in {time.monotonic() - started:.0f} s.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
