"""The information daemon as a command."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from cloudsched.config import Config
from cloudsched.info import create_app, memory
from cloudsched.store import Store
from cloudsched.web.daemon import Daemon, Service, run


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until told to stop; returns the exit status."""
    return run(DAEMON, argv)


def _service(config: Config) -> Service:
    memory.keep_pages()
    store = Store.open(config.global_.database_url, config.global_.state_dir, read_only=True)
    app = create_app(store, config)
    return Service(app, store, app.stopping)


DAEMON = Daemon("info", "Serve the scheduler's state, read-only, over HTTP.", _service)

if __name__ == "__main__":
    sys.exit(main())
