"""The Python-2 dialect of the INI files (PARITY 7.1)."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudsched.config import ini
from cloudsched.errors import ConfigError


def raw(text: str, section: str = "global") -> dict[str, str]:
    return {name: entry.raw for name, entry in ini.parse(text, "x.conf").entries(section).items()}


def refused(text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        ini.parse(text, "x.conf")
    return str(caught.value)


def test_both_separators_are_read() -> None:
    assert raw("[global]\nOne: 1\ntwo=2\nthree = a:b=c\nfour : x\n") == {
        "one": "1",
        "two": "2",
        "three": "a:b=c",
        "four": "x",
    }


@pytest.mark.parametrize("comment", ["# one: 2", "; one: 2", "rem one: 2", "REM", "", "   \t", "\r"])
def test_comment_and_blank_lines_are_skipped(comment: str) -> None:
    assert raw(f"[global]\none: 1\n{comment}\n  more\n") == {"one": "1\nmore"}


def test_indented_comment_continues_the_value_above() -> None:
    text = "[global]\nurl: http://localhost:9618\n\n# a_command: it is run\n    to hold jobs. If: you = like\n  #more\n"
    assert raw(text) == {"url": "http://localhost:9618\nto hold jobs. If: you = like\n#more"}


def test_inline_comment_needs_a_space_before_the_semicolon() -> None:
    text = "[global]\na: 1 ; one\nb: x;y\nc: ;z\nd: x;y ; z\ne: 5\t;z\nf: x # y\n"
    assert raw(text) == {"a": "1", "b": "x;y", "c": ";z", "d": "x;y ; z", "e": "5", "f": "x # y"}


def test_quoted_nothing_is_empty() -> None:
    assert raw('[global]\na: ""\nb:\nc: "x"\n') == {"a": "", "b": "", "c": '"x"'}


def test_duplicate_sections_merge_and_last_option_wins() -> None:
    file = ini.parse("[global]\na: 1\nb: 2\n[job]\nc: 3\n[global]\nA: 4\nd: 5\n", "x.conf")
    assert {name: (each.raw, each.line) for name, each in file.entries("global").items()} == {
        "a": ("4", 7),
        "b": ("2", 3),
        "d": ("5", 8),
    }
    assert list(file.sections) == ["global", "job"]


def test_defaults_come_first_in_every_section() -> None:
    file = ini.parse("[a]\nx: 1\n[DEFAULT]\ny: 2\nx: 3\n", "x.conf")
    assert {name: each.raw for name, each in file.entries("a").items()} == {"y": "2", "x": "1"}
    assert file.entries("b") == {}


def test_interpolation_replaces_options_of_the_section() -> None:
    file = ini.parse("[DEFAULT]\nhome: /srv\n[a]\ndir: %(HOME)s/x\npath: %(dir)s/100%%\nrate: 100%\n", "x.conf")
    assert file.value("a", "path") == "/srv/x/100%"
    assert file.value("a", "rate") == "100%"


@pytest.mark.parametrize("value", ["%(a)s", "%(b)s", "%(a"])
def test_endless_or_unknown_reference_names_its_line(value: str) -> None:
    file = ini.parse(f"[global]\n\na: {value}\n", "x.conf")
    with pytest.raises(ConfigError, match=r"^x\.conf:3: \[global\] a"):
        file.value("global", "a")


def test_indented_first_option_is_refused() -> None:
    assert refused("[global]\n  a: 1\n") == "x.conf:2: The first option of a section must not be indented."


def test_option_before_sections_is_refused() -> None:
    assert refused("# hello\na: 1\n") == "x.conf:2: This line stands before the first [section]."


def test_line_without_separator_is_refused() -> None:
    assert refused("[global]\na: 1\nnonsense\n").startswith("x.conf:3: This line is none of: [section]")


def test_windows_line_ends_and_byte_order_mark_are_read(tmp_path: Path) -> None:
    path = tmp_path / "x.conf"
    path.write_bytes(b"\xef\xbb\xbf[global]\r\na: 1\r\n  b\r\n")
    assert {name: each.raw for name, each in ini.read(path).entries("global").items()} == {"a": "1\nb"}


def test_other_encodings_may_stand_in_comments_only(tmp_path: Path) -> None:
    path = tmp_path / "x.conf"
    path.write_bytes(b"# caf\xe9\n[global]\na: 1\n")
    assert ini.read(path).entries("global")["a"].raw == "1"
    path.write_bytes(b"[global]\na: caf\xe9\n")
    with pytest.raises(ConfigError, match=r":2: This line holds a NUL or bytes that are not UTF-8"):
        ini.read(path)


def test_unreadable_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.conf: This file cannot be read: No such file or directory\.$"):
        ini.read(tmp_path / "none.conf")
    with pytest.raises(ConfigError, match="Is a directory"):
        ini.read(tmp_path)


@given(st.lists(st.text(st.sampled_from('[]ab:=;#%() s\t\r\0"\ud800é'), max_size=12), max_size=8))
def test_any_text_is_read_or_refused_with_its_line(lines: list[str]) -> None:
    try:
        file = ini.parse("\n".join(["[a]", *lines]), "x.conf")
        for title in file.sections:
            for option in file.entries(title):
                file.value(title, option)
    except ConfigError as ex:
        assert 1 <= ex.line <= len(lines) + 1
