"""The configuration: one file becomes one frozen Config; every complaint names file, line, option and what is accepted.

Nothing here opens a database or a socket, and no file is ever rewritten. What only the scheduler reads, the clouds and
the files beside them, is in modules of its own, for a command line tool takes as long to start as what it imports.
"""

from cloudsched.config.files import MAIN, STATUS, find
from cloudsched.config.load import Config, load
from cloudsched.config.options import OPTIONS, Fate, Global, JobDefaults, Logging, Option

__all__ = [
    "MAIN",
    "OPTIONS",
    "STATUS",
    "Config",
    "Fate",
    "Global",
    "JobDefaults",
    "Logging",
    "Option",
    "find",
    "load",
]
