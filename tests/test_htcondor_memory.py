"""Machines that a collector does not know yet."""

from __future__ import annotations

from cloudsched.batch.htcondor_ads import Ad
from cloudsched.batch.htcondor_memory import Memory, Startds, whole
from cloudsched.model.jobs import Machine


def slot(name: str, vm: str = "", **fields: object) -> Machine:
    machine = name.rpartition("@")[2]
    return Machine(name, machine, vm=vm or machine, **fields)  # type: ignore[arg-type]


ONE, TWO = slot("slot1@a"), slot("slot1@b")


def test_a_restarted_collector_gets_time_to_hear_of_machines() -> None:
    now = [0.0]
    memory = Memory(60.0, lambda: now[0])
    assert memory.completed([ONE, TWO], 1000) == [ONE, TWO]
    assert memory.completed([ONE], 1001) == [ONE]
    assert memory.completed([ONE, TWO], 1000) == [ONE, TWO]
    assert memory.completed([], None) == [ONE, TWO]
    assert memory.completed([], 2000) == [ONE, TWO]
    now[0] += 59
    assert memory.completed([TWO], 2000) == [TWO, ONE]
    now[0] += 2
    assert memory.completed([TWO], 2000) == [TWO]


def test_what_is_known_to_be_gone_is_not_waited_for() -> None:
    memory = Memory(60.0, lambda: 0.0)
    memory.completed([ONE, TWO], 1000)
    memory.forget(["a"])
    assert memory.completed([], 2000) == [TWO]
    memory.forget(["b"])
    assert memory.completed([], 2000) == []


def test_an_empty_answer_is_believed_the_fourth_time() -> None:
    memory = Memory(60.0, lambda: 0.0)
    assert memory.completed([], None) == []
    memory.completed([ONE], None)
    assert [memory.completed([], None) for _ in range(4)] == [[ONE], [ONE], [ONE], []]


def test_a_parent_stands_for_children_that_have_not_advertised() -> None:
    parent = slot("slot1@a", slot_type="Partitionable", total_slots=2)
    child = slot("slot1_1@a", slot_type="Dynamic", total_slots=2, state="Claimed")
    empty = slot("slot1@b", slot_type="Partitionable", total_slots=1)
    assert whole([parent, child, empty]) == [parent, child, empty]
    (alone,) = whole([parent])
    assert (alone.state, alone.activity, alone.total_slots) == ("Claimed", "Busy", 1)


def ad(name: str, started: int, heard: int, machine: str = "vm-1.lab") -> Ad:
    return {"name": name, "machine": machine, "daemonstarttime": started, "lastheardfrom": heard}


def test_a_startd_that_died_says_nothing_beside_its_successor() -> None:
    startds = Startds()
    dead, parent = ad("slot1_1", 100, 190), ad("slot1", 100, 195)
    other = ad("slot1", 50, 60, "vm-2.lab")
    assert startds.speaking([dead, parent, other]) == [dead, parent, other]
    successor = ad("slot1", 200, 210)
    assert startds.speaking([dead, successor, other]) == [successor, other]
    assert startds.speaking([dead, other]) == [other], "the successor has left in order"
    assert startds.speaking([other]) == [other]


def test_a_startd_is_followed_whatever_its_clock_says() -> None:
    startds = Startds()
    ahead = ad("slot1", 9000, 100)
    assert startds.speaking([ahead]) == [ahead]
    behind = ad("slot1", 200, 210)
    assert startds.speaking([behind]) == [behind]


def test_startds_that_do_not_say_when_they_started_are_all_believed() -> None:
    ads: list[Ad] = [{"name": "slot1", "machine": "vm-1.lab"}, {"name": "slot2", "machine": "vm-1.lab"}]
    assert Startds().speaking(ads) == ads
