"""INI files in the dialect of Python 2's ConfigParser, which v1's sites have (PARITY 7.1).

Today's configparser reads them differently (inline comments, continuation by comment lines, duplicates) and forgets the
line numbers that our complaints must name.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from cloudsched.config.files import read_text
from cloudsched.errors import ConfigError

_SECTION = re.compile(r"\[([^]]+)\]")
_OPTION = re.compile(r"([^:=\s][^:=]*)[:=](.*)", re.DOTALL)
_REFERENCE = re.compile(r"%\(([^)]*)\)s|%%")
_DEPTH = 10
_COMMENT = re.compile(r"[#;]|rem(\s|$)", re.IGNORECASE)
_BLANK = " \t\r\f\v"


@dataclass(slots=True)
class Entry:
    """One option as written: its line, and its value with the continuation lines, not interpolated."""

    line: int
    raw: str


@dataclass(frozen=True, slots=True)
class Section:
    """One section: its title as written, the line of its first header, its own options by lower-case name."""

    title: str
    line: int
    entries: dict[str, Entry] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class IniFile:
    """A parsed file; `defaults` are the options of `[DEFAULT]`, which every section has too."""

    path: str = ""
    sections: Mapping[str, Section] = field(default_factory=dict)
    defaults: Mapping[str, Entry] = field(default_factory=dict)

    def entries(self, title: str) -> dict[str, Entry]:
        """The options of a section in file order, those of `[DEFAULT]` first; empty for an unknown section."""
        section = self.sections.get(title)
        return {**self.defaults, **section.entries} if section else {}

    def value(self, title: str, option: str) -> str:
        """One option's value with `%(name)s` replaced by that option of the section. Raises ConfigError."""
        entries = self.entries(title)
        text = entries[option].raw
        for _ in range(_DEPTH):
            if "%(" not in text:
                return text
            text = _REFERENCE.sub(lambda match: self._referred(title, option, match), text)
        problem = f"[{title}] {option}: a %(name)s here refers to itself or is not closed by )s."
        raise ConfigError(problem, path=self.path, line=entries[option].line)

    def _referred(self, title: str, option: str, match: re.Match[str]) -> str:
        entries = self.entries(title)
        name = match[1].lower() if match[1] is not None else None
        if name is None or name == "__name__":
            return "%" if name is None else title
        if name not in entries:
            problem = f"[{title}] {option}: {match[0]} names no option of this section."
            raise ConfigError(problem, path=self.path, line=entries[option].line)
        return entries[name].raw


def read(path: Path) -> IniFile:
    """Read and parse a file. Raises ConfigError naming file and line."""
    return parse(read_text(path, errors="surrogateescape"), str(path))


def parse(text: str, path: str) -> IniFile:
    """Parse a file's text; `path` is for complaints. Bytes that are not UTF-8 may stand in comments only."""
    sections: dict[str, Section] = {}
    defaults: dict[str, Entry] = {}
    entries: dict[str, Entry] | None = None
    entry: Entry | None = None
    for line, content in _lines(text, path):
        if entry is not None and content[0] in _BLANK:
            entry.raw += "\n" + content.strip()
        elif header := _SECTION.match(content):
            title, entry = header[1], None
            entries = defaults if title == "DEFAULT" else sections.setdefault(title, Section(title, line)).entries
        elif entries is not None and (option := _OPTION.match(content)):
            entry = Entry(line, _value(option[2]))
            entries[option[1].strip().lower()] = entry
        else:
            raise ConfigError(_refusal(content, entries is None), path=path, line=line)
    return IniFile(path, sections, defaults)


def _lines(text: str, path: str) -> Iterator[tuple[int, str]]:
    for line, content in enumerate(text.split("\n"), 1):
        if not content.strip() or _COMMENT.match(content):
            continue
        if "\0" in content or any("\ud800" <= each <= "\udfff" for each in content):
            raise ConfigError("This line holds a NUL or bytes that are not UTF-8.", path=path, line=line)
        yield line, content


def _value(text: str) -> str:
    text = text.strip()
    comment = text.find(";")
    if comment > 0 and text[comment - 1].isspace():
        text = text[:comment].rstrip()
    return "" if text == '""' else text


def _refusal(content: str, before_sections: bool) -> str:
    if before_sections:
        return "This line stands before the first [section]."
    if content[0] in _BLANK:
        return "The first option of a section must not be indented."
    return "This line is none of: [section], option = value, option: value, # comment."
