"""Thousands of signals on one target: work grows with their number and no faster, and the event loop goes on."""

from __future__ import annotations

import asyncio
import threading
from datetime import timedelta
from typing import Any

import pytest

from riskladder.cluster.resources import SIGNALS
from riskladder.controller import fair
from riskladder.controller.caches.signals import MANY_SIGNALS
from riskladder.controller.fair import SLICE, decided, in_slices
from riskladder.policy.decide import decide
from riskladder.policy.signals import evaluate
from riskladder.policy.snapshot import Snapshot

from .builders import KEY, NOW, Scene, signal, signal_document
from .fakes import Cache


def reporting(sources: int) -> Scene:
    """So many sources, each of which reports for itself and is judged."""
    signals = [
        signal(f"s{n:05d}", source=f"monitor-{n}", at=NOW - timedelta(seconds=n), bias=0.05) for n in range(sources)
    ]
    scene = Scene(signals)
    scene.run()
    return scene


def test_work_grows_with_the_number_of_sources_and_not_with_its_square(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = 0
    rank = evaluate.rank

    def counted(*arguments: Any) -> int:
        nonlocal calls
        calls += 1
        return rank(*arguments)

    monkeypatch.setattr(evaluate, "rank", counted)
    needed = []
    for sources in (50, 200):
        scene, calls = reporting(sources), 0
        decide(scene.snapshot(), NOW)
        needed.append(calls)
    assert needed[1] <= 5 * max(needed[0], 1)


def test_nothing_is_written_of_signals_that_say_the_same() -> None:
    plan = decide(reporting(20).snapshot(), NOW + timedelta(minutes=1))
    assert plan.signals == ()


async def test_event_loop_gets_its_turn_between_slices() -> None:
    done, turns = 0, 0

    def piece() -> None:
        nonlocal done
        done += 1

    async def others() -> None:
        nonlocal turns
        while done < 10 * SLICE:
            turns += 1
            await asyncio.sleep(0)

    await asyncio.gather(in_slices([piece] * (10 * SLICE)), others())
    assert turns >= 9


async def test_plan_of_many_signals_is_made_in_a_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    threads = []

    def noted(snapshot: Snapshot, now: Any) -> Any:
        threads.append(threading.current_thread() is threading.main_thread())
        return decide(snapshot, now)

    monkeypatch.setattr(fair, "decide", noted)
    scene = reporting(fair.MANY_SIGNALS)
    assert (await decided(scene.snapshot(), NOW)).signals == ()
    scene.signals = scene.signals[1:]
    await decided(scene.snapshot(), NOW)
    assert threads == [False, True]


def test_signal_that_is_wrong_is_found_though_its_models_are_kept() -> None:
    cache = Cache()
    for n in range(MANY_SIGNALS):
        cache.new(SIGNALS, f"s{n:03d}", signal_document(source=f"m{n}", bias=0.3))
    wrong = signal_document(source="late", bias=0.3) | {"observedAt": "1999-01-01T00:00:00Z"}
    cache.new(SIGNALS, "wrong", wrong)
    cache.store.snapshot(KEY, thorough=False)
    for piece in cache.store.unchecked(KEY):
        piece()
    found = {s.name: s for s in cache.store.snapshot(KEY, thorough=True).signals}
    assert found["wrong"].spec is None
    assert "years 2000 to 2199" in " ".join(found["wrong"].problems)
    assert found["s000"].spec is not None
    assert list(cache.store.unchecked(KEY)) == []
