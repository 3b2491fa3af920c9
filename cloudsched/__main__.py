"""`cloud_scheduler`: the engine with its two daemons, and the commands about configuration and state."""

from __future__ import annotations

import argparse
import json
import logging
import os
import re
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from typing import TypeAlias

from cloudsched import __version__, logs
from cloudsched.config import Config, find, load
from cloudsched.config.clouds import NoCloudSource, with_clouds
from cloudsched.config.show import document, show
from cloudsched.engine import quickexit, standby
from cloudsched.engine.daemons import Daemons
from cloudsched.engine.scheduler import Options, Scheduler
from cloudsched.engine.takeover import take_over
from cloudsched.errors import CloudschedError, ConfigError
from cloudsched.model.journal import Noted
from cloudsched.render import journal
from cloudsched.store import Store, audit, dump, place, upgrade, v1
from cloudsched.store.tables import SCHEMA_VERSION

Subparsers: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"

log = logging.getLogger(logs.NAME)

_DAEMONS = ("admin_server", "info_server")


def main(argv: list[str] | None = None) -> int:
    """Run the command; returns its exit status: 0, 1 with a sentence on standard error, 2 for wrong usage."""
    command_line = parser()
    options = command_line.parse_args(argv)
    try:
        return int(_COMMANDS[options.command](options))
    except NoCloudSource as ex:
        print(ex)
        command_line.print_help()
        return 1
    except CloudschedError as ex:
        print(f"cloud_scheduler: {ex}", file=sys.stderr)
        return 1
    except BrokenPipeError:
        # The interpreter flushes standard output once more at its end: it must find a place that takes it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        return 130


def parser() -> argparse.ArgumentParser:
    """The command line of `cloud_scheduler`."""
    top = argparse.ArgumentParser(
        prog="cloud_scheduler",
        description="Boot VMs for queued jobs and retire them; serve admin and info. Without a command: run.",
        epilog="Options precede the command. What is not given here comes from the environment"
        " (CLOUDSCHED_GLOBAL_STATE_DIR and its like), then from the first cloud_scheduler.conf in ~/.cloudscheduler,"
        " /etc/cloudscheduler and /usr/local/share/cloud-scheduler, else it is a default: 'config' prints all of it.",
    )
    top.add_argument("--version", action="version", version=f"Cloud Scheduler {__version__}")
    top.add_argument("-f", "--config-file", metavar="FILE", type=Path, help="cloud_scheduler.conf to use")
    top.add_argument("-c", "--cloud-config", metavar="FILE", help="cloud_resources.conf to use")
    top.add_argument("-m", "--MDS", metavar="SERVER", help="accepted as in v1, without effect")
    top.add_argument("--state-dir", metavar="DIR", help="where database, token, socket, VMs and logs are kept")
    top.add_argument("--no-servers", action="store_true", help="run the engine only, not the two daemons")
    top.add_argument("--standby", action="store_true", help="wait for the engine's place where another process has it")
    top.add_argument("--simulate", action="store_true", help="serve the clouds and jobs of the state by fakes")
    top.set_defaults(command="run")
    commands = top.add_subparsers(title="commands", metavar="COMMAND")
    config = _command(commands, "config", "print every resolved option with its source, secrets masked")
    config.add_argument("--json", action="store_true", help="print JSON")
    config.set_defaults(command="config")
    _add_state_verbs(_command(commands, "state", "dump, load or upgrade the whole state"))
    _add_journal_verbs(_command(commands, "journal", "check that the journal is what was written"))
    quick = _command(commands, "quick-exit", "let VMs live on when the running scheduler stops, or not")
    quick.add_argument("switch", choices=("on", "off"), help="on: VMs and jobs live on; off: a stop destroys them")
    quick.set_defaults(command="quick-exit")
    return top


def _command(commands: Subparsers, name: str, what: str) -> argparse.ArgumentParser:
    """A command or verb that tells what it does in the list and in its own help."""
    return commands.add_parser(name, help=what, description=f"{what[0].upper()}{what[1:]}.")


def _add_state_verbs(state: argparse.ArgumentParser) -> None:
    verbs = state.add_subparsers(title="verbs", metavar="VERB", required=True)
    dumping = _command(verbs, "dump", "write the state as JSON lines, while the scheduler runs too")
    dumping.add_argument("file", metavar="FILE|-", help="where to (mode 0600), or - for standard output")
    dumping.add_argument("--with-secrets", action="store_true", help="include what jobs may hold of secrets")
    dumping.set_defaults(command="dump")
    loading = _command(verbs, "load", "read a dump into the state, while no scheduler runs")
    loading.add_argument("file", metavar="FILE|-", help="a dump, or - for standard input")
    how = loading.add_mutually_exclusive_group()
    how.add_argument("--replace", action="store_true", help="replace a state that is not empty")
    how.add_argument(
        "--from-v1", action="store_true", help="FILE is v1's /clusters.json: take its VMs over, at their clouds too"
    )
    loading.set_defaults(command="load")
    upgrading = _command(verbs, "upgrade", "bring a state of an older release to this one's schema")
    upgrading.set_defaults(command="upgrade")


def _add_journal_verbs(command: argparse.ArgumentParser) -> None:
    verbs = command.add_subparsers(title="verbs", metavar="VERB", required=True)
    checking = _command(verbs, "verify", "follow the journal's hash chains; the exit status tells if one is broken")
    checking.add_argument(
        "--noted",
        metavar="CHAIN:ID:HASH",
        type=_noted,
        action="append",
        default=[],
        help="an end that was printed earlier and must still be there; may be given once for each chain",
    )
    checking.add_argument("--json", action="store_true", help="print JSON")
    checking.set_defaults(command="verify")


def _noted(text: str) -> tuple[str, Noted]:
    found = re.fullmatch(r"(admin|engine):([1-9][0-9]{0,17}):([0-9a-f]{64})", text)
    if not found:
        raise argparse.ArgumentTypeError(f"{text!r} is not admin:ID:HASH or engine:ID:HASH, as printed by verify")
    return found[1], Noted(int(found[2]), found[3])


def _configured(options: argparse.Namespace) -> Config:
    """The configuration of this command line, without clouds. Raises ConfigError."""
    overrides = {
        ("global", name): str(value)
        for name, value in (("cloud_resource_config", options.cloud_config), ("state_dir", options.state_dir))
        if value is not None
    }
    return load(overrides, os.environ, options.config_file or find(os.environ))


def _clouded(config: Config, options: argparse.Namespace) -> Config:
    if options.MDS is not None and config.global_.cloud_resource_config is None:
        return config
    return with_clouds(config, simulated=options.simulate)


def _print_config(options: argparse.Namespace) -> int:
    config = _clouded(_configured(options), options)
    print(json.dumps(document(config), indent=2) if options.json else show(config))
    for warning in config.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    return 0


def _dump(options: argparse.Namespace) -> int:
    settings = _configured(options).global_
    store = Store.open(settings.database_url, settings.state_dir, read_only=True)
    out = sys.stdout if options.file == "-" else dump.open_private(options.file)
    try:
        dump.dump(store, out, with_secrets=options.with_secrets, version=__version__, now=int(time.time()))
        out.flush()
    except BrokenPipeError:
        raise
    except OSError as ex:
        raise ConfigError(f"The dump cannot be written: {ex.strerror}.", path=options.file) from ex
    finally:
        store.close()
    return 0


def _load(options: argparse.Namespace) -> int:
    if options.from_v1:
        return _take_over(options)
    settings = _configured(options).global_
    lines = dump.open_document("/dev/stdin" if options.file == "-" else options.file)
    with lines:
        store = Store.open(settings.database_url, settings.state_dir)
        counts = dump.load(store, lines, path=options.file, replace=options.replace)
        store.close()
    print("Loaded " + (", ".join(f"{count} {kind}" for kind, count in sorted(counts.items())) or "nothing") + ".")
    return 0


def _take_over(options: argparse.Namespace) -> int:
    config = _clouded(_configured(options), options)
    settings = config.global_
    with dump.open_document("/dev/stdin" if options.file == "-" else options.file) as file:
        found = v1.read(file.read(), options.file)
    store = Store.open(settings.database_url, settings.state_dir)
    try:
        taken = take_over(store, config, found, int(time.time()))
    finally:
        store.close()
    places = ", ".join(f"{count} on {cloud}" for cloud, count in sorted(taken.vms.items()))
    print(f"Took {sum(taken.vms.values())} of {len(found)} VMs over{f': {places}' if places else ''}.")
    for problem in taken.problems:
        print(f"cloud_scheduler: {problem}", file=sys.stderr)
    return 1 if taken.problems else 0


def _verify(options: argparse.Namespace) -> int:
    settings = _configured(options).global_
    store = Store.open(settings.database_url, settings.state_dir, read_only=True)
    try:
        chains = audit.verify(store, dict(options.noted))
    finally:
        store.close()
    if options.json:
        print(json.dumps(journal.verified_document(chains), indent=2))
    else:
        print("\n".join((journal.verified(chains), *journal.ends(chains))))
    return int(any(each.problem for each in chains))


def _upgrade(options: argparse.Namespace) -> int:
    settings = _configured(options).global_
    store = Store.unchecked(settings.database_url, settings.state_dir)
    try:
        found = upgrade.upgrade(store)
    finally:
        store.close()
    already = found == SCHEMA_VERSION
    what = "already has" if already else f"had schema version {found} and now has"
    print(f"The state {what} schema version {SCHEMA_VERSION}.")
    return 0


def _quick_exit(options: argparse.Namespace) -> int:
    settings = _configured(options).global_
    # Where there is no state yet, none is made: the wrong one was named.
    Store.open(settings.database_url, settings.state_dir, read_only=True).close()
    store = Store.open(settings.database_url, settings.state_dir)
    try:
        quickexit.ask(store, options.switch == "on", float(settings.verb_wait_seconds))
    finally:
        store.close()
    return 0


def _run(options: argparse.Namespace) -> int:
    config = _clouded(_configured(options), options)
    logs.set_up(config.logging, config.global_.log_dir)
    for warning in config.warnings:
        log.warning("%s", warning)
    settings = config.global_
    if options.simulate:
        _refuse_to_play_over(settings.vms_dir)
    store = Store.open(settings.database_url, settings.state_dir)
    with closing(store), ExitStack() as held:
        taken = None if options.standby else held.enter_context(closing(place.hold(store)))
        scheduler = Scheduler(store, config, Options(simulate=options.simulate))
        stop, abort = threading.Event(), threading.Event()
        _handle_signals(scheduler, stop, abort)
        if taken is not None:
            scheduler.start(taken)
        daemons = Daemons(() if options.no_servers else _DAEMONS, *_like(config))
        try:
            urls = daemons.start()
            if urls is None:
                return 1
            _announce(config, urls)
            threading.Thread(target=_supervise, args=(daemons, stop), name="Supervisor", daemon=True).start()
            if taken is None:
                taken = standby.take_over(store, config, stop, scheduler.start, simulated=options.simulate)
                if taken is None:
                    return 0
                held.enter_context(closing(taken))
            scheduler.run(stop)
            # Only an asked-for end destroys VMs: after a failure of ours they and their jobs go on (PARITY 6.1).
            daemons.stop()
            scheduler.stop(abort)
        finally:
            stop.set()
            daemons.stop()
            scheduler.close()
            log.info("Stopped.")
    return 0


def _refuse_to_play_over(vms_dir: Path) -> None:
    """Real VMs would be forgotten as if the played clouds had destroyed them. Raises ConfigError."""
    if vms_dir.exists() and any(vms_dir.iterdir()):
        raise ConfigError(f"--simulate needs a --state-dir of its own: real VMs are in {vms_dir}.")


def _handle_signals(scheduler: Scheduler, stop: threading.Event, abort: threading.Event) -> None:
    """SIGTERM and SIGINT stop in order, a second one gives up on the VMs; SIGUSR1, SIGUSR2 as in v1 (PARITY 4.4)."""

    def ask_to_stop(*_: object) -> None:
        if stop.is_set():
            abort.set()
        stop.set()

    def toggle(*_: object) -> None:
        # Not in the handler itself: it may have interrupted the engine inside a transaction.
        threading.Thread(target=scheduler.toggle_quick_exit, name="QuickExit", daemon=True).start()

    def refuse(*_: object) -> None:
        log.warning("Reconfig by SIGUSR1 is disabled; use POST /?action=reconfig.")

    handlers: Mapping[signal.Signals, Callable[..., None]] = {
        signal.SIGTERM: ask_to_stop,
        signal.SIGINT: ask_to_stop,
        signal.SIGUSR1: refuse,
        signal.SIGUSR2: toggle,
    }
    for number, handler in handlers.items():
        signal.signal(number, handler)


def _supervise(daemons: Daemons, stop: threading.Event) -> None:
    while not stop.wait(0.5):
        daemons.supervise()


def _like(config: Config) -> tuple[list[str], dict[str, str]]:
    """Options and environment with which the daemons resolve the same configuration as we did."""
    argv = ["-f", str(config.path)] if config.path else []
    settings = config.global_
    given = {"STATE_DIR": settings.state_dir, "CLOUD_RESOURCE_CONFIG": settings.cloud_resource_config}
    return argv, {f"CLOUDSCHED_GLOBAL_{name}": str(value) for name, value in given.items() if value is not None}


def _announce(config: Config, urls: Mapping[str, str]) -> None:
    """Tell a person where everything is, and what to try."""
    if not urls:
        return
    here = Path(sys.argv[0]).parent
    with suppress(ValueError):
        here = here.resolve().relative_to(Path.cwd())
    print(
        f"Cloud Scheduler {__version__}\n"
        f"  admin  {urls['admin_server']}  (token: {config.global_.admin_token_file})\n"
        f"  info   {urls['info_server']}\n"
        f"  state  {config.global_.state_dir}\n"
        "Try, in another terminal:\n"
        f"  {here / 'cloud_job'} submit {_sample()}\n"
        f"  {here / 'cloud_status'} -m\n"
        f"  {here / 'cloud_status'} -q running\n"
        "Ctrl-C stops everything.",
        flush=True,
    )


def _sample() -> Path:
    """The first job of a new user: the checkout's where this is run in one, else what the installation brought."""
    sample = Path("contrib", "examples", "hello.sub")
    return sample if sample.exists() else Path(sys.prefix, "share", "cloudsched", "examples", sample.name)


_COMMANDS: Mapping[str, Callable[[argparse.Namespace], int]] = {
    "run": _run,
    "config": _print_config,
    "dump": _dump,
    "load": _load,
    "upgrade": _upgrade,
    "verify": _verify,
    "quick-exit": _quick_exit,
}


if __name__ == "__main__":
    sys.exit(main())
