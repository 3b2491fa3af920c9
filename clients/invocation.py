"""What the commands share: options as a table, where to connect, and how a run ends."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from optparse import OptionParser
from pathlib import Path
from typing import Any

from cloudsched.client import TOKEN_VARIABLE, Address, Answer, Client, NoAnswer, find_token
from cloudsched.config import files
from cloudsched.config.load import Config, load
from cloudsched.errors import CloudschedError

INTERRUPTED = 130
BROKEN_PIPE = 141
TOKEN_HINT = (
    f"The token is read from admin.token in the state directory, if this account may read it; or set {TOKEN_VARIABLE}."
)


@dataclass(frozen=True, slots=True)
class Option:
    """One row of an option table: a flag unless it has a `metavar`; `choices` are the values it accepts.

    Options that v1 had not have no `short` form.
    """

    short: str
    long: str
    metavar: str
    meaning: str
    choices: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """Its spellings."""
        return tuple(filter(None, (self.short, self.long)))


def parse(options: Sequence[Option], argv: Sequence[str]) -> dict[str, str]:
    """The options given, by long name with `_` for `-`; a flag's value is `yes`, an empty value counts as not given.

    Extra arguments are ignored, as in v1 (PARITY 4.1). Exits with status 2 for a usage error, 0 after the help.
    """
    parser = OptionParser()
    for each in options:
        parser.add_option(*each.names, help=each.meaning, **_kind(each))
    values, _ = parser.parse_args(list(argv))
    return {name: value for name, value in vars(values).items() if value}


def _kind(option: Option) -> dict[str, Any]:
    if not option.metavar:
        return {"action": "store_const", "const": "yes"}
    return {"metavar": option.metavar, **({"type": "choice", "choices": option.choices} if option.choices else {})}


def present(given: Mapping[str, str]) -> frozenset[str]:
    """What the tables of the commands ask about: `name` and `name=value` of every option given."""
    return frozenset(given) | {f"{name}={value}" for name, value in given.items()}


def segments(path: str, given: Mapping[str, str]) -> list[str]:
    """The segments of a path whose `{option}`s stand for the values given, each of which is one segment."""
    return [each.format_map(given) for each in path.split("/") if each]


def load_config(daemon: str, given: Mapping[str, str | None], path: Path | None) -> Config:
    """The configuration for a client of `daemon`; a port on the command line wins. Raises ConfigError."""
    port = given.get("port")
    return load({("global", f"{daemon}_server_port"): port} if port else {}, os.environ, path)


def main_file(given: Mapping[str, str | None]) -> Path | None:
    """The scheduler's own file, as `-f` names it or where v1's clients look for it (PARITY 4.3)."""
    named = given.get("config_file")
    return Path(named) if named else files.find(os.environ)


def connect(daemon: str, config: Config, given: Mapping[str, str | None]) -> Client:
    """A client of the admin or the info daemon; the host on the command line wins over where that daemon listens.

    Raises BadRequest for a port or a token that cannot be.
    """
    settings = config.global_
    listen, port, auth = {
        "admin": (settings.admin_listen, settings.admin_server_port, settings.admin_auth),
        "info": (settings.info_listen, settings.info_server_port, settings.info_auth),
    }[daemon]
    address = Address.of(given.get("server_hostname") or listen, str(port))
    token = find_token(address, listen, settings.admin_token_file if auth == "token" else None, os.environ)
    return Client(address, sys.argv[0], token, settings.request_timeout_seconds)


def hint(answer: Answer) -> None:
    """Say where a token comes from to whom the daemon refused for want of one."""
    if answer.status == HTTPStatus.UNAUTHORIZED:
        print(TOKEN_HINT, file=sys.stderr)


def run(work: Callable[[], int]) -> int:
    """The exit status of `work`; what goes wrong is said in a sentence, never a traceback."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        status = work()
        print(end="", flush=True)
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        _discard_output()
        return BROKEN_PIPE
    except NoAnswer as ex:
        print(ex)
        return 1
    except CloudschedError as ex:
        print(f"{Path(sys.argv[0]).name}: {ex}", file=sys.stderr)
        return 1
    except OSError as ex:
        _discard_output()
        print(f"{Path(sys.argv[0]).name}: the output cannot be written: {ex.strerror}.", file=sys.stderr)
        return 1
    return status


def _discard_output() -> None:
    """Let what is still buffered go nowhere, or the interpreter would complain about it at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
