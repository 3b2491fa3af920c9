"""The processes' own logs, by v1's `[logging]` options (PARITY 7.1)."""

from __future__ import annotations

import logging
import logging.handlers
import sys
from pathlib import Path

from cloudsched.config.options import Logging
from cloudsched.errors import ConfigError

NAME = "cloudscheduler"
_NAMES = (NAME, "cloudsched", "waitress")
"""v1's logger, our modules', and the web server's: all go to one place."""

VERBOSE = logging.DEBUG - 1


def set_up(options: Logging, *, stderr: bool = False) -> None:
    """Send the log where the options say; to standard error too when they say nowhere and `stderr` is set.

    Raises ConfigError for a log file or syslog that cannot be opened.
    """
    logging.addLevelName(VERBOSE, "VERBOSE")
    handlers = _handlers(options)
    if options.log_stdout or (stderr and not handlers):
        handlers.append(logging.StreamHandler(sys.stderr))
    for handler in handlers:
        handler.setFormatter(logging.Formatter(options.log_format))
    for name in _NAMES:
        logger = logging.getLogger(name)
        logger.propagate = False
        logger.handlers = handlers or [logging.NullHandler()]
    set_level(options.log_level)


def set_level(level: str) -> None:
    """Set the level of this process's log; the names are v1's, VERBOSE below DEBUG."""
    for name in _NAMES:
        logging.getLogger(name).setLevel(VERBOSE if level == "VERBOSE" else level)


def _handlers(options: Logging) -> list[logging.Handler]:
    handlers: list[logging.Handler] = []
    try:
        if options.log_location is not None:
            handlers.append(_file(options.log_location, options.log_max_size))
        if options.log_syslog:
            handlers.append(logging.handlers.SysLogHandler("/dev/log"))
    except OSError as ex:
        raise ConfigError(f"The log cannot be opened: {ex.strerror} ({ex.filename or '/dev/log'}).") from ex
    return handlers


def _file(path: Path, max_size: int | None) -> logging.Handler:
    """Rotating by size without old copies, else re-opened when something else has moved it (as v1)."""
    if max_size is not None:
        return logging.handlers.RotatingFileHandler(path, maxBytes=max_size, encoding="utf-8")
    return logging.handlers.WatchedFileHandler(path, encoding="utf-8")
