"""The log of `cloud_admin` (PARITY 4.3): what was asked and why, on the operator's own machine."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from logging.handlers import RotatingFileHandler

from cloudsched.config.options import Logging
from cloudsched.errors import ConfigError

_VERBOSE = logging.DEBUG - 1


@contextmanager
def opened(options: Logging) -> Iterator[logging.Logger]:
    """The logger `cloudadmin`, writing where `options` say, or nowhere; ConfigError for a file it cannot open."""
    logging.addLevelName(_VERBOSE, "VERBOSE")
    log = logging.Logger("cloudadmin", options.log_level)
    with ExitStack() as stack:
        for handler in _handlers(options):
            stack.enter_context(closing(handler))
            handler.setFormatter(logging.Formatter(options.log_format))
            log.addHandler(handler)
        yield log


def _handlers(options: Logging) -> Iterator[logging.Handler]:
    yield logging.NullHandler()
    if options.log_stdout:
        yield logging.StreamHandler(sys.stderr)
    if options.log_location_cloud_admin:
        yield _file_handler(str(options.log_location_cloud_admin), options.log_max_size or 0)


def _file_handler(path: str, max_bytes: int) -> logging.Handler:
    try:
        return RotatingFileHandler(path, maxBytes=max_bytes, backupCount=1, encoding="utf-8", errors="replace")
    except OSError as ex:
        raise ConfigError(f"log_location_cloud_admin cannot be written: {ex.strerror}.", path=path) from ex


def one_line(text: str) -> str:
    """The text with every character escaped that would end the line or could steer a terminal."""
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode("ascii") for each in text)
