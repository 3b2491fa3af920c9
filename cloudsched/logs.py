"""The processes' own logs, by v1's `[logging]` options (PARITY 7.1).

Each process has a file of its own, as none could rotate another's: the scheduler's is `log_location`, or
`cloud_scheduler.log` in the state directory's `log/`; a daemon's has the daemon's name in it.
"""

from __future__ import annotations

import json
import logging
import logging.handlers
import os
import sys
from datetime import UTC, datetime
from pathlib import Path

from cloudsched.config.options import Logging
from cloudsched.errors import ConfigError

NAME = "cloudscheduler"
_NAMES = (NAME, "cloudsched", "waitress")
"""v1's logger, our modules', and the web server's: all go to one place."""

SCHEDULER = "cloud_scheduler"
VERBOSE = logging.DEBUG - 1
_DEFAULT_SIZE = 16 * 1024 * 1024
SYSLOG = Path("/dev/log")


FIELDS = "fields"
"""The attribute of a record that holds further fields of its JSON line."""


class JsonLines(logging.Formatter):
    """A record as one JSON object on one line: `time` in UTC, `level`, `logger`, `thread`, `message`, then its own
    fields; `exception` is a traceback."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, ASCII only."""
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line = {"time": at, "level": record.levelname, "logger": record.name, "thread": record.threadName}
        line |= {"message": record.getMessage(), **getattr(record, FIELDS, {})}
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


def set_up(options: Logging, log_dir: Path, process: str = SCHEDULER) -> None:
    """Send this process's log where the options say; without `log_location` also to standard error.

    There a daemon says only what is wrong: its scheduler, or whoever started it, has its own to say. Raises
    ConfigError for a log file that cannot be opened.
    """
    logging.addLevelName(VERBOSE, "VERBOSE")
    # A line that cannot be written, as on a full disk, is lost: logging would print a traceback for each.
    logging.raiseExceptions = False
    try:
        handlers = [_file(_path(options, log_dir, process), options)]
    except OSError as ex:
        ours = options.log_location is None
        what = f"The state directory {log_dir.parent} cannot be used" if ours else "The log cannot be opened"
        raise ConfigError(f"{what}: {ex.strerror} ({ex.filename}).") from ex
    if options.log_syslog:
        handlers.append(_syslog(process))
    if options.log_stdout or options.log_location is None:
        handlers.append(logging.StreamHandler(sys.stderr))
        quiet = process != SCHEDULER and not options.log_stdout
        handlers[-1].setLevel(logging.WARNING if quiet else logging.NOTSET)
    formatter = JsonLines() if options.log_json else logging.Formatter(options.log_format)
    for handler in handlers:
        handler.setFormatter(formatter)
    for name in _NAMES:
        logger = logging.getLogger(name)
        logger.propagate = False
        logger.handlers = handlers
    set_level(options.log_level)
    if options.log_syslog and not SYSLOG.exists():
        logging.getLogger(NAME).warning("There is no %s: syslog gets nothing of this until there is.", SYSLOG)


def set_level(level: str) -> None:
    """Set the level of this process's log; the names are v1's, VERBOSE below DEBUG."""
    for name in _NAMES:
        logging.getLogger(name).setLevel(VERBOSE if level == "VERBOSE" else level)


def _path(options: Logging, log_dir: Path, process: str) -> Path:
    if options.log_location is None:
        for directory in (log_dir.parent, log_dir):
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        return log_dir / f"{process}.log"
    given = options.log_location
    return given if process == SCHEDULER else given.with_name(f"{given.stem}.{process}{given.suffix}")


def _file(path: Path, options: Logging) -> logging.Handler:
    """Rotating by size, keeping one old file, where a size is set or the place is ours; else re-opened when something
    else has moved it (as v1)."""
    if options.log_max_size is None and options.log_location is not None:
        return logging.handlers.WatchedFileHandler(path, encoding="utf-8")
    size = options.log_max_size or _DEFAULT_SIZE
    return logging.handlers.RotatingFileHandler(path, maxBytes=size, backupCount=1, encoding="utf-8")


def _syslog(process: str) -> logging.Handler:
    """The host's syslog, each line under the process's name, as syslog's own tools look for it (RFC 3164, 4.1.3)."""
    handler = logging.handlers.SysLogHandler(str(SYSLOG))
    handler.ident = f"{process}[{os.getpid()}]: "
    return handler
