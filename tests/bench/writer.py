"""Writes as an engine does with much to tell: 20 commits a second of 10 changed VMs each, until it is killed.

`python -m tests.bench.writer STATE_DIR`; says `writing` once it does.
"""

from __future__ import annotations

import itertools
import sys
import time
from pathlib import Path

from cloudsched.store import Store, vms

COMMITS, CHANGES = 20, 10


def main(state_dir: str) -> int:
    """See the module."""
    store = Store.open(f"sqlite:///{state_dir}/state.db", Path(state_dir))
    with store.reading() as connection:
        uids = itertools.cycle([vm.uid for vm in vms.all_vms(connection)])
    sys.stdout.write("writing\n")
    sys.stdout.flush()
    due = time.monotonic()
    for number in itertools.count():
        changed = [{"uid": next(uids), "errorcount": number} for _ in range(CHANGES)]
        with store.writing() as writing:
            vms.record_fields(writing, changed)
        due += 1 / COMMITS
        time.sleep(max(0.0, due - time.monotonic()))
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
