"""What is followed is what is recorded, and stays the same object where nothing has changed."""

from __future__ import annotations

import random
from dataclasses import replace

from cloudsched.model.vms import VM
from cloudsched.store import Store, retention, vms
from cloudsched.store.connect import state_row


def test_following_shows_what_is_committed(store: Store) -> None:
    following, chosen, position = vms.following(), random.Random(3), 0
    for round_ in range(80):
        with store.writing() as writing:
            seen = vms.all_vms(writing.connection)
            if round_ % 2:
                following.all(writing.connection, state_row(writing.connection))
            uids = [vm.uid for vm in seen]
            for _ in range(chosen.randrange(4)):
                position += 1
                vms.record_vms(writing, [VM(f"u{chosen.randrange(20)}", "c", position=position, memory=round_)])
            vms.record_fields(writing, [{"uid": uid, "memory": round_} for uid in uids if chosen.random() < 0.2])
            vms.forget(writing, [uid for uid in uids if chosen.random() < 0.1])
            if round_ % 2:
                # What is being written is not seen, however often somebody looks meanwhile.
                assert list(following.all(writing.connection, state_row(writing.connection))) == seen
            if chosen.random() < 0.1:
                retention.forget_everything(writing)
        if chosen.random() < 0.7:
            with store.reading() as connection:
                assert list(following.all(connection, state_row(connection))) == vms.all_vms(connection)


def test_following_keeps_what_has_not_changed(store: Store) -> None:
    following = vms.following()
    with store.writing() as writing:
        vms.record_vms(writing, [VM("a", "c", position=1), VM("b", "c", position=2)])
    with store.reading() as connection:
        before = following.all(connection, state_row(connection))
        assert following.all(connection, state_row(connection)) is before
    with store.writing() as writing:
        vms.record_vms(writing, [replace(before[1], memory=7)])
    with store.reading() as connection:
        after = following.all(connection, state_row(connection))
    assert after[0] is before[0]
    assert after[1] == replace(before[1], memory=7)
