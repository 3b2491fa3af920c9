"""Wishes that come while a plan is made: answered before it goes on, and never contradicted by what it does then."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from typing import Any

import pytest
from engine_bench import World, waiting

from cloudsched.config.options import Global, JobDefaults
from cloudsched.engine import loop
from cloudsched.model.snapshot import Snapshot
from cloudsched.model.wishes import Operation
from cloudsched.policy.outlook import stages
from cloudsched.store import Store, verbs, wishes

BY = wishes.By("tester")
PIECES = len(list(stages(Snapshot(1, 0, jobs_known=True, machines_known=True), Global(), JobDefaults())))


@pytest.fixture
def world(store: Store) -> Iterator[World]:
    yield World(store)


@pytest.fixture
def between(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[int], None]], None]:
    """Have something happen after each piece of a plan, before the engine hears of the piece; it gets the number."""

    def arrange(happen: Callable[[int], None]) -> None:
        def interrupted(*about: Any) -> Generator[Any, None, None]:
            for number, piece in enumerate(stages(*about)):
                happen(number)
                yield piece

        monkeypatch.setattr(loop, "stages", interrupted)

    return arrange


@pytest.mark.parametrize("when", range(PIECES))
def test_a_cloud_disabled_while_a_plan_is_made_boots_nothing(world: World, between: Any, when: int) -> None:
    world.cloud()
    built = world.build()
    asked: list[Operation] = []
    seen_done: list[bool] = []

    def disable(number: int) -> None:
        if asked:
            seen_done.append(world.done(asked[0]) is not None)
        elif number == when and world.jobs():
            asked.append(verbs.wish_enabled(world.store, BY, "mouse", enabled=False))

    waiting(world, built, 3)
    between(disable)
    built.until(lambda: asked and world.done(asked[0]), "the wish is answered")
    assert all(seen_done)
    assert world.vms() == []
    between(lambda _: None)
    verbs.wish_enabled(world.store, BY, "mouse", enabled=True)
    built.until(lambda: len(world.vms()) == 3, "the next plan boots")


def test_who_asks_all_the_time_keeps_the_engine_from_nothing(world: World, between: Any) -> None:
    world.cloud()
    world.cloud("cat", enabled=False)
    built = world.build()
    waiting(world, built, 3)
    between(lambda number: verbs.wish_enabled(world.store, BY, "cat", enabled=bool(number % 2)))
    built.until(lambda: len([vm for vm in world.vms() if vm.cloud == "mouse"]) == 3, "VMs are booted all the same")
