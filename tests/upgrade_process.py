"""`python upgrade_process.py URL STATE_DIR STATEMENTS`: upgrade a state, and stay after that many statements."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, event

from cloudsched.store import Store, upgrade


def main(url: str, directory: str, statements: str) -> None:
    """Print `halfway` and wait to be killed, or end with the upgrade when it takes fewer statements."""
    store = Store.unchecked(url, Path(directory))
    left = int(statements)

    @event.listens_for(Engine, "after_cursor_execute")
    def count(*_: Any) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            sys.stdout.write("halfway\n")
            sys.stdout.flush()
            time.sleep(600)

    upgrade.upgrade(store)


if __name__ == "__main__":
    main(*sys.argv[1:])
