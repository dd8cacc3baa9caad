"""The work queue: containment first, high severity first, one worker a key, and no key that holds others up."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import pytest_asyncio
from structlog.testing import capture_logs

from riskladder.controller import scheduler as module
from riskladder.controller.scheduler import Backoff, Scheduler, Urgent
from tests.patience import PATIENCE
from tests.unit.fakes import Failure, Work

Make = Callable[..., Scheduler[str, int]]


@pytest.fixture
def work() -> Work:
    return Work()


@pytest_asyncio.fixture
async def make(work: Work) -> AsyncIterator[Make]:
    made: list[Scheduler[str, int]] = []

    def build(**options: Any) -> Scheduler[str, int]:
        fast: dict[str, Any] = {
            "quiet": 0.0,
            "contain_backoff": Backoff(0.001, 0.002),
            "trail_backoff": Backoff(0.001, 0.002),
        }
        made.append(Scheduler(decide=work.decide, contain=work.contain, trail=work.trail, **{**fast, **options}))
        return made[-1]

    with capture_logs():
        yield build
        for scheduler in made:
            await scheduler.stop(grace=0)


async def until(condition: Callable[[], object]) -> None:
    """As soon as it holds; ten seconds are for ever."""
    async with asyncio.timeout(PATIENCE):
        while not condition():  # noqa: ASYNC110 - it is what is tested that would have to set an event
            await asyncio.sleep(0.0005)


async def idle(scheduler: Scheduler[str, int]) -> None:
    await until(lambda: not any(scheduler.depth().values()))


# --- Order ------------------------------------------------------------------------------------------------------------


async def test_containment_goes_before_any_trail(make: Make, work: Work) -> None:
    scheduler = make()
    work.wants = {"b": 1}
    scheduler.add("a")
    scheduler.add("b", urgent=True)
    scheduler.activate()
    await idle(scheduler)
    assert work.log == ["contain b", "trail a"]


async def test_trail_waits_while_a_containment_runs_anywhere(make: Make, work: Work) -> None:
    scheduler = make()
    work.wants, done = {"b": 1}, work.block("contain b")
    scheduler.activate()
    scheduler.add("b", urgent=True)
    await until(lambda: work.log)
    scheduler.add("a")
    for _ in range(5):
        await asyncio.sleep(0)
    assert (work.log, scheduler.may_write, scheduler.depth()["trail"]) == (["contain b"], False, 1)
    done.set()
    await idle(scheduler)
    assert work.log == ["contain b", "trail a"]


async def test_high_severity_goes_first_and_equals_in_the_order_they_came(make: Make, work: Work) -> None:
    scheduler = make(containers=1)
    work.wants = {"low": 1, "high": 9, "middle": 5, "high2": 9}
    for key in work.wants:
        scheduler.add(key, urgent=True)
    scheduler.activate()
    await idle(scheduler)
    assert work.log == ["contain high", "contain high2", "contain middle", "contain low"]


async def test_late_but_severe_overtakes_what_waits(make: Make, work: Work) -> None:
    scheduler = make(containers=1)
    work.wants, first = {"first": 1, "low": 1}, work.block("contain first")
    scheduler.activate()
    for key in ("first", "low"):
        scheduler.add(key, urgent=True)
    await until(lambda: work.running)
    work.wants["high"] = 9
    scheduler.add("high", urgent=True)
    await until(lambda: scheduler.depth()["contain"] == 2)
    first.set()
    await idle(scheduler)
    assert work.log == ["contain first", "contain high", "contain low"]


async def test_limits_of_what_runs_at_once(make: Make, work: Work) -> None:
    scheduler = make(containers=2, writers=3)
    work.wants = {f"c{n}": 1 for n in range(5)}
    gates = [work.block(f"contain c{n}") for n in range(5)] + [work.block(f"trail t{n}") for n in range(5)]
    for key in list(work.wants):
        scheduler.add(key, urgent=True)
    scheduler.activate()
    await until(lambda: len(work.running) == 2)
    assert scheduler.depth()["contain"] == 3
    for gate in gates[:5]:
        gate.set()
    await idle(scheduler)
    for n in range(5):
        scheduler.add(f"t{n}")
    await until(lambda: len(work.running) == 3)
    assert scheduler.depth()["trail"] == 2
    for gate in gates[5:]:
        gate.set()
    await idle(scheduler)


# --- One worker a key -------------------------------------------------------------------------------------------------


async def test_asking_twice_is_asking_once(make: Make, work: Work) -> None:
    scheduler = make()
    for _ in range(3):
        scheduler.add("a")
    scheduler.activate()
    await idle(scheduler)
    assert work.log == ["trail a"]


async def test_asked_for_while_it_runs_a_key_runs_once_more_and_never_twice_at_once(make: Make, work: Work) -> None:
    scheduler = make()
    done = work.block("trail a")
    scheduler.activate()
    scheduler.add("a")
    await until(lambda: work.running)
    work.wants["a"] = 1
    for urgent in (False, True, False):
        scheduler.add("a", urgent=urgent)
    await asyncio.sleep(0)
    assert work.log == ["trail a"]
    done.set()
    await idle(scheduler)
    assert work.log == ["trail a", "contain a"], "once, and as urgent as the most urgent of all"
    assert work.most_at_once == {"a": 1}


async def test_change_seen_while_its_trail_is_written_is_looked_at_afterwards(make: Make, work: Work) -> None:
    scheduler = make()
    done = work.block("trail a")
    scheduler.activate()
    scheduler.add("a")
    await until(lambda: work.running)
    scheduler.add("a")
    scheduler.add("b")
    await until(lambda: "trail b" in work.log)
    done.set()
    await idle(scheduler)
    assert work.log == ["trail a", "trail b", "trail a"]


async def test_decision_that_no_longer_wants_it_is_not_carried_out(make: Make, work: Work) -> None:
    scheduler = make(containers=1)
    work.wants, first = {"first": 9, "b": 1}, work.block("contain first")
    scheduler.activate()
    for key in ("first", "b"):
        scheduler.add(key, urgent=True)
    await until(lambda: scheduler.depth()["contain"] == 1)
    del work.wants["b"]
    scheduler.add("b", urgent=True)
    await until(lambda: scheduler.depth()["contain"] == 0)
    first.set()
    await idle(scheduler)
    assert work.log == ["contain first"]


# --- Failing ----------------------------------------------------------------------------------------------------------


def test_backoff_grows_with_jitter_and_is_capped() -> None:
    backoff = Backoff(0.5, 60.0, random.Random(7))
    for failures, ceiling in [(1, 0.5), (2, 1.0), (3, 2.0), (7, 32.0), (8, 60.0), (5000, 60.0)]:
        delays = [backoff.delay(failures) for _ in range(200)]
        assert ceiling / 2 <= min(delays) < 0.6 * ceiling
        assert 0.9 * ceiling < max(delays) <= ceiling


async def test_failed_containment_comes_back_until_it_holds(make: Make, work: Work) -> None:
    scheduler = make()
    work.wants, work.fails = {"a": 1}, {"contain a": Failure()}
    scheduler.activate()
    scheduler.add("a", urgent=True)
    await until(lambda: work.log.count("contain a") == 3)
    del work.fails["contain a"]
    await idle(scheduler)
    assert work.log.count("contain a") == 4
    assert "trail a" in work.log, "what is known of it goes on record between the attempts"


class Counting(Backoff):
    """Notes for how many failures a delay was asked."""

    def __init__(self) -> None:
        super().__init__(0.0005, 0.0005)
        self.asked: list[int] = []

    def delay(self, failures: int) -> float:
        self.asked.append(failures)
        return super().delay(failures)


async def test_backoff_of_a_containment_grows_whatever_its_trail_does(make: Make, work: Work) -> None:
    backoff = Counting()
    scheduler = make(contain_backoff=backoff)
    work.wants, work.fails = {"a": 1}, {"contain a": Failure()}
    scheduler.activate()
    scheduler.add("a", urgent=True)
    await until(lambda: len(backoff.asked) == 4)
    assert "trail a" in work.log
    assert backoff.asked[:4] == [1, 2, 3, 4]
    del work.fails["contain a"]
    await idle(scheduler)
    work.wants, work.fails = {"a": 1}, {"contain a": Failure()}
    del backoff.asked[:]
    scheduler.add("a", urgent=True)
    await until(lambda: backoff.asked)
    assert backoff.asked[0] == 1, "one that held starts again from one"


async def test_failing_key_holds_nobody_up(make: Make, work: Work) -> None:
    scheduler = make(contain_backoff=Backoff(60.0, 60.0))
    work.wants, work.fails = {"bad": 9, "good": 1}, {"contain bad": Failure()}
    scheduler.activate()
    for key in ("bad", "good"):
        scheduler.add(key, urgent=True)
    scheduler.add("other")
    await until(lambda: "trail other" in work.log)
    assert "contain good" in work.log
    assert scheduler.may_write
    assert scheduler.backs_off("bad")
    assert not scheduler.backs_off("good")


async def test_event_about_a_failing_key_brings_it_back_at_once(make: Make, work: Work) -> None:
    scheduler = make(contain_backoff=Backoff(60.0, 60.0))
    work.wants, work.fails = {"a": 1}, {"contain a": Failure()}
    scheduler.activate()
    scheduler.add("a", urgent=True)
    await until(lambda: scheduler.backs_off("a") and not work.running)
    work.fails.clear()
    scheduler.add("a", urgent=True)
    await until(lambda: work.log.count("contain a") == 2)


async def test_server_that_asks_to_wait_is_obeyed(make: Make, work: Work) -> None:
    scheduler = make()
    work.wants, work.fails = {"a": 1}, {"contain a": Failure(retry_after=60)}
    scheduler.activate()
    scheduler.add("a", urgent=True)
    await until(lambda: scheduler.backs_off("a"))
    await asyncio.sleep(0.01)
    assert work.log.count("contain a") == 1


async def test_decision_that_fails_holds_nobody_up(make: Make, work: Work) -> None:
    scheduler = make()
    work.wants, work.fails = {"good": 1}, {"decide bad": ValueError("bug")}
    scheduler.activate()
    scheduler.add("bad", urgent=True)
    scheduler.add("good", urgent=True)
    scheduler.add("other")
    await until(lambda: {"contain good", "trail other"} <= set(work.log))
    work.fails.clear()
    work.wants = {"bad": 1}
    await until(lambda: "contain bad" in work.log)


async def test_failed_trail_comes_back(make: Make, work: Work) -> None:
    scheduler = make()
    work.fails = {"trail a": Failure()}
    scheduler.activate()
    scheduler.add("a")
    await until(lambda: work.log.count("trail a") == 3)
    work.fails.clear()
    await idle(scheduler)


async def test_what_has_failed_holds_nothing_up(make: Make, work: Work) -> None:
    """Neither the trail of others nor, with every slot of its own taken, their containment."""
    scheduler = make(retries=1, containers=1)
    work.wants = {"bad": 9, "worse": 9}
    work.fails = {"contain bad": Failure(), "contain worse": Failure()}
    scheduler.activate()
    scheduler.add("bad", urgent=True)
    scheduler.add("worse", urgent=True)
    await until(lambda: work.log.count("contain bad") > 1 or work.log.count("contain worse") > 1)
    gates = [work.block("contain bad"), work.block("contain worse")]
    await until(lambda: {"bad", "worse"} & set(work.running))
    work.wants["good"] = 1
    scheduler.add("good", urgent=True)
    scheduler.add("other")
    await until(lambda: {"contain good", "trail other"} <= set(work.log))
    work.fails.clear()
    for gate in gates:
        gate.set()
    await idle(scheduler)


async def test_trail_is_written_in_the_longest_storm(make: Make, work: Work, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LONGEST_CLOSED", 0.01)
    scheduler = make(containers=1)
    work.wants = {"first": 1, "next": 1}
    gate = work.block("contain first")
    scheduler.activate()
    for key in ("first", "next"):
        scheduler.add(key, urgent=True)
    scheduler.add("a")
    await until(lambda: "trail a" in work.log)
    assert "contain next" not in work.log
    gate.set()
    await idle(scheduler)


async def test_what_is_of_no_use_is_not_tried_again(make: Make, work: Work) -> None:
    final = Failure()
    final.is_final = True  # type: ignore[attr-defined]
    work.fails = {"trail a": final, "contain b": final}
    work.wants = {"b": 1}
    scheduler = make()
    scheduler.activate()
    scheduler.add("a")
    scheduler.add("b", urgent=True)
    await until(lambda: {"trail a", "contain b"} <= set(work.log) and not work.running)
    assert not any(scheduler.depth().values())
    assert sorted(work.log) == ["contain b", "trail a"]


async def test_stuck_containment_lets_the_trail_of_others_go_on(
    make: Make, work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "STUCK_AFTER", 0.005)
    scheduler = make()
    work.wants = {"stuck": 1}
    work.block("contain stuck")
    scheduler.activate()
    scheduler.add("stuck", urgent=True)
    await until(lambda: work.running)
    scheduler.add("a")
    await until(lambda: "trail a" in work.log)
    assert work.running == ["stuck"]


async def test_containment_that_hangs_gives_up_its_slot(
    make: Make, work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise so many of them as there are slots would keep everything of a lower tier running."""
    monkeypatch.setattr(module, "STUCK_AFTER", 0.005)
    scheduler = make(containers=2)
    bad = [f"bad {number}" for number in range(20)]
    work.wants = dict.fromkeys(bad, 9) | {"good": 1}
    gates = [work.block(f"contain {key}") for key in bad]
    scheduler.activate()
    for key in (*bad, "good"):
        scheduler.add(key, urgent=True)
    scheduler.add("other")
    await until(lambda: {"contain good", "trail other"} <= set(work.log))
    await until(lambda: sorted(work.running) == sorted(bad))
    for gate in gates:
        gate.set()
    await idle(scheduler)


async def test_containments_that_hang_are_bounded(make: Make, work: Work, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "STUCK_AFTER", 0.002)
    monkeypatch.setattr(module, "MOST_STUCK", 3)
    scheduler = make(containers=2)
    bad = [f"bad {number}" for number in range(20)]
    work.wants = dict.fromkeys(bad, 9)
    gates = [work.block(f"contain {key}") for key in bad]
    scheduler.activate()
    for key in bad:
        scheduler.add(key, urgent=True)
    await until(lambda: len(work.running) == 5)
    for _ in range(50):
        await asyncio.sleep(0)
    assert len(work.running) == 5
    for gate in gates:
        gate.set()
    await idle(scheduler)


async def test_trail_on_which_a_containment_depends_waits_for_no_gate(make: Make, work: Work) -> None:
    scheduler = make(containers=1)
    work.wants = {"first": 9, "next": 9}
    gate = work.block("contain first")
    scheduler.activate()
    scheduler.add("first", urgent=True)
    scheduler.add("next", urgent=True)
    scheduler.add("slow")
    scheduler.add("decided", prompt=True)
    await until(lambda: "trail decided" in work.log)
    assert "trail slow" not in work.log
    gate.set()
    await idle(scheduler)
    assert "trail slow" in work.log


async def test_prompt_trail_that_fails_comes_back_as_prompt(make: Make, work: Work) -> None:
    scheduler = make()
    work.wants = {"first": 9}
    gate = work.block("contain first")
    work.fails = {"trail decided": Failure()}
    scheduler.activate()
    scheduler.add("first", urgent=True)
    scheduler.add("decided", prompt=True)
    await until(lambda: work.log.count("trail decided") > 1)
    work.fails.clear()
    await until(lambda: not scheduler.depth()["later"] and not scheduler.depth()["trail"])
    assert work.running == ["first"]
    gate.set()
    await idle(scheduler)


class Clock:
    """Monotonic time that passes only where a decision takes some."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


async def test_key_whose_decisions_take_long_leaves_the_others_their_turn(
    make: Make, work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    scheduler = make()
    decided: list[str] = []
    decide = scheduler._decide

    def slow(key: str) -> Urgent[int] | None:
        decided.append(key)
        clock.now += 2.0 if key == "heavy" else 0.001
        return decide(key)

    scheduler._decide = slow
    scheduler.activate()
    scheduler.add("heavy", urgent=True)
    await until(lambda: decided == ["heavy"])
    scheduler.add("heavy", urgent=True)
    scheduler.add("light", urgent=True)
    await until(lambda: "light" in decided)
    assert decided == ["heavy", "light"]
    assert scheduler.backs_off("heavy"), "it comes back by itself"
    clock.now += 60
    scheduler.add("heavy", urgent=True)
    await until(lambda: decided.count("heavy") == 2)


# --- Later, pause, stop -----------------------------------------------------------------------------------------------


async def test_key_asked_for_later_comes_later(make: Make, work: Work) -> None:
    scheduler = make()
    scheduler.activate()
    scheduler.add("a", after=0.003)
    scheduler.add("a", after=60)
    assert (work.log, scheduler.depth()["later"]) == ([], 1)
    await until(lambda: work.log == ["trail a"])
    await idle(scheduler)


async def test_key_asked_for_now_need_not_come_later_again(make: Make, work: Work) -> None:
    scheduler = make()
    scheduler.activate()
    scheduler.add("a", after=60)
    scheduler.add("a")
    await idle(scheduler)
    assert work.log == ["trail a"]


async def test_nothing_starts_while_paused(make: Make, work: Work) -> None:
    scheduler = make()
    work.wants = {"a": 1}
    scheduler.add("a", urgent=True)
    scheduler.add("b")
    await asyncio.sleep(0.001)
    assert work.log == []
    assert scheduler.age() == 0, "a standby has nothing to do, and waits for years"
    scheduler.activate()
    assert scheduler.age() > 0
    await idle(scheduler)
    assert work.log == ["contain a", "trail b"]
    assert scheduler.age() == 0


async def test_stop_waits_for_what_runs_and_starts_nothing_more(make: Make, work: Work) -> None:
    scheduler = make(writers=1)
    done = work.block("trail a")
    scheduler.activate()
    scheduler.add("a")
    scheduler.add("b")
    scheduler.add("c", after=0.001)
    await until(lambda: work.running == ["a"])
    stopping = asyncio.create_task(scheduler.stop())
    await asyncio.sleep(0.002)
    assert not stopping.done()
    done.set()
    await stopping
    assert (work.log, work.running) == (["trail a"], [])


async def test_stop_gives_up_on_what_hangs(make: Make, work: Work) -> None:
    scheduler = make()
    work.block("trail a")
    scheduler.activate()
    scheduler.add("a")
    await until(lambda: work.running)
    await scheduler.stop(grace=0.002)
    await until(lambda: not work.running)


async def test_trail_waits_for_a_moment_without_urgent_keys(make: Make, work: Work) -> None:
    scheduler = make(quiet=0.02)
    scheduler.activate()
    scheduler.add("written")
    scheduler.add("stormy", urgent=True)
    await until(lambda: not scheduler.depth()["urgent"])
    assert not scheduler.may_write
    assert "trail written" not in work.log
    await until(lambda: "trail written" in work.log)


# --- What hangs -------------------------------------------------------------------------------------------------------


async def test_attempts_that_hang_again_and_again_keep_none_of_a_lower_tier_back(
    make: Make, work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that has failed once comes back among them, and has its turn, however severe they are."""
    monkeypatch.setattr(module, "STUCK_AFTER", 0.002)
    monkeypatch.setattr(module, "MOST_STUCK", 3)
    scheduler = make(retries=1)
    bad = [f"bad {number}" for number in range(12)]
    work.wants = dict.fromkeys(bad, 9) | {"good": 1}
    work.fails = {f"contain {key}": Failure() for key in (*bad, "good")}
    scheduler.activate()
    for key in (*bad, "good"):
        scheduler.add(key, urgent=True)
    await until(lambda: all(work.log.count(f"contain {key}") for key in (*bad, "good")))
    del work.fails["contain good"]

    async def hang(key: str, number: int) -> None:
        work.log.append(f"contain {key}")
        work.running.append(key)
        try:
            if key in bad:
                await asyncio.sleep(0.02)
                raise Failure
        finally:
            work.running.remove(key)

    monkeypatch.setattr(scheduler, "_contain", hang)
    before = work.log.count("contain good")
    await until(lambda: work.log.count("contain good") > before)


async def test_trails_that_hang_keep_no_other_from_being_written(
    make: Make, work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A webhook that never answers for records of one namespace must not mute all the others."""
    monkeypatch.setattr(module, "LONG_TRAIL", 0.005)
    monkeypatch.setattr(module, "MOST_STUCK", 5)
    scheduler = make(writers=2)
    bad = [f"bad {number}" for number in range(5)]
    gates = [work.block(f"trail {key}") for key in bad]
    scheduler.activate()
    for key in (*bad, "good"):
        scheduler.add(key)
    await until(lambda: "trail good" in work.log)
    assert sorted(work.running) == bad
    for gate in gates:
        gate.set()
    await idle(scheduler)


async def test_trails_that_hang_are_bounded(make: Make, work: Work, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LONG_TRAIL", 0.002)
    monkeypatch.setattr(module, "MOST_STUCK", 3)
    scheduler = make(writers=2)
    bad = [f"bad {number}" for number in range(20)]
    gates = [work.block(f"trail {key}") for key in bad]
    scheduler.activate()
    for key in bad:
        scheduler.add(key)
    await until(lambda: len(work.running) == 5)
    await asyncio.sleep(0.02)
    assert len(work.running) == 5
    for gate in gates:
        gate.set()
    await idle(scheduler)
