"""The configuration: one file becomes one frozen Config; every complaint names file, line, option and what is accepted.

Nothing here opens a database or a socket, and no file is ever rewritten.
"""

from cloudsched.config.clouds import CloudSection, HostSize, embedded_clouds, host_size, read_clouds
from cloudsched.config.files import MAIN, STATUS, find
from cloudsched.config.limits import read_banned_images, read_cloud_aliases, read_user_limits
from cloudsched.config.load import Config, NoCloudSource, load, with_clouds
from cloudsched.config.options import OPTIONS, Fate, Global, JobDefaults, Logging, Option
from cloudsched.config.show import document, show

__all__ = [
    "MAIN",
    "OPTIONS",
    "STATUS",
    "CloudSection",
    "Config",
    "Fate",
    "Global",
    "HostSize",
    "JobDefaults",
    "Logging",
    "NoCloudSource",
    "Option",
    "document",
    "embedded_clouds",
    "find",
    "host_size",
    "load",
    "read_banned_images",
    "read_cloud_aliases",
    "read_clouds",
    "read_user_limits",
    "show",
    "with_clouds",
]
