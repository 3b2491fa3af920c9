"""Write man pages and shell completions from the commands' own option tables: `python contrib/manuals.py DIRECTORY`.

Below DIRECTORY they lie as below /usr: share/man/man8 and so on, so every wheel has them there. Nothing is written by
hand, so nothing can differ from `--help`.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cloudsched.clients import cloud_admin, cloud_job, cloud_status
from cloudsched.clients.invocation import Option

import admin_server
import info_server
from cloudsched import __main__, __version__
from cloudsched.config import OPTIONS, Fate
from cloudsched.config.kinds import written
from cloudsched.web import daemon

COMMENT = '.\\" Made by contrib/manuals.py from the option tables.\n'


@dataclass(frozen=True)
class Flag:
    """One option: its spellings, what stands for its value, what it means, the words it accepts."""

    names: tuple[str, ...]
    metavar: str
    meaning: str
    choices: tuple[str, ...] = ()


@dataclass(frozen=True)
class Command:
    """One command or subcommand; `section` is the manual's, `arguments` are its positional ones."""

    name: str
    section: int
    summary: str
    flags: tuple[Flag, ...]
    arguments: tuple[Flag, ...] = ()
    commands: tuple[Command, ...] = field(default=())


HELP = Flag(("-h", "--help"), "", "Show the options and exit")


def of_table(name: str, summary: str, options: Iterable[Option]) -> Command:
    """A command from a client's table."""
    flags = (Flag(each.names, each.metavar, each.meaning, each.choices) for each in options)
    return Command(name, 1, summary, (HELP, *flags))


def of_parser(name: str, section: int, parser: argparse.ArgumentParser, summary: str = "") -> Command:
    """A command from an argparse parser, with its subcommands."""
    flags: list[Flag] = []
    arguments: list[Flag] = []
    commands: list[Command] = []
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            helps = {choice.dest: choice.help or "" for choice in action._choices_actions}
            commands = [of_parser(each, section, sub, helps[each]) for each, sub in action.choices.items()]
        else:
            (flags if action.option_strings else arguments).append(_flag(action))
    return Command(name, section, summary or parser.description or "", tuple(flags), tuple(arguments), tuple(commands))


def _flag(action: argparse.Action) -> Flag:
    takes_value = action.nargs != 0
    metavar = str(action.metavar or action.dest.upper()) if takes_value else ""
    choices = tuple(map(str, action.choices)) if action.choices else ()
    return Flag(tuple(action.option_strings), metavar, action.help or "", choices)


def commands() -> list[Command]:
    """Every command of ours."""
    return [
        of_parser("cloud_scheduler", 8, __main__.parser()),
        of_parser("admin_server", 8, daemon.parser(admin_server.DAEMON)),
        of_parser("info_server", 8, daemon.parser(info_server.DAEMON)),
        of_table("cloud_status", "Show what the scheduler does: clouds, VMs, jobs, failures.", cloud_status.OPTIONS),
        of_table("cloud_admin", "Give the scheduler an operator's verbs.", cloud_admin.OPTIONS),
        of_parser("cloud_job", 1, cloud_job.parser()),
    ]


def man(command: Command, others: Sequence[Command]) -> str:
    """A manual page in man(7)."""
    parts = [
        _head(command.name, command.section),
        ".SH NAME\n",
        f"{command.name} \\- {_text(_line(command.summary))}\n",
    ]
    parts += [
        ".SH SYNOPSIS\n",
        f".B {command.name}\n[\\fIoptions\\fR]",
        " [\\fIcommand\\fR ...]" * bool(command.commands),
    ]
    parts += ["\n.SH DESCRIPTION\n", _text(command.summary), "\n.SH OPTIONS\n", *map(_item, command.flags)]
    if command.commands:
        parts += [".SH COMMANDS\n", *(text for each in command.commands for text in _subcommand("", each))]
    parts += [".SH ENVIRONMENT\n.TP\n.B CLOUDSCHED_\\fISECTION\\fR_\\fIOPTION\\fR\n"]
    parts += ["Any option of the configuration, before the file's.\n.SH EXIT STATUS\n"]
    parts += ["0, or 1 when something that was asked was not done, or 2 for wrong usage.\n.SH SEE ALSO\n"]
    also = [f".BR {each.name} ({each.section})" for each in others if each is not command]
    return "".join(parts) + ",\n".join([*also, ".BR cloud_scheduler.conf (5)"]).replace("),\n", ") ,\n") + "\n"


def _subcommand(path: str, command: Command) -> Iterator[str]:
    name = f"{path} {command.name}".strip()
    if command.commands:
        for each in command.commands:
            yield from _subcommand(name, each)
        return
    yield f".SS {name}{''.join(f' {each.metavar}' for each in command.arguments)}\n{_text(command.summary)}\n"
    yield from map(_item, (*command.flags, *(each for each in command.arguments if each.meaning)))


def _item(flag: Flag) -> str:
    value = f" \\fI{_text(flag.metavar)}\\fR" if flag.names and flag.metavar else ""
    names = ", ".join(f"\\fB{_text(name)}\\fR{value}" for name in flag.names) or f"\\fI{_text(flag.metavar)}\\fR"
    return f".TP\n{names}\n{_text(flag.meaning)}\n"


def options_page() -> str:
    """cloud_scheduler.conf(5): every option that has an effect, with its default and what it accepts."""
    parts = [_head("cloud_scheduler.conf", 5), ".SH NAME\ncloud_scheduler.conf \\- options of Cloud Scheduler\n"]
    parts.append(".SH DESCRIPTION\nAn INI file with the sections below; options of v1 without effect are left out.\n")
    for section in dict.fromkeys(each.section for each in OPTIONS.values()):
        parts.append(f".SH SECTION [{section}]\n")
        for each in OPTIONS.values():
            if each.section == section and each.fate is not Fate.IGNORED:
                default = written(each.kind, each.default) or "empty"
                parts.append(f".TP\n\\fB{_text(each.name)}\\fR = {_text(default)}\n")
                parts.append(_text(" ".join(filter(None, (each.why, f"Accepted: {each.kind.accepts}.")))) + "\n")
    return "".join(parts) + ".SH SEE ALSO\n.BR cloud_scheduler (8)\n"


def _head(name: str, section: int) -> str:
    return f'{COMMENT}.TH {name.upper()} {section} "" "Cloud Scheduler {__version__}"\n'


def _line(text: str) -> str:
    """The first sentence, as man's index wants it."""
    return text.partition(". ")[0].rstrip(".").replace("\n", " ")


def _text(text: str) -> str:
    """Plain text as roff: no line is taken for a request, no dash for a hyphen."""
    escaped = text.replace("\\", "\\e").replace("-", "\\-").replace("~", "\\(ti").replace("'", "\\(aq")
    return "\n".join(f"\\&{line}" if line.startswith(".") else line for line in escaped.splitlines())


def bash(command: Command) -> str:
    """A completion for bash."""
    function = f"_{command.name}"
    words = " ".join(_names(command))
    return (
        f"# bash completion for {command.name}, made by contrib/manuals.py\n{function}()\n{{\n"
        "    local word=${COMP_WORDS[COMP_CWORD]} last=${COMP_WORDS[COMP_CWORD-1]} each\n"
        f"    local words='{words}'\n"
        "    COMPREPLY=()\n"
        f"    case $last in\n{_bash_values(command)}    esac\n{_bash_commands(command)}"
        '    COMPREPLY=($(compgen -W "$words" -- "$word"))\n}\n'
        f"complete -o default -F {function} {command.name}\n"
    )


def _bash_values(command: Command) -> str:
    lines = []
    for flag in _every_flag(command):
        if flag.names and flag.metavar:
            words = f'COMPREPLY=($(compgen -W "{" ".join(flag.choices)}" -- "$word"))' if flag.choices else ""
            files = 'COMPREPLY=($(compgen -f -- "$word"))' if flag.metavar == "FILE" else ""
            lines.append(f"        {'|'.join(flag.names)}) {words or files or ':'}; return ;;\n")
    return "".join(dict.fromkeys(lines)) or "        *) ;;\n"


def _bash_commands(command: Command) -> str:
    cases = {each.name: "'" + " ".join((*_names(each), *_choices(each))) + "'" for each in _every_command(command)}
    return _loop('"${COMP_WORDS[@]:1:COMP_CWORD-1}"', {name: f"words={words}" for name, words in cases.items()})


def _loop(words: str, cases: Mapping[str, str]) -> str:
    """Shell that looks for subcommands among the words given already."""
    if not cases:
        return ""
    lines = "".join(f"            {name}) {what} ;;\n" for name, what in cases.items())
    return f"    for each in {words}; do\n        case $each in\n{lines}        esac\n    done\n"


def zsh(command: Command) -> str:
    """A completion for zsh."""
    cases = {
        each.name: f"options=({_zsh_specs(each)}); skip=${{words[(i)$each]}}-1" for each in _every_command(command)
    }
    rest = "" if command.commands else " '*:file:_files'"
    body = f"    local -a options\n    local each\n    local -i skip=0\n    options=({_zsh_specs(command)}{rest})\n"
    # What is before a subcommand is none of its arguments.
    body += _loop("${words[2,CURRENT-1]}", cases) + "    (( CURRENT -= skip )); shift $skip words\n"
    body += "    _arguments $options\n"
    head = f"#compdef {command.name}\n# made by contrib/manuals.py\n"
    return f'{head}_{command.name}() {{\n{body}}}\n_{command.name} "$@"\n'


def _zsh_specs(command: Command) -> str:
    found = []
    for flag in command.flags:
        value = f":{flag.metavar}:{_zsh_values(flag)}" if flag.metavar else ""
        found += [_quoted(f"{name}[{_zsh_text(flag.meaning)}]{value}") for name in flag.names]
    found += [_quoted(f"*:{flag.metavar.lower()}:{_zsh_values(flag)}") for flag in command.arguments]
    subcommands = " ".join(each.name for each in command.commands)
    return " ".join([*found, _quoted(f"*::verb:({subcommands})")] if subcommands else found)


def _zsh_values(flag: Flag) -> str:
    return f"({' '.join(flag.choices)})" if flag.choices else "_files" if "FILE" in flag.metavar else " "


def _zsh_text(text: str) -> str:
    return text.replace("[", "(").replace("]", ")").replace(":", " -").replace("`", "")


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


def _names(command: Command) -> list[str]:
    return [*(name for flag in command.flags for name in flag.names), *(each.name for each in command.commands)]


def _choices(command: Command) -> list[str]:
    return [choice for each in command.arguments for choice in each.choices]


def _every_command(command: Command) -> Iterator[Command]:
    for each in command.commands:
        yield each
        yield from _every_command(each)


def _every_flag(command: Command) -> Iterator[Flag]:
    yield from command.flags
    for each in _every_command(command):
        yield from each.flags


def files() -> Mapping[str, str]:
    """Every file to write, by its path below the directory."""
    found = commands()
    made = {f"share/man/man{each.section}/{each.name}.{each.section}": man(each, found) for each in found}
    made |= {"share/man/man5/cloud_scheduler.conf.5": options_page()}
    made |= {f"share/bash-completion/completions/{each.name}": bash(each) for each in found}
    return made | {f"share/zsh/site-functions/_{each.name}": zsh(each) for each in found}


def main(argv: Sequence[str]) -> int:
    """Write the files; returns the exit status."""
    if len(argv) != 1:
        sys.stderr.write("usage: manuals.py DIRECTORY\n")
        return 2
    for name, text in files().items():
        path = Path(argv[0]) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
